"""From a file to raw rows with the line that each begins on; a part of the file at a time."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import re
import tempfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path, PurePath

KINDS_OF_FILES = (".jsonl", ".json", ".csv", ".parquet")
COMPRESSIONS = (".gz", ".zst")

MAX_FIELD_CHARACTERS = 1 << 27
csv.field_size_limit(MAX_FIELD_CHARACTERS)

CHUNK_BYTES = 1 << 20
BATCH_ROWS = 512
DECODE = json.JSONDecoder().raw_decode
SPACE = re.compile(r"[ \t\r\n]*")
LONGEST_LITERAL = 16
"""Characters of an escape or a word that the end of a chunk may cut in two."""

DAMAGED = (OSError, EOFError, ValueError, zlib.error)
"""What gzip, zstd and Parquet say of bytes that are not theirs; pyarrow's errors are kinds of ValueError and OSError."""


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


class _BadText(Exception):
    """Bytes that are not UTF-8."""

    def __init__(self, found: Unreadable) -> None:
        super().__init__(found.problem)
        self.found = found


def kind_of_file(path: PurePath) -> tuple[str, str]:
    """The ending that says how a file is read, and that of its compression; empty where it is none of ours."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    packed = suffixes.pop() if suffixes and suffixes[-1] in COMPRESSIONS else ""
    return (suffixes[-1] if suffixes and suffixes[-1] in KINDS_OF_FILES else ""), packed


def read_file(path: Path) -> Iterator[RawRow | Unreadable]:
    """The raw rows of a file, and the places that cannot be read.

    Args:
        path: A .jsonl, .json, .csv or .parquet file, as it is or with .gz or .zst; UTF-8, with or without a byte order mark.
    """
    kind, packed = kind_of_file(path)
    if not kind:
        known = f"{', '.join(KINDS_OF_FILES)}, each also with {' or '.join(COMPRESSIONS)}"
        yield Unreadable(1, 1, "unknown_kind_of_file", f"files of the kind {path.suffix or path.name!r} cannot be read", f"Use one of {known}.")
        return
    readers: dict[str, Callable[[IO[bytes]], Iterator[RawRow | Unreadable]]]
    readers = {".jsonl": _read_jsonl, ".json": _read_json, ".csv": _read_csv, ".parquet": _read_parquet}
    last = 0
    try:
        with _unpacked(path, packed) as stream:
            for row in readers[kind](stream):
                last = row.line
                yield row
    except _BadText as bad:
        yield bad.found
    except ImportError:
        yield Unreadable(1, 1, "damaged_file", f"reading {path.suffix} needs pyarrow, which is not installed", "`pip install pyarrow`.")
    except DAMAGED as error:
        said = " ".join(str(error).split()) or type(error).__name__
        yield Unreadable(last + 1, 1, "damaged_file", f"the file cannot be read as {packed or kind}: {said}", "Make it again, or give it the right ending.")


@contextmanager
def _unpacked(path: Path, packed: str) -> Iterator[IO[bytes]]:
    if packed == ".gz":
        with gzip.open(path, "rb") as stream:
            yield stream  # type: ignore[misc]
    elif packed == ".zst":
        import pyarrow as pa

        with pa.input_stream(str(path), compression="zstd") as stream:
            yield io.BufferedReader(stream, CHUNK_BYTES)
    else:
        with path.open("rb") as stream:
            yield stream


def _lines(stream: IO[bytes]) -> Iterator[tuple[int, str | Unreadable]]:
    """Each line with its number; lines end at a line feed alone: JSON strings and fields may hold U+2028 and its like."""
    for number, line in enumerate(stream, 1):
        try:
            yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            column = len(error.object[: error.start].decode("utf-8", "replace")) + 1
            yield number, _not_utf8(number, column, error)


def _not_utf8(line: int, column: int, error: UnicodeDecodeError) -> Unreadable:
    hint = "Save the file as UTF-8; Chinese text from older programs is often GB18030: `iconv -f GB18030 -t UTF-8`."
    return Unreadable(line, column, "not_utf8", f"the byte 0x{error.object[error.start]:02x} is not UTF-8", hint)


def _read_jsonl(stream: IO[bytes]) -> Iterator[RawRow | Unreadable]:
    for number, line in _lines(stream):
        if isinstance(line, Unreadable):
            yield line
        elif line.strip():
            try:
                # A line feed would count as another line in what JSON says of a mistake.
                yield RawRow(number, json.loads(line.removesuffix("\n")))
            except (ValueError, RecursionError) as error:
                yield _bad_line(number, line, error)


def _bad_line(number: int, line: str, error: ValueError | RecursionError) -> Unreadable:
    column = getattr(error, "colno", 1)
    if not line.endswith("\n") and _is_cut(error, len(line)):
        return Unreadable(number, column, "cut_off", "the last line is cut off here", "Each line must be one whole JSON object: make the file again.")
    is_array = number == 1 and line.strip() == "["
    hint = "The file begins like a JSON array: give it the ending .json." if is_array else "Each line must be one whole JSON object."
    return Unreadable(number, column, "not_json", _not_json(error), hint)


def _is_cut(error: ValueError | RecursionError, end: int) -> bool:
    """Whether more text could make JSON of it."""
    if not isinstance(error, json.JSONDecodeError):
        return False
    return error.msg.startswith("Unterminated string") or error.pos >= end - (0 if error.msg.startswith("Extra") else LONGEST_LITERAL)


class _Text:
    """Decoded text of a stream, the part that was read already let go of.

    Attributes:
        text: What is at hand.
        is_whole: Nothing follows it.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self.text, self.is_whole = "", False
        # Line and column of the position up to which line feeds are counted: no text is counted twice.
        self._counted, self._line, self._column = 0, 1, 0

    def more(self, position: int) -> None:
        """Lets go of what stands before a position, and reads on: as much again as is at hand, so that one long row costs no square of its length."""
        self.place(position)
        self.text, self._counted = self.text[position:], 0
        chunk = self._stream.read(max(CHUNK_BYTES, len(self.text)))
        self.is_whole = not chunk
        try:
            self.text += self._decoder.decode(chunk, final=self.is_whole)
        except UnicodeDecodeError as error:
            self.text += error.object[: error.start].decode("utf-8")
            line, column = self.place(len(self.text))
            raise _BadText(_not_utf8(line, column + 1, error)) from None

    def place(self, position: int) -> tuple[int, int]:
        """Line and 0-based column of a position, which must not be before the last one that was asked for."""
        breaks = self.text.count("\n", self._counted, position)
        if breaks:
            self._line, self._column = self._line + breaks, position - self.text.rfind("\n", self._counted, position) - 1
        else:
            self._column += position - self._counted
        self._counted = position
        return self._line, self._column

    def unreadable(self, position: int, code: str, problem: str, hint: str) -> Unreadable:
        """What is wrong at a position."""
        line, column = self.place(position)
        return Unreadable(line, column + 1, code, problem, hint)

    def skip_space(self, position: int) -> int:
        """The next position that is no white space; there may be none."""
        position = SPACE.match(self.text, position).end()  # type: ignore[union-attr]
        while position == len(self.text) and not self.is_whole:
            self.more(position)
            position = SPACE.match(self.text).end()  # type: ignore[union-attr]
        return position

    def at(self, mark: str, position: int) -> bool:
        """Whether a mark stands there."""
        return self.text.startswith(mark, position)


