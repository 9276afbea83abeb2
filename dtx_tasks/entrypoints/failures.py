"""Why something of an experiment has no result: written into the experiment's own folder, never reused by another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dtx_tasks.entrypoints.attempts import BUDGETS, attempts_of, is_exhausted
from dtx_tasks.errors import BY_NAME, DtxError, PreemptedError, kind_of
from dtx_tasks.records import FailureRecord, Layout
from dtx_tasks.storage import read_record, remove, write_record
from dtx_tasks.train.checkpoint import last_step

if TYPE_CHECKING:
    from dtx_tasks.records import Attempt, Pack, StageDocument


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


def count_failure(stage: str, item_id: str, document: StageDocument, layout: Layout, run_key: str, error: DtxError) -> FailureRecord:
    """Writes a failure down, for good when its class has used up its retries in this round.

    Args:
        stage: Where it happened.
        item_id: Of what has no result.
        document: Of the experiment.
        layout: Where the experiment's folder is.
        run_key: The round of attempts.
        error: What happened.
    """
    before = failure(stage, item_id, document, layout)
    is_same = before is not None and (before.run_key, before.error_class) == (run_key, kind_of(error))
    count = before.count + 1 if before and is_same else 1
    is_final = error.is_final or count > BUDGETS.get(kind_of(error), 0)
    return note_failure(stage, item_id, document, layout, run_key, error, is_final, count)


def note_attempt(job_id: str, document: Pack, layout: Layout, run_key: str, error: DtxError) -> None:
    """Writes down how the last attempt at a job ended, from outside: nobody was left inside to do it.

    Args:
        job_id: Of the job.
        document: Of the experiment.
        layout: Where everything is.
        run_key: The round of attempts.
        error: What ended it.
    """
    attempts = attempts_of(layout.job(job_id))
    if attempts and attempts[-1].run_key == run_key and _is_about(error, attempts[-1]):
        reached = last_step(f"{layout.job(job_id)}/scratch", document.resources)
        attempts[-1] = attempts[-1].model_copy(update={"error_class": kind_of(error), "reached_step": max(reached, attempts[-1].reached_step), "is_over": True})
        write_record(f"{layout.job(job_id)}/attempts/{attempts[-1].number}.json", attempts[-1])
        note_failure("train", job_id, document, layout, run_key, error, is_exhausted(error, attempts, run_key))
    else:
        # It ended before it began.
        count_failure("train", job_id, document, layout, run_key, error)


def _is_about(error: DtxError, attempt: Attempt) -> bool:
    """Whether a word from outside is about an attempt: one that said nothing, or only that it was asked to stop."""
    return not attempt.is_over or (isinstance(error, PreemptedError) and attempt.error_class in ("TransientError", "PreemptedError"))


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
