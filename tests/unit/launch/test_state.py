"""What is known of a stage without starting it, and what the end of an attempt means."""

import re
from pathlib import Path

import pytest

from dtx_tasks.entrypoints.documents import PlanUris, write_plan
from dtx_tasks.entrypoints.failures import note_failure
from dtx_tasks.errors import DataError, DtxError, SpecError, TransientError
from dtx_tasks.launch import Ending, ending_of, is_blocked, is_finished
from dtx_tasks.storage import claim, remove, write_bytes, write_record
from tests.builders import Store, make_experiment, make_matrix, make_plan

PLAN = make_plan(make_experiment(parallelism=2, matrix=make_matrix(hyperparameters=["g", "h"])))
STAGES = ("fetch", "prepare", "train", "score", "score_base")


def make_store(root: Path) -> tuple[Store, dict[str, str]]:
    """An empty store, and the document of each stage's first item."""
    return Store(root, PLAN), first_of(write_plan(PLAN, str(root)))


def first_of(uris: PlanUris) -> dict[str, str]:
    return {"fetch": uris.bases[0], "prepare": uris.prepare[0], "train": uris.packs[0], "score": uris.packs[0], "score_base": uris.bases[0]}


def folders(store: Store) -> dict[str, str]:
    """Where each stage's first item is claimed."""
    job, base, layout = PLAN.jobs[0].job_id, PLAN.bases[0].llm.llm_id, store.layout
    return {
        "fetch": layout.llm(base),
        "prepare": layout.prepared(PLAN.prepared[0].prepared_id),
        "train": layout.job(job),
        "score": layout.score(job, PLAN.scoring.scoring_id),
        "score_base": layout.score(base, PLAN.scoring.scoring_id),
    }


@pytest.mark.parametrize("stage", STAGES)
def test_stage_with_all_its_records_is_finished(tmp_path: Path, stage: str) -> None:
    """Then no process need be started."""
    store, documents = make_store(tmp_path)
    store.finish()
    assert is_finished(stage, documents[stage])


@pytest.mark.parametrize("stage", ["fetch", "prepare", "train", "score_base"])
def test_stage_without_its_records_is_not_finished(tmp_path: Path, stage: str) -> None:
    """On an empty store there is everything to do."""
    _, documents = make_store(tmp_path)
    assert not is_finished(stage, documents[stage])


def test_job_without_a_checkpoint_is_not_scored(tmp_path: Path) -> None:
    """Scoring skips it: there is nothing to do."""
    store, documents = make_store(tmp_path)
    assert is_finished("score", documents["score"])
    store.finish()
    remove(f"{folders(store)['score']}/scores.json")
    assert not is_finished("score", documents["score"])


@pytest.mark.parametrize(
    ("stage", "harmed"),
    [("fetch", "files/config.json"), ("prepare", "files/test.jsonl"), ("train", "checkpoint/adapter.bin"), ("score", "files/predictions.jsonl")],
)
def test_record_whose_files_are_harmed_is_void(tmp_path: Path, stage: str, harmed: str) -> None:
    """The stage is done again."""
    store, documents = make_store(tmp_path)
    store.finish()
    write_bytes(f"{folders(store)[stage]}/{harmed}", b"cut off")
    assert not is_finished(stage, documents[stage])


def test_other_base_makes_everything_behind_it_void(tmp_path: Path) -> None:
    """A record names the digests of its inputs."""
    store, documents = make_store(tmp_path)
    store.finish()
    store.fetch(PLAN.bases[0], digest="other")
    assert [is_finished(stage, documents[stage]) for stage in ("fetch", "prepare", "train", "score_base")] == [True, False, False, False]


def test_other_rows_make_scores_void(tmp_path: Path) -> None:
    """Everything is scored on the same rows, and training costs nothing anew."""
    store, documents = make_store(tmp_path)
    store.finish()
    store.prepare(PLAN.prepared[0], validation=["v0", "v1", "v2"])
    assert [is_finished(stage, documents[stage]) for stage in ("train", "score", "score_base")] == [True, False, False]


