"""From a document to a stage: who may run now, what is done, and where a failure is written down."""

from __future__ import annotations

import traceback
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from dtx_tasks.entrypoints.failures import count_failure, forget_failure, reason
from dtx_tasks.entrypoints.gpus import use_gpus
from dtx_tasks.entrypoints.nodes import Node
from dtx_tasks.entrypoints.train import train_pack
from dtx_tasks.errors import OUT_OF_MEMORY, ClaimedError, DtxError, ResourceError, SpecError, TransientError
from dtx_tasks.fetch.fetch import fetched
from dtx_tasks.records import BaseDocument, Layout, Pack, PreparedDataset, PrepareDocument, StageDocument
from dtx_tasks.storage import places, read_record
from dtx_tasks.train.record import trained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dtx_tasks.storage import Places

Document = TypeVar("Document", bound=StageDocument)


@dataclass(frozen=True)
class Call:
    """One call of an entrypoint.

    Attributes:
        document_uri: What to do.
        run_key: The round of attempts that it belongs to.
        owner: Who asks, for claims.
    """

    document_uri: str
    run_key: str
    owner: str

    @property
    def layout(self) -> Layout:
        """Where the document lies."""
        return Layout.of(self.document_uri)

    def document(self, kind: type[Document]) -> Document:
        """The document.

        Raises:
            SpecError: It is not there, or of another kind.
        """
        found = read_record(self.document_uri, kind)
        if found is None:
            raise SpecError(f"{self.document_uri} is no {kind.__name__} of this version.", "Plan the experiment again.")
        return found


def owner_of(stage: str, document_uri: str, run_key: str) -> str:
    """Who claims: one attempt of a round at a time, so that a later one may take over what an earlier one held on S3.

    Args:
        stage: What is run.
        document_uri: What it is run on.
        run_key: The round of attempts.
    """
    return f"{stage} {document_uri} {run_key}"


def fetch(call: Call) -> int:
    """Brings a base LLM to storage."""
    from dtx_tasks.fetch import fetch

    document = call.document(BaseDocument)
    with noted("fetch", document.llm.llm_id, document, call):
        fetch(document, call.layout, call.owner)
    return 0


def prepare(call: Call) -> int:
    """Prepares a Dataset."""
    document = call.document(PrepareDocument)
    with noted("prepare", document.prepared_id, document, call):
        if fetched(call.layout.llm(document.llm.llm_id)) is None:
            _need("fetch", document.llm.llm_id, document, call)
        from dtx_tasks.prepare.prepare import prepare

        prepare(document, call.layout, call.owner)
    return 0


def train(call: Call) -> int:
    """Trains the jobs of a pack."""
    document = call.document(Pack)
    # The first machine of a pack holds the place of all.
    with slot(document, call) if Node.this().rank == 0 else nullcontext():
        try:
            return train_pack(document, call.document_uri, call.run_key, call.owner)
        except DtxError:
            raise
        except Exception as error:
            known = _known(error)
            for job in document.jobs:
                if trained(job, call.layout) is None:
                    count_failure("train", job.job_id, document, call.layout, call.run_key, known)
            raise known from error


def score(call: Call) -> int:
    """Scores the jobs of a pack that have a result; the others are skipped."""
    from dtx_tasks.score.score import score_job

    document, first_error = call.document(Pack), None
    with slot(document, call):
        for job in document.jobs:
            if trained(job, call.layout) is None:
                continue
            try:
                with noted("score", job.job_id, document, call):
                    score_job(job, document.scoring, call.layout, call.owner)
            except DtxError as error:
                first_error = first_error or error
    if first_error:
        raise first_error
    return 0


def score_base(call: Call) -> int:
    """Scores a base LLM as it is; a reward model is judged by nobody."""
    document = call.document(BaseDocument)
    if document.is_reward:
        return 0
    with noted("score_base", document.llm.llm_id, document, call):
        _need_one_prepared(document, call)
        from dtx_tasks.score.score import score_base

        with slot(document, call):
            score_base(document, call.layout, call.owner)
    return 0


STAGES: dict[str, Callable[[Call], int]] = {"fetch": fetch, "prepare": prepare, "train": train, "score": score, "score_base": score_base}


def places_of(document: Pack | BaseDocument, layout: Layout) -> Places:
    """The places that an experiment's `parallelism` gives it."""
    return places(layout.experiment(document.experiment_name, document.plan_id), document.parallelism)


@contextmanager
def slot(document: Pack | BaseDocument, call: Call) -> Iterator[None]:
    """One of the places that an experiment's `parallelism` gives it.

    Raises:
        ClaimedError: All of them are taken.
    """
    with places_of(document, call.layout).held(call.owner) as number:
        use_gpus(number, document.resources.processes)
        yield


@contextmanager
def noted(stage: str, item_id: str, document: StageDocument, call: Call) -> Iterator[None]:
    """Writes down why a stage failed, and forgets it when it succeeds."""
    try:
        yield
    except ClaimedError:
        raise
    except DtxError as error:
        count_failure(stage, item_id, document, call.layout, call.run_key, error)
        raise
    except Exception as error:
        known = _known(error)
        count_failure(stage, item_id, document, call.layout, call.run_key, known)
        raise known from error
    forget_failure(stage, item_id, document, call.layout)


def _known(error: Exception) -> DtxError:
    """An exception as a class of failure."""
    if isinstance(error, OSError):
        return TransientError(f"{type(error).__name__}: {error}")
    if isinstance(error, MemoryError) or any(words in str(error) for words in OUT_OF_MEMORY):
        return ResourceError(f"Out of memory: {error}", "Give the stage more memory, or lower its batch size.")
    return DtxError(traceback.format_exc().strip())


def _need_one_prepared(document: BaseDocument, call: Call) -> None:
    """Fails with the reason when no Dataset could be prepared for a base: then its tokenizer is missing, and so are its rows."""
    folders = (call.layout.prepared(prepared_id) for prepared_id in document.prepared_ids)
    if any(read_record(f"{folder}/prepared.json", PreparedDataset) for folder in folders):
        return
    for prepared_id in document.prepared_ids:
        _need("prepare", prepared_id, document, call)
    _need("fetch", document.llm.llm_id, document, call)


def _need(stage: str, item_id: str, document: StageDocument, call: Call) -> None:
    """Fails with the reason of an earlier stage that failed for this one's input."""
    failure = reason(stage, item_id, document, call.layout)
    if failure:
        raise failure
