"""What varies between the attempts at a job, and when no further one is worth making."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dtx_tasks.errors import DtxError, ExhaustedError
from dtx_tasks.records import Attempt
from dtx_tasks.spec import fixed_rows
from dtx_tasks.storage import list_names, read_record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dtx_tasks.records import FinetuneJob, SplitStatistics
    from dtx_tasks.spec import Resources

BUDGETS = {"TransientError": 3, "DamagedError": 3, "PreemptedError": 20, "ResourceError": 3, "HostMemoryError": 1, "DtxError": 1}
"""Retries of each class without a new checkpoint: the failure table of docs/design.md."""

MOST_ROWS = 16
TOKENS_ON_A_CPU = 512
"""In one forward pass: more are no faster on a CPU, and attention grows with them (measured by benchmarks/training.py)."""


def attempts_of(job_folder: str) -> list[Attempt]:
    """Every attempt at a job, oldest first."""
    numbers = sorted(int(name.removesuffix(".json")) for name in list_names(f"{job_folder}/attempts"))
    found = [read_record(f"{job_folder}/attempts/{number}.json", Attempt) for number in numbers]
    return [attempt for attempt in found if attempt]


def usual_micro_batch_size(train: SplitStatistics, has_gpu: bool) -> int:
    """Rows in one forward pass where nobody has said how many.

    Args:
        train: The rows that are learned from.
        has_gpu: A GPU is the faster the more it is given at a time.
    """
    return MOST_ROWS if has_gpu else max(1, min(MOST_ROWS, TOKENS_ON_A_CPU * train.num_rows // max(1, train.num_tokens)))


def micro_batch_size(job: FinetuneJob, resources: Resources, earlier: Sequence[Attempt], run_key: str, usual: int) -> int:
    """Rows in one forward pass: half of the last attempt's where that ran out of memory, unless their number changes the result.

    Args:
        job: What is trained.
        resources: On what.
        earlier: Every attempt.
        run_key: The round.
        usual: How many where nobody has said it.

    Raises:
        ExhaustedError: Not even one row fitted in this round, or not as many as there must be; another one may have a larger machine.
    """
    too_large = [attempt for attempt in earlier if attempt.error_class == "ResourceError"]
    fixed = fixed_rows(job.hyperparameters)
    if fixed is not None:
        return _as_many(fixed, too_large, run_key)
    rows = job.hyperparameters.global_batch_size // resources.num_processes
    most = job.hyperparameters.per_device_train_batch_size or usual
    for attempt in too_large:
        most = min(most, max(1, attempt.micro_batch_size // 2))
    if any(attempt.micro_batch_size == 1 and attempt.run_key == run_key for attempt in too_large):
        raise ExhaustedError("Out of memory with one row at a time.", "Lower cutoff_len, train with LoRA, or use a larger machine.")
    return next(size for size in range(min(most, rows), 0, -1) if rows % size == 0)


def _as_many(rows: int, too_large: Sequence[Attempt], run_key: str) -> int:
    if any(attempt.run_key == run_key for attempt in too_large):
        said = f"Out of memory with {rows} rows at a time, and with fewer of them the result would be another."
        raise ExhaustedError(said, "Set a smaller per_device_train_batch_size if that can be, lower cutoff_len, train with LoRA, or use a larger machine.")
    return rows


def is_exhausted(error: DtxError, earlier: Sequence[Attempt], run_key: str) -> bool:
    """Whether a class of failure has used up its retries in this round.

    Args:
        error: How the last of the attempts ended.
        earlier: Every attempt, the last one included.
        run_key: The round; attempts of other rounds do not count.
    """
    name = type(error).__name__
    count, best_step = 0, 0
    for attempt in earlier:
        if attempt.reached_step > best_step:
            best_step, count = attempt.reached_step, 0
        if attempt.run_key == run_key and attempt.error_class == name:
            count += 1
    return error.is_final or count > BUDGETS.get(name, 0)
