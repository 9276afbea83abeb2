"""Whether a Dataset is prepared already; light, so that it can be asked without starting a process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dtx_tasks.plan import CODE_VERSIONS
from dtx_tasks.records import FetchedLLM, Layout, PreparedDataset
from dtx_tasks.storage import read_record, verify

if TYPE_CHECKING:
    from dtx_tasks.records import PrepareDocument


def prepared(document: PrepareDocument, layout: Layout) -> PreparedDataset | None:
    """The record of a PreparedDataset whose base and files are all there, and whose images this experiment can score."""
    folder = layout.prepared(document.prepared_id)
    base = read_record(f"{layout.llm(document.llm.llm_id)}/fetched.json", FetchedLLM)
    record = read_record(f"{folder}/prepared.json", PreparedDataset)
    is_valid = (
        base
        and record
        and record.code_version == CODE_VERSIONS["prepare"]
        and record.inputs == {"llm": base.digest}
        and record.is_whole_at(document.scored_cutoff_len)
        and verify(f"{folder}/files", record.files)
    )
    return record if is_valid else None