def _read_json(stream: IO[bytes]) -> Iterator[RawRow | Unreadable]:
    source = _Text(stream)
    position = source.skip_space(0)
    if not source.at("[", position):
        yield source.unreadable(position, "not_an_array", "the file is not a JSON array", "It must begin with `[`; one object a line is the ending .jsonl.")
        return
    position = source.skip_space(position + 1)
    while not source.at("]", position):
        found, position = _next_value(source, position)
        yield found
        if isinstance(found, Unreadable):
            return
        position = source.skip_space(position)
        if source.at(",", position):
            position = source.skip_space(position + 1)
        elif not source.at("]", position):
            hint = "Rows are separated by `,` and the last one is followed by `]`."
            code = "cut_off" if position == len(source.text) else "not_json"
            yield source.unreadable(position, code, "the array is cut off here", hint)
            return
    behind = source.skip_space(position + 1)
    if behind < len(source.text):
        hint = "The array must be all there is: put every row into one."
        yield source.unreadable(behind, "not_an_array", "something stands behind the array", hint)


def _next_value(source: _Text, position: int) -> tuple[RawRow | Unreadable, int]:
    """One row of an array and the position behind it; reads on for as long as the row could be cut off by the end of a chunk."""
    while True:
        try:
            values, end = DECODE(source.text, position)
        except (ValueError, RecursionError) as error:
            if source.is_whole or not _is_cut(error, len(source.text)):
                code = "cut_off" if source.is_whole and _is_cut(error, len(source.text)) else "not_json"
                return source.unreadable(getattr(error, "pos", position), code, _not_json(error), "Nothing after this place could be read."), position
        else:
            if end < len(source.text) or source.is_whole or isinstance(values, dict | list):
                return RawRow(source.place(position)[0], values), end
        source.more(position)
        position = 0


def _read_csv(stream: IO[bytes]) -> Iterator[RawRow | Unreadable]:
    reader = csv.reader(_text_lines(stream), strict=True)
    line = 1
    try:
        header = next(reader, [])
        line = reader.line_num + 1
        for fields in reader:
            if len(fields) > len(header):
                yield Unreadable(line, 1, "not_csv", "the row has more fields than the header", "Put text with commas in double quotes.")
            elif fields:
                yield RawRow(line, dict(zip_longest(header, fields)))
            line = reader.line_num + 1
    except csv.Error as error:
        code = "cut_off" if "unexpected end" in str(error) else "not_csv"
        yield Unreadable(line, 1, code, f"this is not CSV: {error}", "Check the double quotes of this row.")


def _text_lines(stream: IO[bytes]) -> Iterator[str]:
    """Lines for the CSV reader, which cannot go on behind bytes that are not UTF-8."""
    for _, line in _lines(stream):
        if isinstance(line, Unreadable):
            raise _BadText(line)
        # A carriage return alone ends a line of older programs.
        yield from io.StringIO(line, newline="") if "\r" in line[:-2] else (line,)


def _read_parquet(stream: IO[bytes]) -> Iterator[RawRow | Unreadable]:
    import pyarrow.parquet as pq

    with tempfile.TemporaryFile() as whole:
        source = stream if stream.seekable() and isinstance(stream, io.BufferedReader) and _is_plain(stream) else _copied(stream, whole)
        batches = pq.ParquetFile(source).iter_batches(batch_size=BATCH_ROWS)
        rows: Iterable[Any] = chain.from_iterable(batch.to_pylist() for batch in batches)
        for number, values in enumerate(rows, 1):
            yield RawRow(number, values)


def _is_plain(stream: io.BufferedReader) -> bool:
    return isinstance(stream.raw, io.FileIO)


def _copied(stream: IO[bytes], whole: IO[bytes]) -> IO[bytes]:
    """Parquet is read from its end."""
    for chunk in iter(lambda: stream.read(CHUNK_BYTES), b""):
        whole.write(chunk)
    whole.seek(0)
    return whole


def _not_json(error: ValueError | RecursionError) -> str:
    # Beside JSONDecodeError there are numbers too long and brackets too deep to read.
    return f"this is not JSON: {getattr(error, 'msg', error)}"
