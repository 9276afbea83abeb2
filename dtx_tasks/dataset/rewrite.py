"""What may change the rows of a file between reading it and making rows of its format: the plugins' place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from dtx_tasks.dataset.raw import RawRow

if TYPE_CHECKING:
    from dtx_tasks.dataset.fields import Problem

Rewrite = Callable[[Iterator[RawRow]], Iterator[RawRow]]
"""Takes the rows of a file and gives others, each with the line that it was made of."""


class RewriteError(Exception):
    """Rewriting could not go on.

    Attributes:
        line: Of the row that was being rewritten.
        problem: Why.
    """

    def __init__(self, line: int, problem: Problem) -> None:
        super().__init__(problem.message)
        self.line, self.problem = line, problem
