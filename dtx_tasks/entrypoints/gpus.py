"""Which GPUs a pack uses, where there are any and nobody has said it yet."""

from __future__ import annotations

import os
from pathlib import Path

VISIBLE = "CUDA_VISIBLE_DEVICES"


def use_gpus(place: int, num_processes: int) -> None:
    """Shows this process, and what it starts, the GPUs of its place in the experiment's parallelism.

    Args:
        place: From 0; packs that run together have different ones.
        num_processes: Of the pack, a GPU each.
    """
    found = num_gpus()
    if found and VISIBLE not in os.environ:
        os.environ[VISIBLE] = ",".join(map(str, gpus_of(place, num_processes, found)))


def num_gpus() -> int:
    """NVIDIA GPUs of this machine."""
    return len(list(Path("/dev").glob("nvidia[0-9]*")))


def gpus_of(place: int, num_processes: int, found: int) -> list[int]:
    """The numbers of the GPUs of a place; they begin anew where there are fewer than places."""
    return sorted({(place * num_processes + index) % found for index in range(num_processes)})
