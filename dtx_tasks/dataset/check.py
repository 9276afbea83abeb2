"""From raw rows to rows: the feature map applied, and every row checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dtx_tasks.dataset.read import RawRow, Unreadable, read_file
from dtx_tasks.errors import DataError, nearest
from dtx_tasks.records import digest_of
from dtx_tasks.spec import Columns

if TYPE_CHECKING:
    from pathlib import Path


SHOWN_PROBLEMS = 20


@dataclass(frozen=True)
class Row:
    """One question and its answer.

    Attributes:
        line: 1-based line of the file.
        system: System message; empty for none.
        prompt: What is asked.
        answer: What should be answered.
    """

    line: int
    system: str
    prompt: str
    answer: str

    @property
    def row_id(self) -> str:
        """Content hash: equal rows of different files are one row."""
        return digest_of([self.system, self.prompt, self.answer])

    def messages(self) -> list[dict[str, str]]:
        """The conversation up to the answer, as chat templates take it."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, {"role": "user", "content": self.prompt}]


@dataclass(frozen=True)
class RowProblem:
    """What is wrong with one row, and where."""

    file: str
    line: int
    column: str
    problem: str
    hint: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.column}: {self.problem}. {self.hint}".strip()


@dataclass
class CheckedFile:
    """The rows of one file, and what is wrong with it."""

    rows: list[Row] = field(default_factory=list)
    problems: list[RowProblem] = field(default_factory=list)
    ignored_columns: tuple[str, ...] = ()

    def summary(self) -> str:
        """The first problems, a line each, and how many there are."""
        shown = [str(problem) for problem in self.problems[:SHOWN_PROBLEMS]]
        more = len(self.problems) - len(shown)
        return "\n".join([*shown, f"and {more} more"] if more else shown)


def check_file(path: Path, label: str, columns: Columns) -> CheckedFile:
    """Reads one file and checks every row of it.

    Args:
        path: The file.
        label: What messages call it.
        columns: The feature map.
    """
    checked, seen = CheckedFile(), set[str]()
    for raw in read_file(path):
        if isinstance(raw, Unreadable):
            checked.problems.append(RowProblem(label, raw.line, f"character {raw.column}", raw.problem, raw.hint))
            continue
        found = _check_row(raw, columns)
        if isinstance(found, Row):
            checked.rows.append(found)
            seen |= raw.values.keys()
        else:
            checked.problems += [RowProblem(label, raw.line, *problem) for problem in found]
    if not (checked.rows or checked.problems):
        checked.problems.append(RowProblem(label, 1, "file", "there is no row in it", "Add at least one."))
    checked.problems += [
        RowProblem(label, 1, name, "no row has this column", nearest(name, seen)) for name in _named_optional(columns) if checked.rows and name not in seen
    ]
    checked.ignored_columns = tuple(sorted(seen - set(columns.model_dump().values())))
    return checked


def rows_of(path: Path, label: str, columns: Columns) -> CheckedFile:
    """The rows of a file that has no mistake.

    Raises:
        DataError: With the first problems, each with file, line, column and hint.
    """
    checked = check_file(path, label, columns)
    if checked.problems:
        raise DataError(checked.summary())
    return checked


def _named_optional(columns: Columns) -> list[str]:
    """Columns that may be empty in a row, but were named by the author."""
    named = {columns.input, columns.system} - {Columns().input, None}
    return sorted(name for name in named if name)


def _check_row(raw: RawRow, columns: Columns) -> Row | list[tuple[str, str, str]]:
    values = raw.values
    if not isinstance(values, dict):
        return [("row", f"the row is a {type(values).__name__}, not an object", 'A row looks like {"instruction": "...", "output": "..."}.')]
    problems = [problem for name in (columns.instruction, columns.output) for problem in _needed(values, name)]
    problems += [problem for name in (columns.input, columns.system) if name for problem in _optional(values, name)]
    if problems:
        return problems
    asked = [str(values[columns.instruction]), str(values.get(columns.input) or "")]
    system = str(values.get(columns.system) or "") if columns.system else ""
    return Row(raw.line, system, "\n".join(part for part in asked if part), str(values[columns.output]))


def _needed(values: dict[str, Any], name: str) -> list[tuple[str, str, str]]:
    if name not in values:
        return [(name, "the column is missing", f"{nearest(name, map(str, values))} Name another one under `columns` of the Dataset.")]
    value = values[name]
    if not isinstance(value, str):
        return [(name, f"must be text (got {_shown(value)})", "Put it in quotes.")]
    if not value.strip():
        return [(name, "is empty", "Write the text or remove the row.")]
    return _unwritable(name, value)


def _optional(values: dict[str, Any], name: str) -> list[tuple[str, str, str]]:
    value = values.get(name)
    if value is None:
        return []
    if isinstance(value, str):
        return _unwritable(name, value)
    return [(name, f"must be text (got {_shown(value)})", "Put it in quotes.")]


def _unwritable(name: str, text: str) -> list[tuple[str, str, str]]:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return [(name, f"holds half a surrogate pair (got {_shown(text[error.start])})", "Write the character itself.")]
    return []


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
