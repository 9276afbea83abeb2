"""What ranks decide together."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import torch

from dtx_tasks.train.progress import any_rank

if TYPE_CHECKING:
    from pathlib import Path


def decide(rank: int, folder: str) -> None:
    """One rank of two, of which only the second has seen something."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    answers = [any_rank(rank == 1, SimpleNamespace(world_size=2, device="cpu")), any_rank(False, SimpleNamespace(world_size=2, device="cpu"))]
    torch.save(answers, f"{folder}/{rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_what_one_rank_sees_all_ranks_decide(tmp_path: Path) -> None:
    """A loss that is no number on one of them ends all of them, before they meet again."""
    torch.multiprocessing.spawn(decide, (str(tmp_path),), nprocs=2)
    assert [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)] == [[True, False]] * 2
