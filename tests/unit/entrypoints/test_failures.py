"""Why something has no result, kept in the experiment's own folder."""

from pathlib import Path

from dtx_tasks.entrypoints.failures import failure, forget_failure, note_failure, reason
from dtx_tasks.errors import DataError, DtxError, TransientError
from dtx_tasks.template import UnsuitableTemplateError
from tests.builders import Store, make_experiment, make_plan

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
