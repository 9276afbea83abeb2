"""Why something of an experiment has no result: written into the experiment's own folder, never reused by another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dtx_tasks.errors import BY_NAME, DtxError, kind_of
from dtx_tasks.records import FailureRecord, Layout
from dtx_tasks.storage import read_record, remove, write_record

if TYPE_CHECKING:
    from dtx_tasks.records import StageDocument


def failure_uri(stage: str, item_id: str, document: StageDocument, layout: Layout) -> str:
    """Where the failure of one item of a stage is written."""
    return f"{layout.experiment(document.experiment_name, document.plan_id)}/failures/{stage}/{item_id}.json"


def note_failure(
    stage: str, item_id: str, document: StageDocument, layout: Layout, run_key: str, error: DtxError, is_final: bool | None = None, count: int = 1
) -> FailureRecord:
    """Writes a failure down.

    Args:
        stage: Where it happened.
        item_id: Of the LLM, PreparedDataset or job that has no result.
        document: Of the experiment.
        layout: Where the experiment's folder is.
        run_key: The round of attempts.
        error: What happened.
        is_final: Whether no further attempt of this round is worth making; by default as the error's class says.
        count: How often this class of failure was met in this round.
    """
    record = FailureRecord(
        job_id=item_id,
        stage=stage,
        error_class=kind_of(error),
        message=error.message,
        hint=error.hint,
        is_final=error.is_final if is_final is None else is_final,
        run_key=run_key,
        count=count,
    )
    write_record(failure_uri(stage, item_id, document, layout), record)
    return record


def failure(stage: str, item_id: str, document: StageDocument, layout: Layout) -> FailureRecord | None:
    """The failure of one item, if there is one."""
    return read_record(failure_uri(stage, item_id, document, layout), FailureRecord)


def forget_failure(stage: str, item_id: str, document: StageDocument, layout: Layout) -> None:
    """Removes the failure of an item that has a result now."""
    remove(failure_uri(stage, item_id, document, layout))


def reason(stage: str, item_id: str, document: StageDocument, layout: Layout) -> DtxError | None:
    """The failure of an earlier stage as an error of the same class, for the stage that needed its result."""
    found = failure(stage, item_id, document, layout)
    return BY_NAME[found.error_class](found.message, found.hint) if found else None
