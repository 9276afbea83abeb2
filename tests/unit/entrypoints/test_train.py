"""A pack's round of training, as far as it goes without starting a process."""

import re
from pathlib import Path

import pytest

from dtx_tasks.entrypoints.documents import write_plan
from dtx_tasks.entrypoints.failures import failure, note_failure
from dtx_tasks.entrypoints.pack_round import PackRound
from dtx_tasks.entrypoints.train import train_pack
from dtx_tasks.errors import ClaimedError, DataError, DivergedError, DtxError, ExhaustedError, SpecError
from dtx_tasks.records import Pack, PreparedDataset
from dtx_tasks.spec import Resources, Scoring
from dtx_tasks.storage import claim, read_record, write_record
from tests.builders import Store, make_attempt, make_experiment, make_matrix, make_plan

PLAN = make_plan(make_experiment(matrix=make_matrix(hyperparameters=["g", "h"])))
BOTH = PLAN.packs[0].model_copy(update={"jobs": PLAN.jobs})


def make_store(root: Path, *, trained: int = 0) -> Store:
    """A store on which the first jobs are trained."""
    store = Store(root, PLAN)
    store.fetch(PLAN.bases[0])
    store.prepare(PLAN.prepared[0])
    for job in PLAN.jobs[:trained]:
        store.train(job)
    return store


def train(store: Store, pack: Pack = BOTH, run_key: str = "round") -> int:
    return train_pack(pack, write_plan(PLAN, str(store.root)).packs[0], run_key, "test")


def fail(store: Store, number: int, error: DtxError, run_key: str = "round") -> None:
    note_failure("train", PLAN.jobs[number].job_id, BOTH, store.layout, run_key, error)


def test_trained_pack_is_done(tmp_path: Path) -> None:
    """No process is started."""
    assert train(make_store(tmp_path, trained=2)) == 0


def test_pack_with_a_result_is_done_where_the_others_are_final(tmp_path: Path) -> None:
    """A diverged job leaves its siblings alone."""
    store = make_store(tmp_path, trained=1)
    fail(store, 1, DivergedError("The loss is nan."))
    assert train(store) == 0


def test_pack_without_a_result_fails_as_its_first_job_did(tmp_path: Path) -> None:
    """The exit code is that of the class."""
    store = make_store(tmp_path)
    fail(store, 0, DivergedError("The loss is nan."))
    fail(store, 1, DataError("Bad."))
    with pytest.raises(DivergedError, match=r"^The loss is nan.$"):
        train(store)


def test_several_machines_are_refused_where_there_is_one(tmp_path: Path) -> None:
    """Rather than waited for; what is trained already is used all the same."""
    several = BOTH.model_copy(update={"resources": Resources(nodes=2)})
    store = make_store(tmp_path, trained=1)
    with pytest.raises(SpecError, match="asks for 2 machines, and this backend has one"):
        train(store, several)
    found = failure("train", PLAN.jobs[1].job_id, several, store.layout)
    assert found is not None
    assert found.is_final
    assert train(make_store(tmp_path / "other", trained=2), several) == 0


def test_failure_of_another_round_is_tried_again(tmp_path: Path) -> None:
    """A new run or a cleared task has another key."""
    store = make_store(tmp_path, trained=1)
    fail(store, 1, DivergedError("The loss is nan."), run_key="earlier")
    uri = write_plan(PLAN, str(tmp_path)).packs[0]
    assert PackRound(BOTH, uri, "round", "test").open_jobs() == [PLAN.jobs[1]]
    assert PackRound(BOTH, uri, "earlier", "test").open_jobs() == []


def test_jobs_that_somebody_else_trains_are_waited_for(tmp_path: Path) -> None:
    """That is no failed attempt."""
    store = make_store(tmp_path, trained=1)
    told = "^1 of 2 jobs are being trained by another run.$"
    with claim(f"{store.layout.job(PLAN.jobs[1].job_id)}/claim.json", "other"), pytest.raises(ClaimedError, match=told):
        train(store)


def test_missing_rows_fail_with_the_reason_of_the_stage_before(tmp_path: Path) -> None:
    """Once and for all, in this round."""
    store = Store(tmp_path, PLAN)
    note_failure("prepare", PLAN.prepared[0].prepared_id, PLAN.prepared[0], store.layout, "round", DataError("a.jsonl:1: bad."))
    with pytest.raises(DataError, match=r"^a.jsonl:1: bad.$"):
        train(store)
    found = failure("train", PLAN.jobs[0].job_id, BOTH, store.layout)
    assert found is not None
    assert (found.error_class, found.is_final) == ("DataError", True)


def test_rows_that_are_no_good_for_this_experiment_are_not_trained_on(tmp_path: Path) -> None:
    """Though another experiment has prepared them: their images may be too long for this one's scoring."""
    store, prepared_id = make_store(tmp_path), PLAN.prepared[0].prepared_id
    uri = f"{store.layout.prepared(prepared_id)}/prepared.json"
    record = read_record(uri, PreparedDataset)
    assert record is not None
    write_record(uri, record.model_copy(update={"longest_seen_tokens": 5000}))
    pack = BOTH.model_copy(update={"scoring": BOTH.scoring.model_copy(update={"scoring": Scoring(metrics=("perplexity",))})})
    note_failure("prepare", prepared_id, PLAN.prepared[0], store.layout, "round", DataError("a.jsonl:1: bad."))
    with pytest.raises(DataError, match=r"^a.jsonl:1: bad.$"):
        train(store, pack)


def test_job_that_fits_no_memory_is_given_up(tmp_path: Path) -> None:
    """Not even one row at a time."""
    store, job = make_store(tmp_path), PLAN.jobs[0]
    write_record(f"{store.layout.job(job.job_id)}/attempts/1.json", make_attempt("ResourceError", micro_batch_size=1))
    with pytest.raises(ExhaustedError, match=re.escape("Out of memory with one row at a time.")):
        train(store, PLAN.packs[0])
