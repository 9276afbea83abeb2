"""Why something has no result, kept in the experiment's own folder."""

from pathlib import Path

import pytest

from dtx_tasks.entrypoints.attempts import attempts_of
from dtx_tasks.entrypoints.failures import failure, forget_failure, note_attempt, note_failure, reason
from dtx_tasks.errors import DataError, DtxError, PreemptedError, SpecError, TransientError
from dtx_tasks.records import ExperimentPlan, FailureRecord
from dtx_tasks.storage import write_record
from dtx_tasks.template import UnsuitableTemplateError
from tests.builders import Store, make_attempt, make_experiment, make_plan

PLAN = make_plan()
PACK = PLAN.packs[0]


def noted(root: Path, error: DtxError, *, is_final: bool | None = None) -> Store:
    store = Store(root, PLAN)
    note_failure("train", "job", PACK, store.layout, "round", error, is_final)
    return store


def test_failure_is_read_as_it_was_noted(tmp_path: Path) -> None:
    """Class, words and round."""
    found = failure("train", "job", PACK, noted(tmp_path, DataError("Bad.", "Mend it.")).layout)
    assert found is not None
    assert (found.error_class, found.message, found.hint, found.is_final, found.run_key) == ("DataError", "Bad.", "Mend it.", True, "round")


def test_retryable_failure_can_be_final_here(tmp_path: Path) -> None:
    """Once its budget is used up."""
    found = failure("train", "job", PACK, noted(tmp_path, TransientError("Gone."), is_final=True).layout)
    assert found is not None
    assert found.is_final


def test_reason_is_an_error_of_the_same_class(tmp_path: Path) -> None:
    """The next stage fails as the earlier one did."""
    found = reason("train", "job", PACK, noted(tmp_path, DataError("Bad.", "Mend it.")).layout)
    assert type(found) is DataError
    assert str(found) == "Bad. Mend it."


def test_reason_of_a_special_class_is_one_of_the_failure_table(tmp_path: Path) -> None:
    """A chat template that cannot be trained with is the author's data."""
    found = reason("train", "job", PACK, noted(tmp_path, UnsuitableTemplateError("None.")).layout)
    assert type(found) is DataError


def test_what_did_not_fail_has_no_reason(tmp_path: Path) -> None:
    """Another stage, another item and another experiment are not concerned."""
    store = noted(tmp_path, DataError("Bad."))
    other = make_plan(make_experiment(name="other")).packs[0]
    assert reason("score", "job", PACK, store.layout) is None
    assert reason("train", "other", PACK, store.layout) is None
    assert reason("train", "job", other, store.layout) is None


def test_forgotten_failure_is_gone(tmp_path: Path) -> None:
    """Forgetting twice is forgetting once."""
    store = noted(tmp_path, DataError("Bad."))
    forget_failure("train", "job", PACK, store.layout)
    forget_failure("train", "job", PACK, store.layout)
    assert failure("train", "job", PACK, store.layout) is None


def preempted(store: Store, plan: ExperimentPlan, times: int) -> FailureRecord | None:
    """A job of which so many attempts were ended by the cluster, without a checkpoint."""
    job, layout = plan.jobs[0], store.layout
    for number in range(1, times + 1):
        write_record(f"{layout.job(job.job_id)}/attempts/{number}.json", make_attempt(number=number))
        note_attempt(job.job_id, plan.packs[0], layout, "round", PreemptedError("The pod was taken away."))
    return failure("train", job.job_id, plan.packs[0], layout)


@pytest.mark.parametrize(("times", "is_final"), [(1, False), (20, False), (21, True)])
def test_preemption_has_a_budget_of_its_own(tmp_path: Path, times: int, *, is_final: bool) -> None:
    """It is nobody's fault: three times would be too few."""
    plan = make_plan()
    found = preempted(Store(tmp_path, plan), plan, times)
    assert found is not None
    assert (found.error_class, found.is_final) == ("PreemptedError", is_final)


def test_word_from_outside_replaces_the_guess_of_the_attempt(tmp_path: Path) -> None:
    """An attempt counts as killed until somebody knows better."""
    plan = make_plan()
    store = Store(tmp_path, plan)
    preempted(store, plan, 1)
    assert [attempt.error_class for attempt in attempts_of(store.layout.job(plan.jobs[0].job_id))] == ["PreemptedError"]


def test_pod_that_never_began_has_no_attempt(tmp_path: Path) -> None:
    """Its failure is written down all the same, and attempts of other rounds stay as they are."""
    plan = make_plan()
    store, job_id = Store(tmp_path, plan), plan.jobs[0].job_id
    write_record(f"{store.layout.job(job_id)}/attempts/1.json", make_attempt(run_key="earlier"))
    note_attempt(job_id, plan.packs[0], store.layout, "round", SpecError("The image cannot be had."))
    found = failure("train", job_id, plan.packs[0], store.layout)
    assert found is not None
    assert (found.error_class, found.is_final, found.run_key) == ("SpecError", True, "round")
    assert [attempt.error_class for attempt in attempts_of(store.layout.job(job_id))] == ["TransientError"]


def test_pod_that_never_began_leaves_an_attempt_that_said_how_it_ended(tmp_path: Path) -> None:
    """Its half micro batch would be forgotten, and waiting for a place would never be counted."""
    plan = make_plan()
    store, job_id = Store(tmp_path, plan), plan.jobs[0].job_id
    ended = make_attempt("ResourceError").model_copy(update={"is_over": True})
    write_record(f"{store.layout.job(job_id)}/attempts/1.json", ended)
    for _ in range(4):
        note_attempt(job_id, plan.packs[0], store.layout, "round", TransientError("No node has a place."))
    assert attempts_of(store.layout.job(job_id)) == [ended]
    found = failure("train", job_id, plan.packs[0], store.layout)
    assert found is not None
    assert (found.count, found.is_final) == (4, True)
