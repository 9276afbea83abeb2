"""How an attempt ended: launchers collapse exit codes, so what the ranks wrote counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dtx_tasks.entrypoints.documents import write_plan
from dtx_tasks.entrypoints.outcomes import killed_outcome, outcome_of
from dtx_tasks.entrypoints.pack_round import PackRound
from dtx_tasks.errors import DivergedError, DtxError, TransientError
from dtx_tasks.spec import Resources
from dtx_tasks.storage import write_record
from dtx_tasks.train.outcome import Outcome, failed
from tests.builders import make_experiment, make_plan

if TYPE_CHECKING:
    from pathlib import Path


def ended(root: Path, exit_code: int, ranks: dict[int, DtxError | None], *, is_saved: bool = False) -> str:
    """The class of what two ranks came to; empty for a success."""
    plan = make_plan(make_experiment())
    pack = plan.packs[0].model_copy(update={"resources": Resources(processes=2)})
    this = PackRound(pack, write_plan(plan, str(root)).packs[0], "round", "test")
    folder = this.layout.job(plan.jobs[0].job_id)
    for rank, error in ranks.items():
        write_record(f"{folder}/scratch/outcome-{rank}.json", failed(error) if error else Outcome(num_steps=4))
    if is_saved:
        (root / folder / "scratch/final").mkdir(parents=True)
    return outcome_of(this, folder, exit_code, killed_outcome(exit_code, is_out_of_memory=False)).error_class


def test_exit_after_everything_is_saved_is_a_success(tmp_path: Path) -> None:
    """One DeepSpeed run of eighty ended with SIGABRT then; the launcher makes 1 of it."""
    assert ended(tmp_path, 1, {0: None}, is_saved=True) == ""


def test_rank_that_says_nothing_was_killed(tmp_path: Path) -> None:
    """The same again may work."""
    assert ended(tmp_path, 1, {}) == "TransientError"


@pytest.mark.parametrize("exit_code", [0, 1, -15])
def test_what_a_rank_says_counts_more_than_the_launchers_code(tmp_path: Path, exit_code: int) -> None:
    """And the rank that failed more than the one that only lost sight of it."""
    assert ended(tmp_path, exit_code, {0: TransientError("Another rank is gone."), 1: DivergedError("The loss is nan.")}) == "DivergedError"
