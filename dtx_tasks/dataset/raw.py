"""What a file of rows is read as: raw rows, and places that cannot be read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

MAX_ROW_BYTES = 32 << 20
"""Of one row, which is read as a whole."""

CHUNK_BYTES = 1 << 20
LONGEST_LITERAL = 16
"""Characters of an escape or a word that the end of a chunk may cut in two."""

SPLIT_IT = "Divide it into several rows."


@dataclass(frozen=True, slots=True)
class RawRow:
    """What stands at one place of a file.

    Attributes:
        line: 1-based line that it begins on; of a Parquet file the row.
        values: What was read; a mapping if the file is right.
    """

    line: int
    values: Any


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A place that cannot be read at all.

    Attributes:
        line: 1-based line.
        column: 1-based character in that line.
        code: One of the codes of findings.
        problem: What is wrong.
        hint: What would be right.
    """

    line: int
    column: int
    code: str
    problem: str
    hint: str


class Stop(Exception):
    """A place behind which nothing can be read."""

    def __init__(self, found: Unreadable) -> None:
        super().__init__(found.problem)
        self.found = found


def long_row(line: int, column: int) -> Unreadable:
    """A row that is not read to its end."""
    return Unreadable(line, column, "too_large", f"the row is longer than {MAX_ROW_BYTES >> 20} MiB", SPLIT_IT)


def not_utf8(line: int, column: int, error: UnicodeDecodeError) -> Unreadable:
    """Bytes that are no text, and what they probably are."""
    hint = "Save the file as UTF-8; Chinese text from older programs is often GB18030: `iconv -f GB18030 -t UTF-8`."
    return Unreadable(line, column, "not_utf8", f"the byte 0x{error.object[error.start]:02x} is not UTF-8", hint)


def is_cut(error: ValueError | RecursionError, end: int) -> bool:
    """Whether more text could make JSON of it."""
    if not isinstance(error, json.JSONDecodeError):
        return False
    return error.msg.startswith("Unterminated string") or error.pos >= end - (0 if error.msg.startswith("Extra") else LONGEST_LITERAL)


def not_json(error: ValueError | RecursionError) -> str:
    """What is wrong with text that is no JSON."""
    # Beside JSONDecodeError there are numbers too long and brackets too deep to read.
    return f"this is not JSON: {getattr(error, 'msg', error)}"
