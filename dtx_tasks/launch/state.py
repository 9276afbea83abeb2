"""What can be known of a stage's work without starting it, and what the end of an attempt means."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, TypeVar

from dtx_tasks.entrypoints.failures import count_failure, failure, note_attempt
from dtx_tasks.entrypoints.stages import owner_of, places_of
from dtx_tasks.errors import ClaimedError, DataError, DivergedError, SpecError
from dtx_tasks.fetch.fetch import fetched
from dtx_tasks.prepare.record import prepared
from dtx_tasks.records import BaseDocument, Layout, Pack, PrepareDocument, StageDocument
from dtx_tasks.score.record import base_scored, job_scored
from dtx_tasks.storage import is_claimed, read_record
from dtx_tasks.train.record import trained

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dtx_tasks.errors import DtxError
    from dtx_tasks.records import FailureRecord

Document = TypeVar("Document", bound=StageDocument)

DOCUMENTS: dict[str, type[StageDocument]] = {"fetch": BaseDocument, "prepare": PrepareDocument, "train": Pack, "score": Pack, "score_base": BaseDocument}
FINAL_CODES = frozenset({SpecError.exit_code, DataError.exit_code, DivergedError.exit_code})


class Ending(Enum):
    """What to do after an attempt."""

    DONE = "done"
    WAITING = "waiting"
    RETRY = "retry"
    FINAL = "final"


def ending_of(stage: str, document_uri: str, exit_code: int, run_key: str) -> Ending:
    """What an exit code and the records that were left mean.

    Args:
        stage: What was run.
        document_uri: What it was run on.
        exit_code: How it ended.
        run_key: The round of attempts: what failed for good in another one counts no more.
    """
    if exit_code == 0:
        return Ending.DONE
    if exit_code == ClaimedError.exit_code:
        return Ending.WAITING
    failures = failures_of(stage, document_uri)
    is_final = exit_code in FINAL_CODES or (failures and all(found.is_final and found.run_key == run_key for found in failures))
    return Ending.FINAL if is_final else Ending.RETRY


def failures_of(stage: str, document_uri: str) -> list[FailureRecord]:
    """What is written down about everything of a document that has no result."""
    document, layout = _read(stage, document_uri)
    return [found for item_id in _unfinished(stage, document, layout) if (found := failure(stage, item_id, document, layout))]


def note_ending(stage: str, document_uri: str, run_key: str, error: DtxError) -> None:
    """Writes down how an attempt ended that could not say so itself.

    Args:
        stage: What was run.
        document_uri: What it was run on.
        run_key: The round of attempts.
        error: What ended it.
    """
    document, layout = _read(stage, document_uri)
    for item_id in _unfinished(stage, document, layout):
        if stage == "train" and isinstance(document, Pack):
            note_attempt(item_id, document, layout, run_key, error)
        else:
            count_failure(stage, item_id, document, layout, run_key, error)


def is_finished(stage: str, document_uri: str) -> bool:
    """Whether every record of a stage is there already: then no process need be started."""
    document, layout = _read(stage, document_uri)
    return not list(_unfinished(stage, document, layout))


def is_blocked(stage: str, document_uri: str, run_key: str) -> bool:
    """Whether everything that is left is being done by somebody else, or the experiment's parallelism is used up.

    Args:
        stage: What is to be run.
        document_uri: What it is to be run on.
        run_key: The round of attempts: what an earlier attempt of it holds does not count.
    """
    document, layout = _read(stage, document_uri)
    asker = owner_of(stage, document_uri, run_key)
    left = list(_unfinished(stage, document, layout))
    if left and all(is_claimed(f"{_folder(stage, item_id, document, layout)}/claim.json", asker) for item_id in left):
        return True
    if stage in ("fetch", "prepare") or not isinstance(document, Pack | BaseDocument):
        return False
    return not places_of(document, layout).has_room(asker)


def read_document(stage: str, document_uri: str) -> StageDocument:
    """The document of a stage.

    Raises:
        SpecError: There is none, or one of another kind.
    """
    document = read_record(document_uri, DOCUMENTS[stage])
    if document is None:
        raise SpecError(f"{document_uri} is no document of the stage {stage!r}.", "Plan the experiment again.")
    return document


def _read(stage: str, document_uri: str) -> tuple[StageDocument, Layout]:
    return read_document(stage, document_uri), Layout.of(document_uri)


def _unfinished(stage: str, document: StageDocument, layout: Layout) -> Iterator[str]:
    """Ids of what a stage would still have to do."""
    if stage == "fetch" and isinstance(document, BaseDocument):
        yield from () if fetched(layout.llm(document.llm.llm_id)) else (document.llm.llm_id,)
    elif isinstance(document, PrepareDocument):
        yield from () if prepared(document, layout) else (document.prepared_id,)
    elif isinstance(document, BaseDocument):
        yield from () if document.is_reward or base_scored(document, layout) else (document.llm.llm_id,)
    elif isinstance(document, Pack) and stage == "train":
        yield from (job.job_id for job in document.jobs if not trained(job, layout))
    elif isinstance(document, Pack):
        yield from (job.job_id for job in document.jobs if trained(job, layout) and not job_scored(job, document.scoring, layout))


def _folder(stage: str, item_id: str, document: StageDocument, layout: Layout) -> str:
    if stage == "fetch":
        return layout.llm(item_id)
    if stage == "prepare":
        return layout.prepared(item_id)
    if stage == "train":
        return layout.job(item_id)
    assert isinstance(document, Pack | BaseDocument)
    return layout.score(item_id, document.scoring.scoring_id)
