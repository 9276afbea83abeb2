"""The columns of one raw row, read by their parts, with what is wrong noted on the way."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dtx_tasks.dataset.findings import Finding
from dtx_tasks.dataset.folder import place_of
from dtx_tasks.errors import nearest
from dtx_tasks.spec import MEDIA

if TYPE_CHECKING:
    from dtx_tasks.spec import Reading

TRUE_WORDS, FALSE_WORDS = ("true", "1"), ("false", "0")

ANOTHER_COLUMN = "Name another one: `columns` of a Dataset, `--column PART=NAME` for a bare file."
QUOTE = "Put it in quotes."
WRITE_OR_REMOVE = "Write the text or remove the row."


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a part of a row: a finding without its place in the file."""

    column: str
    code: str
    message: str
    hint: str

    def at(self, file: str, line: int) -> Finding:
        """As a finding."""
        return Finding(*place_of(file, line), self.column, self.code, self.message, self.hint)


@dataclass(slots=True)
class Fields:
    """The columns of one row.

    Attributes:
        values: The row as it was read.
        reading: Which part is in which column.
        problems: What was wrong so far; with any, nothing that was read means anything.
        unread: Keys of its turns that nothing reads.
        found_files: Files that its turns name, by kind, in their order.
    """

    values: dict[str, Any]
    reading: Reading
    problems: list[Problem] = field(default_factory=list)
    unread: set[str] = field(default_factory=set)
    found_files: dict[str, list[str]] = field(default_factory=dict)

    def note_unread(self, turn: dict[str, Any], read: set[str]) -> None:
        """Notes the keys of a turn that hold something and are not read; Parquet gives every turn every key."""
        if not turn.keys() <= read:
            self.unread |= {str(key) for key in turn.keys() - read if turn[key] is not None}

    def refuse(self, column: str, code: str, message: str, hint: str = "") -> None:
        """Notes what is wrong."""
        self.problems.append(Problem(column, code, message, hint))

    def column(self, part: str) -> str:
        """The column that holds a part; empty for a part that is left out."""
        return self.reading.columns.get(part) or ""

    def optional(self, part: str) -> Any:
        """The value of a part, None where there is none."""
        return self.values.get(self.reading.columns.get(part))  # type: ignore[arg-type]

    def needed(self, part: str) -> Any:
        """The value of a part that must be there."""
        name = self.column(part)
        if name not in self.values:
            self.refuse(name, "missing_field", "the column is missing", f"{nearest(name, map(str, self.values))} {ANOTHER_COLUMN}")
        return self.values.get(name)

    def text(self, part: str) -> str:
        """Text that must be there and must not be empty."""
        name = self.column(part)
        if name not in self.values:
            self.needed(part)
            return ""
        return self.checked_text(name, self.values[name])

    def optional_text(self, part: str) -> str:
        """Text that may be absent or empty."""
        value = self.optional(part)
        if value is None:
            return ""
        if not isinstance(value, str):
            self.refuse(self.column(part), "wrong_type", f"must be text (got {shown(value)})", QUOTE)
            return ""
        return self.writable(self.column(part), value)

    def checked_text(self, name: str, value: Any) -> str:
        """A value that must be text and must not be empty."""
        if not isinstance(value, str):
            self.refuse(name, "wrong_type", f"must be text (got {shown(value)})", QUOTE)
            return ""
        if not value.strip():
            self.refuse(name, "empty_text", "is empty", WRITE_OR_REMOVE)
        return self.writable(name, value)

    def writable(self, name: str, text: str) -> str:
        """Text as it is, unless it holds what is no character."""
        try:
            text.encode()
        except UnicodeEncodeError as error:
            self.refuse(name, "half_character", f"holds half a surrogate pair (got {shown(text[error.start])})", "Write the character itself.")
        return text

    def listed(self, name: str, value: Any, sample: str) -> list[Any]:
        """A list, or JSON text of one, as CSV holds it."""
        found = value
        if isinstance(value, str):
            try:
                found = json.loads(value)
            except (ValueError, RecursionError):
                found = value
        if isinstance(found, list):
            return found
        self.refuse(name, "wrong_type", f"must be a list (got {shown(value)})", f"It looks like {sample}.")
        return []

    def label(self, part: str) -> bool | None:
        """True or false; the words too, since CSV has no others."""
        value, name = self.needed(part), self.column(part)
        found = truth(value)
        if found is None and name in self.values:
            self.refuse(name, "wrong_type", f"must be true or false (got {shown(value)})", "True marks a good answer.")
        return found

    def files(self) -> dict[str, list[str]]:
        """The row's files by kind, of its columns or of its turns; a row without the column has none and needs none."""
        found = {}
        for part in MEDIA:
            value = self.optional(part)
            if value is not None:
                paths = [value] if isinstance(value, str) and not value.startswith("[") else self.listed(self.column(part), value, '["one.png"]')
                found[part] = [self.checked_text(self.column(part), path) for path in paths]
            if found.get(part) and part in self.found_files:
                self.refuse(self.column(part), "file_count", f"{part} are named here and in the turns", "Name all of them in one of the two places.")
        return found | self.found_files


def truth(value: object) -> bool | None:
    """What a value, or one of the words for it, says; None for anything else."""
    word = value.lower() if isinstance(value, str) else ""
    if isinstance(value, bool) or word in (*TRUE_WORDS, *FALSE_WORDS):
        return word in TRUE_WORDS or value is True
    return None


def shown(value: object) -> str:
    """A value in a message: not longer than a line."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
