"""Rows that stand in more than one place: in one file, or in a train split and among the rows to score on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dtx_tasks.dataset.folder import said_place
from dtx_tasks.spec import HELD_OUT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dtx_tasks.dataset.splits import Scan
    from dtx_tasks.spec import Split


@dataclass(frozen=True, slots=True)
class LeakedRow:
    """A row to score on that is learned from too.

    Attributes:
        file: Where it is scored on.
        line: The same.
        train_file: Where it is learned from.
        train_line: The same.
        similarity: 1 for the same row; less for one that is almost the same.
    """

    file: str
    line: int
    train_file: str
    train_line: int
    similarity: float = 1.0

    def __str__(self) -> str:
        degree = "" if self.similarity == 1 else f", similarity {self.similarity:.2f}"
        return f"{self.place} (learned from in {self.train_place}{degree})"

    @property
    def place(self) -> str:
        """Where it is scored on: `test.jsonl:3`."""
        return said_place(self.file, self.line)

    @property
    def train_place(self) -> str:
        """Where it is learned from."""
        return said_place(self.train_file, self.train_line)


def repeated_rows(scan: Scan) -> Iterator[tuple[int, int]]:
    """The line of each row that stood in the file before, and the line where it stood first."""
    first: dict[int, int] = {}
    for row_id, line in zip(scan.ids, scan.lines, strict=True):
        earlier = first.setdefault(row_id, line)
        if earlier != line:
            yield line, earlier


def leaked_rows(datasets: Mapping[str, Mapping[Split, Scan]]) -> list[LeakedRow]:
    """The rows to score on that stand in the train split of any Dataset too.

    Args:
        datasets: The splits of each Dataset of an experiment.
    """
    scored = {
        row_id: (scan.label, line)
        for splits in datasets.values()
        for split, scan in splits.items()
        if split in HELD_OUT
        for row_id, line in zip(scan.ids, scan.lines, strict=True)
    }
    leaks: dict[int, LeakedRow] = {}
    for splits in datasets.values():
        train = splits["train"]
        for row_id, line in zip(train.ids, train.lines, strict=True):
            if row_id in scored:
                leaks.setdefault(row_id, LeakedRow(*scored[row_id], train.label, line))
    return list(leaks.values())