@pytest.mark.parametrize("stage", ["fetch", "prepare", "train", "score_base"])
def test_stage_that_somebody_else_does_is_blocked(tmp_path: Path, stage: str) -> None:
    """While the claim is held, and not a moment longer."""
    store, documents = make_store(tmp_path)
    assert not is_blocked(stage, documents[stage], "round")
    with claim(f"{folders(store)[stage]}/claim.json", "other"):
        assert is_blocked(stage, documents[stage], "round")
    assert not is_blocked(stage, documents[stage], "round")


@pytest.mark.parametrize(("stage", "blocked"), [("fetch", False), ("prepare", False), ("train", True), ("score", True), ("score_base", True)])
def test_stage_waits_for_a_place(tmp_path: Path, stage: str, blocked: bool) -> None:
    """Only what trains or scores takes one of the experiment's places."""
    store, documents = make_store(tmp_path)
    with claim(f"{store.folder}/slots/0.json", "other"):
        assert not is_blocked(stage, documents[stage], "round")
        with claim(f"{store.folder}/slots/1.json", "other"):
            assert is_blocked(stage, documents[stage], "round") == blocked


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    ("code", "ending"),
    [
        (0, Ending.DONE),
        (79, Ending.WAITING),
        (78, Ending.FINAL),
        (65, Ending.FINAL),
        (76, Ending.FINAL),
        (75, Ending.RETRY),
        (77, Ending.RETRY),
        (70, Ending.RETRY),
        (1, Ending.RETRY),
        (-9, Ending.RETRY),
        (137, Ending.RETRY),
    ],
)
def test_exit_code_says_what_to_do(tmp_path: Path, stage: str, code: int, ending: Ending) -> None:
    """Where nothing else is written down."""
    _, documents = make_store(tmp_path)
    assert ending_of(stage, documents[stage], code, "round") is ending


@pytest.mark.parametrize(("error", "ending"), [(DataError("x"), Ending.FINAL), (TransientError("x"), Ending.RETRY)])
@pytest.mark.parametrize("code", [75, 1, -9])
def test_failure_that_is_final_is_not_retried(tmp_path: Path, error: DtxError, ending: Ending, code: int) -> None:
    """Launchers collapse exit codes: the record counts."""
    store, documents = make_store(tmp_path)
    note_failure("train", PLAN.jobs[0].job_id, PLAN.packs[0], store.layout, "round", error)
    assert ending_of("train", documents["train"], code, "round") is ending


def test_pack_is_retried_while_one_of_its_jobs_can_be(tmp_path: Path) -> None:
    """A diverged job does not end its siblings."""
    store = Store(tmp_path, PLAN)
    both = PLAN.packs[0].model_copy(update={"jobs": PLAN.jobs})
    uri = f"{store.folder}/packs/both.json"
    write_record(uri, both)
    for job, error in zip(PLAN.jobs, (DataError("x"), TransientError("x")), strict=True):
        note_failure("train", job.job_id, both, store.layout, "round", error)
    assert ending_of("train", uri, 75, "round") is Ending.RETRY
    note_failure("train", PLAN.jobs[1].job_id, both, store.layout, "round", DataError("x"))
    assert ending_of("train", uri, 75, "round") is Ending.FINAL


def test_used_up_budget_is_final(tmp_path: Path) -> None:
    """A retryable failure that came back too often."""
    store, documents = make_store(tmp_path)
    note_failure("train", PLAN.jobs[0].job_id, PLAN.packs[0], store.layout, "round", TransientError("x"), is_final=True)
    assert ending_of("train", documents["train"], 75, "round") is Ending.FINAL


@pytest.mark.parametrize("stage", STAGES)
def test_missing_document_is_told(tmp_path: Path, stage: str) -> None:
    """A plan that somebody deleted."""
    uri = f"{Store(tmp_path, PLAN).folder}/packs/none.json"
    with pytest.raises(SpecError, match=re.escape(f"{uri} is no document of the stage {stage!r}. Plan the experiment again.")):
        is_finished(stage, uri)
