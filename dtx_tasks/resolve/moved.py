"""What training files say beside the hyperparameters, and a Dataset says here: jobs on one Dataset have the same rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

Number = int | float


class Moved(NamedTuple):
    """A key of groups that is moved to the Datasets."""

    of_group: str
    of_dataset: str
    note: str
    """What each Dataset does with it."""
    remedy: str
    """What to do where groups differ."""
    beside: Callable[[Number | None, Number], Number]
    """What counts, of what a Dataset says itself and what is moved to it."""


MOVED = (
    Moved(
        "val_size",
        "validation",
        "each holds it out as its validation split",
        "Jobs are compared on the same rows: give every group the same, or write it as `validation` of the Dataset.",
        lambda _own, moved: moved,
    ),
    Moved(
        "max_samples",
        "max_samples",
        "each gives at most the first so many rows of its train split",
        "Jobs on a Dataset learn from the same rows: give every group the same, or write it as `max_samples` of a Dataset for each number.",
        lambda own, moved: moved if own is None else min(own, moved),
    ),
)
