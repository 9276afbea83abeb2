"""From a file to raw rows with the line that each begins on."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

READERS = (".jsonl", ".json", ".csv")

MAX_FIELD_CHARACTERS = 1 << 27
csv.field_size_limit(MAX_FIELD_CHARACTERS)


@dataclass(frozen=True)
class RawRow:
    """What stands at one place of a file.

    Attributes:
        line: 1-based line that it begins on.
        values: What was read; a mapping if the file is right.
    """

    line: int
    values: Any


@dataclass(frozen=True)
class Unreadable:
    """A place that cannot be read at all.

    Attributes:
        line: 1-based line.
        column: 1-based character in that line.
        problem: What is wrong.
        hint: What would be right.
    """

    line: int
    column: int
    problem: str
    hint: str


def read_file(path: Path) -> Iterator[RawRow | Unreadable]:
    """The raw rows of a .jsonl, .json or .csv file, and the places that cannot be read.

    Args:
        path: The file; UTF-8, with or without a byte order mark.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        yield _not_utf8(error)
        return
    reader = {".jsonl": _read_jsonl, ".json": _read_json, ".csv": _read_csv}.get(path.suffix)
    if reader is None:
        yield Unreadable(1, 1, f"files of the kind {path.suffix or path.name!r} cannot be read", f"Use one of {', '.join(READERS)}.")
        return
    yield from reader(text)


def _not_utf8(error: UnicodeDecodeError) -> Unreadable:
    before = error.object[: error.start]
    line = before.count(b"\n") + 1
    column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
    hint = "Save the file as UTF-8; Chinese text from older programs is often GB18030: `iconv -f GB18030 -t UTF-8`."
    return Unreadable(line, column, f"the byte 0x{error.object[error.start]:02x} is not UTF-8", hint)


def _read_jsonl(text: str) -> Iterator[RawRow | Unreadable]:
    # Not splitlines(): JSON strings may hold U+2028 and its like unescaped.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield RawRow(number, json.loads(line))
        except (ValueError, RecursionError) as error:
            hint = (
                "The file begins like a JSON array: give it the ending .json."
                if number == 1 and line.strip() == "["
                else "Each line must be one whole JSON object."
            )
            yield Unreadable(number, getattr(error, "colno", 1), _not_json(error), hint)


def _read_json(text: str) -> Iterator[RawRow | Unreadable]:
    decoder, position = json.JSONDecoder(), _skip_space(text, 0)
    if not text.startswith("[", position):
        yield Unreadable(_line(text, position), 1, "the file is not a JSON array", "It must begin with `[`; one object a line is the ending .jsonl.")
        return
    position = _skip_space(text, position + 1)
    line, counted = 1, 0
    while not text.startswith("]", position):
        line, counted = line + text.count("\n", counted, position), position
        try:
            values, position = decoder.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            yield Unreadable(getattr(error, "lineno", line), getattr(error, "colno", 1), _not_json(error), "Nothing after this place could be read.")
            return
        yield RawRow(line, values)
        position = _skip_space(text, position)
        if text.startswith(",", position):
            position = _skip_space(text, position + 1)
        elif not text.startswith("]", position):
            yield Unreadable(
                _line(text, position), _column(text, position), "the array is cut off here", "Rows are separated by `,` and the last one is followed by `]`."
            )
            return
    behind = _skip_space(text, position + 1)
    if behind < len(text):
        hint = "The array must be all there is: put every row into one."
        yield Unreadable(_line(text, behind), _column(text, behind), "something stands behind the array", hint)


def _read_csv(text: str) -> Iterator[RawRow | Unreadable]:
    # Not splitlines(): a field may hold U+2028 and its like.
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1
    try:
        header = next(reader, [])
        line = reader.line_num + 1
        for fields in reader:
            if len(fields) > len(header):
                yield Unreadable(line, 1, "the row has more fields than the header", "Put text with commas in double quotes.")
            elif fields:
                yield RawRow(line, dict(zip_longest(header, fields)))
            line = reader.line_num + 1
    except csv.Error as error:
        yield Unreadable(line, 1, f"this is not CSV: {error}", "Check the double quotes of this row.")


def _not_json(error: ValueError | RecursionError) -> str:
    # Beside JSONDecodeError there are numbers too long and brackets too deep to read.
    return f"this is not JSON: {getattr(error, 'msg', error)}"


def _skip_space(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t\r\n":
        position += 1
    return position


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _column(text: str, position: int) -> int:
    return position - (text.rfind("\n", 0, position) + 1) + 1
