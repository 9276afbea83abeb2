"""Whether a Dataset is prepared already; light, so that it can be asked without starting a process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dtx_tasks.plan import CODE_VERSIONS
from dtx_tasks.records import FetchedLLM, Layout, PreparedDataset
from dtx_tasks.storage import read_record, verify

if TYPE_CHECKING:
    from dtx_tasks.records import PrepareDocument


def prepared(document: PrepareDocument, layout: Layout) -> PreparedDataset | None:
    """The record of a PreparedDataset whose base and files are all there, and whose images can be scored."""
    folder = layout.prepared(document.prepared_id)
    base = read_record(f"{layout.llm(document.llm.llm_id)}/fetched.json", FetchedLLM)
    record = read_record(f"{folder}/prepared.json", PreparedDataset)
    is_valid = (
        base
        and record
        and record.code_version == CODE_VERSIONS["prepare"]
        and record.inputs == {"llm": base.digest}
        and _is_seen(record, document.scored_cutoff_len)
        and verify(f"{folder}/files", record.files)
    )
    return record if is_valid else None


def _is_seen(record: PreparedDataset, cutoff_len: int | None) -> bool:
    """Whether the images of its scored rows are known to be whole at a scoring's limit: others are looked at with their place, before anything is trained."""
    return cutoff_len is None or cutoff_len == record.seen_cutoff_len or cutoff_len >= record.longest_seen_tokens
