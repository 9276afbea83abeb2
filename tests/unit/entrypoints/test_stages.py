"""Who may run now, and where a failure is written down."""

import re
from pathlib import Path

import pytest

from dtx_tasks.entrypoints.documents import write_plan
from dtx_tasks.entrypoints.failures import failure
from dtx_tasks.entrypoints.stages import Call, noted, slot
from dtx_tasks.errors import ClaimedError, DataError, DtxError, SpecError, TransientError
from dtx_tasks.records import BaseDocument, Pack
from tests.builders import make_experiment, make_plan

PLAN = make_plan(make_experiment(parallelism=2))


def make_call(root: Path) -> Call:
    return Call(write_plan(PLAN, str(root)).packs[0], "round", "test")


def fail_with(error: Exception, root: Path) -> Call:
    call = make_call(root)
    with pytest.raises(DtxError), noted("score", "job", PLAN.packs[0], call):
        raise error
    return call


def test_document_of_another_kind_is_refused(tmp_path: Path) -> None:
    """A pack is no base."""
    call = make_call(tmp_path)
    assert call.document(Pack) == PLAN.packs[0]
    with pytest.raises(SpecError, match=re.escape(f"{call.document_uri} is no BaseDocument of this version. Plan the experiment again.")):
        call.document(BaseDocument)


def test_only_so_many_run_at_a_time(tmp_path: Path) -> None:
    """The experiment's parallelism is a number of places."""
    call, pack = make_call(tmp_path), PLAN.packs[0].model_copy(update={"parallelism": 2})
    told = re.escape("All 2 places of this experiment's parallelism are taken.")
    with slot(pack, call):
        with slot(pack, call), pytest.raises(ClaimedError, match=told), slot(pack, call):
            pass
        with slot(pack, call) as free:
            assert free is None


def test_place_is_free_again_after_a_failure(tmp_path: Path) -> None:
    """However it ends."""
    call, pack = make_call(tmp_path), PLAN.packs[0].model_copy(update={"parallelism": 1})
    with pytest.raises(DataError), slot(pack, call):
        raise DataError("Bad.")
    with slot(pack, call) as free:
        assert free is None


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (DataError("Bad."), "DataError", "Bad."),
        (OSError(28, "No space left on device"), "TransientError", "OSError: [Errno 28] No space left on device"),
        (TransientError("Gone."), "TransientError", "Gone."),
    ],
)
def test_failure_is_written_down(tmp_path: Path, error: Exception, kind: str, message: str) -> None:
    """What the system refused may work the next time."""
    found = failure("score", "job", PLAN.packs[0], fail_with(error, tmp_path).layout)
    assert found is not None
    assert (found.error_class, found.message) == (kind, message)


def test_bug_is_written_down_with_its_traceback(tmp_path: Path) -> None:
    """Whoever reports it has all that is needed."""
    found = failure("score", "job", PLAN.packs[0], fail_with(KeyError("loss"), tmp_path).layout)
    assert found is not None
    assert found.error_class == "DtxError"
    assert found.message.endswith("KeyError: 'loss'")


def test_waiting_is_no_failure(tmp_path: Path) -> None:
    """Somebody else is doing it."""
    assert failure("score", "job", PLAN.packs[0], fail_with(ClaimedError("Wait."), tmp_path).layout) is None


def test_success_forgets_the_failure(tmp_path: Path) -> None:
    """A report tells of what is, not of what was."""
    call = fail_with(DataError("Bad."), tmp_path)
    with noted("score", "job", PLAN.packs[0], call):
        pass
    assert failure("score", "job", PLAN.packs[0], call.layout) is None


def test_failure_that_comes_back_too_often_is_final(tmp_path: Path) -> None:
    """Within one round: three retries of what may work the next time."""
    endings = []
    for _ in range(4):
        found = failure("score", "job", PLAN.packs[0], fail_with(TransientError("Gone."), tmp_path).layout)
        assert found is not None
        endings.append(found.is_final)
    assert endings == [False, False, False, True]
