"""What can be said about rows: every code, and the findings of a file with the first of each code."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from dtx_tasks.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable

Severity = Literal["error", "warning"]

SHOWN_OF_A_CODE = 20

ERRORS = {
    "unknown_kind_of_file": "The ending of the file is none that can be read.",
    "damaged_file": "The file is not what its ending says: not gzip, not zstd, not Parquet.",
    "too_large": "A row, or what a compressed file or a Parquet file holds, that is larger than is read.",
    "repeated_column": "Two columns of one name: only one of them could be read.",
    "not_utf8": "Bytes that are not UTF-8.",
    "not_json": "Text that is not JSON.",
    "not_csv": "Text that is not CSV.",
    "not_an_array": "A .json file that holds something else than one array of rows.",
    "cut_off": "The file ends in the middle of a row or of the array.",
    "no_rows": "There is no row in the file.",
    "not_an_object": "A row that is not an object: not of the declared format.",
    "missing_field": "A column, or a key of a turn, that is needed and not there.",
    "wrong_type": "A value of another type than its column needs.",
    "empty_text": "Text that is needed and empty.",
    "half_character": "Half of a surrogate pair, which is no character.",
    "absent_column": "A column that the Dataset names and no row has.",
    "unknown_role": "A turn of a speaker that the format does not know.",
    "role_order": "Turns in an order that cannot be learned from.",
    "bad_tool_call": "A call of a tool that is not JSON with a name and arguments.",
    "bad_tools": "A list of tools that is not JSON with a name for each.",
    "file_count": "A row with more or fewer files than placeholders.",
    "missing_file": "A row with a file that is not there.",
    "file_in_answer": "A row with a place for a file in its answer.",
    "plugin_failed": "A plugin stopped with an error, gave something that is no row, or left no row.",
    "unknown_subset": "A Dataset names a subset that no row belongs to.",
}
WARNINGS = {
    "duplicate": "A row that stands in its file more than once.",
    "near_duplicate": "A row that is almost the same as an earlier one of its file.",
    "leakage": "A row to score on that is learned from too.",
    "near_leakage": "A row to score on that is almost the same as one that is learned from.",
    "equal_preference": "A preference whose better and worse answers are the same.",
    "label_imbalance": "One of two labels is rare.",
    "long_row": "A row of very many characters.",
    "truncated": "Rows longer than the length limit: their ends are not learned.",
    "unlearnable": "Rows of which nothing would be learned: their question alone reaches the length limit, or the template cannot write them.",
    "broken_text": "Text that was read in another encoding than it was written in.",
    "replacement_character": "U+FFFD, which stands where a character was lost.",
    "unread_key": "A key of the turns that has no effect here, such as OpenAI's `weight`.",
    "unread_column": "A column with a well-known name that this Dataset does not read.",
}
CODES: dict[str, tuple[Severity, str]] = {
    **{code: ("error", meaning) for code, meaning in ERRORS.items()},
    **{code: ("warning", meaning) for code, meaning in WARNINGS.items()},
}
"""Every code with its severity and its meaning; docs/findings.md is made from it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or should be known.

    Attributes:
        file: What messages call the file.
        line: 1-based line; of a Parquet file the row.
        column: The column of the row, or the place in the line.
        code: One of CODES.
        message: What is wrong, with the value that was found.
        hint: What would be right.
    """

    file: str
    line: int
    column: str
    code: str
    message: str
    hint: str = ""

    @property
    def severity(self) -> Severity:
        """Whether it stops the Dataset."""
        return CODES[self.code][0]

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.column}: {self.message}. {self.hint}".strip()

    def as_dict(self) -> dict[str, str | int]:
        """For JSON."""
        names = ("file", "line", "column", "code", "severity", "message", "hint")
        return {name: getattr(self, name) for name in names}


@dataclass
class Findings:
    """The first findings of each code, and how many there are: a file of bad rows is not a flood."""

    shown: dict[str, list[Finding]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, finding: Finding) -> None:
        """Notes one."""
        self.counts[finding.code] += 1
        kept = self.shown.setdefault(finding.code, [])
        if len(kept) < SHOWN_OF_A_CODE:
            kept.append(finding)

    def merge(self, others: Iterable[Findings]) -> None:
        """Takes in those of other files."""
        for other in others:
            for code, kept in other.shown.items():
                mine = self.shown.setdefault(code, [])
                mine += kept[: SHOWN_OF_A_CODE - len(mine)]
            self.counts.update(other.counts)

    def of(self, severity: Severity) -> list[Finding]:
        """The shown ones of one severity, code by code."""
        return [finding for code, kept in self.shown.items() if CODES[code][0] == severity for finding in kept]

    @property
    def num_errors(self) -> int:
        """How many errors there are in all."""
        return sum(count for code, count in self.counts.items() if CODES[code][0] == "error")

    @property
    def first_error(self) -> str:
        """The first error as a sentence; empty where there is none."""
        errors = self.of("error")
        return str(min(errors, key=lambda finding: finding.line)) if errors else ""

    def summary(self) -> str:
        """The errors, a line each, and how many more there are."""
        lines = []
        for code, kept in self.shown.items():
            if CODES[code][0] == "error":
                more = self.counts[code] - len(kept)
                lines += [*map(str, kept), *([f"and {more} more of {code}"] if more else [])]
        return "\n".join(lines)

    def refuse(self) -> None:
        """Stops where there are errors.

        Raises:
            DataError: With the first of each code, each with file, line, column and hint.
        """
        if self.num_errors:
            raise DataError(self.summary())
