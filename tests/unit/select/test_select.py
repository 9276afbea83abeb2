"""The verdict of an experiment: who is the best, beyond chance, and why."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from dtx_tasks.entrypoints.failures import note_failure
from dtx_tasks.errors import DataError, DivergedError
from dtx_tasks.records import BestVersion, CandidateEvidence
from dtx_tasks.select import NothingScoredError, select
from tests.builders import Store, make_experiment, make_matrix, make_plan

LOW, MIDDLE, HIGH = [0.0] * 20, [0.0, 1.0] * 10, [1.0] * 20


def make_store(root: Path, *groups: str, llms: Sequence[str] = ("base",), **changes: Any) -> Store:
    return Store(root, make_plan(make_experiment(matrix=make_matrix(llms=list(llms), hyperparameters=list(groups)), **changes)))


def scored(root: Path, base: list[float], settings: dict[str, Any] | None = None, **jobs: list[float]) -> Store:
    """A store with one base and a job for each group, by their validation rows."""
    store = make_store(root, *jobs)
    for job in store.plan.jobs:
        store.score_job(job, validation=jobs[job.group_name], **(settings or {}))
    store.score(store.plan.bases[0].llm.llm_id, "base", validation=base, **(settings or {}))
    return store


def verdict(store: Store) -> BestVersion:
    return select(store.plan, store.layout)


def evidence(found: BestVersion, name: str) -> CandidateEvidence:
    return next(item for item in found.candidates if item.name == name)


def test_clear_winner_is_the_best(tmp_path: Path) -> None:
    """With what it has on the base, and the runner-up."""
    found = verdict(scored(tmp_path, LOW, good=HIGH, fair=MIDDLE))
    assert (found.best_name, found.is_base, found.runner_up_name) == ("base / rows / good", False, "base / rows / fair")
    assert (found.lead_over_runner_up, found.num_jobs, found.num_scored_jobs, found.num_validation_rows) == (0.5, 2, 2, 20)
    assert [item.name for item in found.candidates] == ["base / rows / good", "base / rows / fair", "base (base)"]


def test_evidence_is_the_paired_difference(tmp_path: Path) -> None:
    """Mean, bound and corrected p of (job - base), row by row."""
    good = evidence(verdict(scored(tmp_path, LOW, good=HIGH, fair=MIDDLE)), "base / rows / good")
    assert (good.difference_to_base, good.lower_bound, good.beats_base) == (1.0, 1.0, True)
    assert good.adjusted_p == pytest.approx(2 / 10_001)


def test_reason_is_in_plain_words(tmp_path: Path) -> None:
    """The figures of the verdict, as a sentence."""
    assert verdict(scored(tmp_path, LOW, good=HIGH, fair=MIDDLE)).reason == (
        "base / rows / good is the best: exact_match 1.000 on 20 validation rows, +1.000 against base (base) "
        "(at least +1.000 with 95 % confidence, p < 0.001 after Holm's correction over 2 jobs). "
        "The runner-up base / rows / fair has 0.500; the lead is +0.500, beyond chance."
    )


def test_base_is_the_best_where_nothing_beats_it(tmp_path: Path) -> None:
    """Better by chance is not better; the run is a success that says so."""
    lucky = [1.0, *LOW[1:]]
    found = verdict(scored(tmp_path, LOW, lucky=lucky))
    assert (found.best_name, found.is_base) == ("base (base)", True)
    assert found.reason == (
        "Nothing beats base (base): its exact_match is 0.000 on 20 validation rows, and no job is better beyond chance. "
        "The nearest is base / rows / lucky with 0.050."
    )


def test_job_worse_than_its_base_is_told(tmp_path: Path) -> None:
    """Its difference is below 0."""
    found = verdict(scored(tmp_path, HIGH, bad=LOW))
    assert (found.is_base, evidence(found, "base / rows / bad").difference_to_base) == (True, -1.0)


def test_one_row_cannot_decide(tmp_path: Path) -> None:
    """A single right answer may be chance."""
    assert verdict(scored(tmp_path, [0.0], good=[1.0])).is_base


def test_correction_for_many_jobs_can_cost_the_win(tmp_path: Path) -> None:
    """5 rows all better are p = 1/32: enough for one job, not for two."""
    alone = verdict(scored(tmp_path / "1", [0.0] * 5, good=[1.0] * 5))
    beside = verdict(scored(tmp_path / "2", [0.0] * 5, good=[1.0] * 5, bad=[0.0] * 5))
    assert (alone.is_base, beside.is_base) == (False, True)


def test_tie_goes_to_the_smaller_change(tmp_path: Path) -> None:
    """Fewer trained parameters, then the name."""
    store = make_store(tmp_path, "a", "b", "c")
    for job, size in zip(store.plan.jobs, (300, 100, 100), strict=True):
        store.score_job(job, validation=HIGH, num_trained_parameters=size)
    store.score(store.plan.bases[0].llm.llm_id, "base", validation=LOW)
    found = verdict(store)
    assert [item.name for item in found.candidates] == ["base / rows / b", "base / rows / c", "base / rows / a", "base (base)"]
    assert found.reason.endswith("The runner-up base / rows / c has 1.000; the lead is +0.000, which may be chance.")


def test_validation_decides_whatever_test_says(tmp_path: Path) -> None:
    """Test is reported only."""
    store = make_store(tmp_path, "a", "b")
    for job, (validation, test) in zip(store.plan.jobs, ((HIGH, LOW), (MIDDLE, HIGH)), strict=True):
        store.score_job(job, validation=validation, test=test)
    store.score(store.plan.bases[0].llm.llm_id, "base", validation=LOW, test=HIGH)
    found = verdict(store)
    assert (found.best_name, found.candidates[0].test, found.num_test_rows) == ("base / rows / a", 0.0, 20)
    assert "On 20 test rows, which decided nothing, it has 0.000." in found.reason


def test_lower_is_better_where_the_score_says_so(tmp_path: Path) -> None:
    """Differences are still signed so that positive is better."""
    found = verdict(scored(tmp_path, HIGH, {"higher_is_better": False}, good=LOW, fair=MIDDLE))
    assert (found.best_name, found.lead_over_runner_up) == ("base / rows / good", 0.5)
    assert (found.candidates[0].difference_to_base, found.candidates[0].validation) == (1.0, 0.0)


def test_best_of_several_bases_is_the_one_to_beat(tmp_path: Path) -> None:
    """A job that beats only its own, weaker base is not the best."""
    store = make_store(tmp_path, "g", llms=("weak", "strong"))
    for job in store.plan.jobs:
        store.score_job(job, validation=MIDDLE)
    for base in store.plan.bases:
        store.score(base.llm.llm_id, "base", validation=HIGH if base.llm.name == "strong" else LOW)
    found = verdict(store)
    assert (found.best_name, evidence(found, "weak / rows / g").difference_to_base) == ("strong (base)", -0.5)


def test_unscored_job_is_listed_with_its_reason_and_is_not_0(tmp_path: Path) -> None:
    """It counts as neither good nor bad, nor in the correction."""
    store = make_store(tmp_path, "good", "lost")
    note_failure("train", store.plan.jobs[1].job_id, store.plan.packs[1], store.layout, "round", DivergedError("The loss is nan.", "Lower it."))
    store.score_job(store.plan.jobs[0], validation=HIGH)
    store.score(store.plan.bases[0].llm.llm_id, "base", validation=LOW)
    found = verdict(store)
    lost = evidence(found, "base / rows / lost")
    assert (lost.validation, lost.beats_base, lost.unscored_reason) == (None, False, "train: DivergedError: The loss is nan. Lower it.")
    assert found.candidates[-1] == lost
    assert "over 1 job)" in found.reason
    assert "Best of 1 of 2 jobs: the others could not be scored." in found.reason


def test_job_without_any_trace_is_unscored(tmp_path: Path) -> None:
    """A killed machine writes nothing down."""
    store = scored(tmp_path, LOW, good=HIGH)
    lost = Store(tmp_path, make_store(tmp_path, "good", "lost").plan)
    lost.score(lost.plan.bases[0].llm.llm_id, "base", validation=LOW)
    assert lost.plan.scoring.scoring_id == store.plan.scoring.scoring_id
    assert evidence(verdict(lost), "base / rows / lost").unscored_reason == "it has no result, and nothing says why: see the log of its task"


def test_cards_of_an_earlier_checkpoint_do_not_count(tmp_path: Path) -> None:
    """A job that was trained again is unscored until it is scored again."""
    store = scored(tmp_path, LOW, good=HIGH, stale=HIGH)
    stale = next(job for job in store.plan.jobs if job.group_name == "stale")
    store.score(stale.job_id, "of another checkpoint", validation=HIGH)
    assert evidence(verdict(store), "base / rows / stale").validation is None


def test_cards_with_other_rows_do_not_count(tmp_path: Path) -> None:
    """What was scored before a Dataset came back cannot be compared with what was scored after."""
    store = scored(tmp_path, LOW, good=HIGH, stale=HIGH)
    stale = next(job for job in store.plan.jobs if job.group_name == "stale")
    store.score_job(stale, validation=HIGH, rows_digest="of other rows")
    assert evidence(verdict(store), "base / rows / stale").unscored_reason == "it was scored on other rows than the base: clear its score task"


def test_failed_base_leaves_nothing_to_compare_with(tmp_path: Path) -> None:
    """A job is never the best by itself."""
    store = make_store(tmp_path, "good")
    store.score_job(store.plan.jobs[0], validation=HIGH)
    base = store.plan.bases[0]
    note_failure("score_base", base.llm.llm_id, base, store.layout, "round", DataError("No rows."))
    told = "No base could be scored, so there is nothing to choose from:\n- base (base): score_base: DataError: No rows."
    with pytest.raises(NothingScoredError, match=f"^{re.escape(told)}$"):
        verdict(store)


def test_all_failed_is_told_with_every_reason(tmp_path: Path) -> None:
    """One line each."""
    store = make_store(tmp_path, "a", "b")
    store.score(store.plan.bases[0].llm.llm_id, "base", validation=LOW)
    for job, pack, stage in zip(store.plan.jobs, store.plan.packs, ("train", "score"), strict=True):
        note_failure(stage, job.job_id, pack, store.layout, "round", DataError(f"{job.group_name} is bad."))
    reasons = "- base / rows / a: train: DataError: a is bad.\n- base / rows / b: score: DataError: b is bad."
    with pytest.raises(NothingScoredError, match=re.escape(f"No job could be scored, so there is nothing to choose from:\n{reasons}")):
        verdict(store)


def test_scores_without_a_validation_row_decide_nothing(tmp_path: Path) -> None:
    """A single row that was given to the test split, say."""
    store = make_store(tmp_path, "a")
    store.score_job(store.plan.jobs[0], test=HIGH)
    store.score(store.plan.bases[0].llm.llm_id, "base", test=LOW)
    with pytest.raises(NothingScoredError, match=re.escape("base / rows / a was scored on no validation row.")):
        verdict(store)


def test_cross_fitting_and_left_out_datasets_are_told(tmp_path: Path) -> None:
    """A reader must know how the rows came about."""
    found = verdict(scored(tmp_path, LOW, {"is_cross_fitted": True, "left_out_datasets": ("d", "e")}, good=HIGH))
    assert (found.is_cross_fitted, found.left_out_datasets) == (True, ("d", "e"))
    assert "There was one split only: each row was given one role, deciding or reporting, by its hash." in found.reason
    assert found.reason.endswith("Left out of scoring: d, e.")


def test_same_scores_are_the_same_verdict(tmp_path: Path) -> None:
    """A second time reads what the first one wrote."""
    store = scored(tmp_path, LOW, good=HIGH)
    first = verdict(store)
    written_at = Path(f"{store.folder}/verdict.json").stat().st_mtime_ns
    assert verdict(store) == first
    assert Path(f"{store.folder}/verdict.json").stat().st_mtime_ns == written_at


def test_other_scores_are_another_verdict(tmp_path: Path) -> None:
    """A job that was scored meanwhile counts."""
    store = scored(tmp_path, LOW, good=MIDDLE, late=LOW)
    before = verdict(store)
    store.score_job(next(job for job in store.plan.jobs if job.group_name == "late"), validation=HIGH)
    after = verdict(store)
    assert (before.best_name, after.best_name) == ("base / rows / good", "base / rows / late")
    assert before.digest != after.digest
