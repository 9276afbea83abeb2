"""What varies between attempts, and when no further one is worth making."""

from pathlib import Path
from typing import Any

import pytest

from dtx_tasks.entrypoints.attempts import attempts_of, is_exhausted, micro_batch_size, usual_micro_batch_size
from dtx_tasks.errors import DataError, DivergedError, DtxError, ExhaustedError, ResourceError, TransientError
from dtx_tasks.records import Attempt, SplitStatistics
from dtx_tasks.spec import Resources
from dtx_tasks.storage import write_bytes, write_record
from tests.builders import make_attempt, make_dataset_source, make_job


def size(*earlier: Attempt, processes: int = 1, run_key: str = "round", **values: Any) -> int:
    dataset = make_dataset_source(kind="labels") if values.get("stage") == "kto" else None
    return micro_batch_size(make_job(dataset=dataset, **values), Resources(processes=processes), earlier, run_key, usual=16)


def out_of_memory(rows: int, run_key: str = "round") -> Attempt:
    return make_attempt("ResourceError", micro_batch_size=rows, run_key=run_key)


@pytest.mark.parametrize(
    ("values", "rows"),
    [
        ({}, 16),
        ({"global_batch_size": 8}, 8),
        ({"global_batch_size": 64}, 16),
        ({"global_batch_size": 64, "per_device_train_batch_size": 32}, 32),
        ({"global_batch_size": 16, "per_device_train_batch_size": 2}, 2),
        ({"global_batch_size": 20}, 10),
        ({"global_batch_size": 17}, 1),
    ],
)
def test_micro_batch_divides_the_global_batch(values: dict[str, int], rows: int) -> None:
    """As many rows as are asked for, or the most below that leave nothing over."""
    assert size(**values) == rows


@pytest.mark.parametrize(("processes", "rows"), [(1, 16), (2, 8), (16, 1)])
def test_processes_share_the_global_batch(processes: int, rows: int) -> None:
    """Each has its part of a step."""
    assert size(processes=processes) == rows


def test_running_out_of_memory_halves_the_micro_batch() -> None:
    """Again and again; other failures change nothing."""
    assert size(out_of_memory(16)) == 8
    assert size(out_of_memory(16), out_of_memory(8)) == 4
    assert size(out_of_memory(16), make_attempt("TransientError", micro_batch_size=8)) == 8
    assert size(out_of_memory(10), global_batch_size=20) == 5


def test_one_row_that_does_not_fit_is_the_end() -> None:
    """With what could help."""
    told = r"^Out of memory with one row at a time. Lower cutoff_len, train with LoRA, or use a larger machine.$"
    with pytest.raises(ExhaustedError, match=told):
        size(out_of_memory(2), out_of_memory(1))


def test_one_row_is_tried_again_in_another_round() -> None:
    """The machine may be a larger one."""
    assert size(out_of_memory(1, "earlier")) == 1


@pytest.mark.parametrize(
    ("values", "rows"),
    [
        ({"stage": "kto"}, 8),
        ({"stage": "kto", "per_device_train_batch_size": 2}, 2),
        ({"optim": "lomo", "per_device_train_batch_size": 16}, 16),
        ({"optim": "galore_adamw_layerwise", "per_device_train_batch_size": 16}, 16),
    ],
)
def test_rows_that_change_the_result_are_never_fewer(values: dict[str, Any], rows: int) -> None:
    """Running out of memory is the end of the round, with what could help."""
    assert size(**values) == rows
    assert size(out_of_memory(rows, "earlier"), **values) == rows
    told = rf"^Out of memory with {rows} rows at a time, and with fewer of them the result would be another\. Set a smaller per_device_train_batch_size"
    with pytest.raises(ExhaustedError, match=told):
        size(out_of_memory(rows), **values)


@pytest.mark.parametrize(("error", "budget"), [(TransientError("x"), 3), (ResourceError("x"), 3), (DtxError("x"), 1)])
def test_failure_is_retried_as_often_as_its_budget(error: DtxError, budget: int) -> None:
    """The next one is the last."""
    name = type(error).__name__
    assert not is_exhausted(error, [make_attempt(name)] * budget, "round")
    assert is_exhausted(error, [make_attempt(name)] * (budget + 1), "round")


@pytest.mark.parametrize("error", [DataError("x"), DivergedError("x"), ExhaustedError("x")])
def test_final_failure_is_not_retried(error: DtxError) -> None:
    """The same again would end the same."""
    assert is_exhausted(error, [make_attempt(type(error).__name__)], "round")


def test_progress_resets_the_budget() -> None:
    """A new checkpoint shows that the same again does work."""
    attempts = [make_attempt(reached_step=step) for step in (0, 0, 0, 10, 10, 10)]
    assert not is_exhausted(TransientError("x"), attempts, "round")
    assert is_exhausted(TransientError("x"), [*attempts, make_attempt(reached_step=10)], "round")


def test_attempts_of_other_rounds_do_not_count() -> None:
    """A cleared task has the whole budget."""
    earlier = [make_attempt(run_key="earlier")] * 9
    assert not is_exhausted(TransientError("x"), [*earlier, make_attempt()], "round")


def test_failures_of_other_classes_do_not_count() -> None:
    """Each has its own budget."""
    attempts = [make_attempt("ResourceError")] * 3 + [make_attempt("TransientError")] * 3
    assert not is_exhausted(TransientError("x"), attempts, "round")


def test_attempts_are_read_oldest_first(tmp_path: Path) -> None:
    """By number: 10 follows 9; what a killed writer left is none of them."""
    for number in (10, 9, 1):
        write_record(f"{tmp_path}/attempts/{number}.json", make_attempt(number=number))
    write_bytes(f"{tmp_path}/attempts/.11.json.x1y2", b"{")
    assert [attempt.number for attempt in attempts_of(str(tmp_path))] == [1, 9, 10]


def test_job_that_never_started_has_no_attempts(tmp_path: Path) -> None:
    """No folder is no attempt."""
    assert attempts_of(str(tmp_path)) == []


@pytest.mark.parametrize(("num_tokens", "has_gpu", "rows"), [(20 * 100, False, 16), (100 * 100, False, 5), (2000 * 100, False, 1), (2000 * 100, True, 16)])
def test_rows_of_a_pass_follow_from_their_length_on_a_cpu(num_tokens: int, has_gpu: bool, rows: int) -> None:
    """Where nobody says how many: a GPU takes as many as it can, a CPU is no faster with more tokens."""
    train = SplitStatistics(num_rows=100, num_tokens=num_tokens, num_trained_tokens=0, num_truncated=0, longest_tokens=0)
    assert usual_micro_batch_size(train, has_gpu) == rows
