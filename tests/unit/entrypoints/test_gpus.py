"""Which GPUs a pack uses."""

from __future__ import annotations

from dtx_tasks.entrypoints.gpus import gpus_of


def test_packs_that_run_together_use_different_gpus() -> None:
    """Each place of the parallelism has its own."""
    assert [gpus_of(place, 2, 4) for place in range(2)] == [[0, 1], [2, 3]]


def test_places_begin_anew_where_gpus_are_fewer() -> None:
    """Then they share."""
    assert [gpus_of(place, 1, 2) for place in range(3)] == [[0], [1], [0]]
