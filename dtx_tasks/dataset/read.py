"""From a file to raw rows with the line that each begins on; a part of the file at a time."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tempfile
import zlib
from contextlib import contextmanager
from functools import partial
from itertools import count, zip_longest
from typing import IO, TYPE_CHECKING, Any

from dtx_tasks.dataset.array import read_json
from dtx_tasks.dataset.raw import CHUNK_BYTES, MAX_ROW_BYTES, RawRow, Stop, Unreadable, is_cut, long_row, not_json, not_utf8
from dtx_tasks.settings import max_unpacked_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path, PurePath

    import pyarrow as pa

KINDS_OF_FILES = (".jsonl", ".json", ".csv", ".parquet")
COMPRESSIONS = (".gz", ".zst")

csv.field_size_limit(MAX_ROW_BYTES)

MAX_RATIO = 100
"""How many times its own size a compressed file may hold: text is packed to a tenth, and hardly ever to less than a hundredth."""

BATCH_ROWS = 512
DAMAGED = (OSError, EOFError, ValueError, OverflowError, zlib.error)
"""What gzip, zstd and Parquet say of bytes that are not theirs, and of values that Python has not, such as the year 10,000."""


class _TooLarge(Exception):
    """A compressed file holds more than is read."""


class _Limited(io.RawIOBase):
    """What a compressed file holds, up to a limit."""

    def __init__(self, stream: IO[bytes], most: int) -> None:
        self._stream, self._left = stream, most

    def readable(self) -> bool:
        """It is for reading."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Reads on.

        Raises:
            _TooLarge: The limit is reached.
        """
        # Not more at once than comes at once: what stands before damage is not lost with it.
        piece: bytes = self._stream.read1(max(1, min(len(buffer), self._left)))  # type: ignore[attr-defined]
        self._left -= len(piece)
        if self._left < 0:
            raise _TooLarge
        buffer[: len(piece)] = piece
        return len(piece)


def kind_of_file(path: PurePath) -> tuple[str, str]:
    """The ending that says how a file is read, and that of its compression; empty where it is none of ours."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    packed = suffixes.pop() if suffixes and suffixes[-1] in COMPRESSIONS else ""
    return (suffixes[-1] if suffixes and suffixes[-1] in KINDS_OF_FILES else ""), packed


def read_file(path: Path) -> Iterator[RawRow | Unreadable]:
    """The raw rows of a file, and the places that cannot be read.

    Args:
        path: A .jsonl, .json, .csv or .parquet file, as it is or with .gz or .zst; UTF-8, with or without a byte order mark.
            A row may have MAX_ROW_BYTES, and a compressed file may hold what `_most_unpacked` says.
    """
    kind, packed = kind_of_file(path)
    if not kind:
        known = f"{', '.join(KINDS_OF_FILES)}, each also with {' or '.join(COMPRESSIONS)}"
        yield Unreadable(1, 1, "unknown_kind_of_file", f"files of the kind {path.suffix or path.name!r} cannot be read", f"Use one of {known}.")
        return
    readers: dict[str, Callable[[IO[bytes]], Iterator[RawRow | Unreadable]]]
    last = 0
    try:
        most = _most_unpacked(path)
        readers = {".jsonl": _read_jsonl, ".json": read_json, ".csv": _read_csv, ".parquet": partial(_read_parquet, most=most)}
        with _unpacked(path, packed, most) as stream:
            for row in readers[kind](stream):
                last = row.line
                yield row
    except Stop as stop:
        yield stop.found
    except _TooLarge:
        said = f"the file holds more than {most:,} bytes, the limit for one of its size or that of DTX_MAX_UNPACKED_BYTES"
        yield Unreadable(last + 1, 1, "too_large", said, "Store it without compression, or divide it into several files.")
    except ImportError:
        yield Unreadable(1, 1, "damaged_file", f"reading {path.suffix} needs pyarrow, which is not installed", "`pip install pyarrow`.")
    except DAMAGED as error:
        said = " ".join(str(error).split()) or type(error).__name__
        yield Unreadable(last + 1, 1, "damaged_file", f"the file cannot be read as {packed or kind}: {said}", "Make it again, or give it the right ending.")


def _most_unpacked(path: Path) -> int:
    """Bytes that a compressed file may hold; a small file may always hold a row."""
    return min(max_unpacked_bytes(), max(MAX_RATIO * path.stat().st_size, MAX_ROW_BYTES))


@contextmanager
def _unpacked(path: Path, packed: str, most: int) -> Iterator[IO[bytes]]:
    if not packed:
        with path.open("rb") as stream:
            yield stream
        return
    with _packed(path, packed) as stream:
        yield io.BufferedReader(_Limited(stream, most), CHUNK_BYTES)


def _packed(path: Path, packed: str) -> Any:
    if packed == ".gz":
        return gzip.open(path, "rb")
    import pyarrow as pa

    return pa.input_stream(str(path), compression="zstd")


def _lines(stream: IO[bytes]) -> Iterator[tuple[int, str | Unreadable]]:
    """Each line with its number; lines end at a line feed alone: JSON strings and fields may hold U+2028 and its like."""
    for number in count(1):
        line = stream.readline(MAX_ROW_BYTES)
        if not line:
            return
        if len(line) == MAX_ROW_BYTES and not line.endswith(b"\n"):
            del line
            yield number, long_row(number, 1)
            _skip_line(stream)
            continue
        try:
            yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            column = len(error.object[: error.start].decode("utf-8", "replace")) + 1
            yield number, not_utf8(number, column, error)


def _skip_line(stream: IO[bytes]) -> None:
    while (piece := stream.readline(CHUNK_BYTES)) and not piece.endswith(b"\n"):
        pass


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
    if not line.endswith("\n") and is_cut(error, len(line)):
        return Unreadable(number, column, "cut_off", "the last line is cut off here", "Each line must be one whole JSON object: make the file again.")
    is_array = number == 1 and line.strip() == "["
    hint = "The file begins like a JSON array: give it the ending .json." if is_array else "Each line must be one whole JSON object."
    return Unreadable(number, column, "not_json", not_json(error), hint)


def _read_csv(stream: IO[bytes]) -> Iterator[RawRow | Unreadable]:
    lines = _TextLines(stream)
    reader = csv.reader(lines, strict=True)
    line = 1
    try:
        header = next(reader, [])
        _refuse_repeated([name for name in header if name])
        line = reader.line_num + 1
        for fields in reader:
            if len(fields) > len(header):
                yield Unreadable(line, 1, "not_csv", "the row has more fields than the header", "Put text with commas in double quotes.")
            elif fields:
                yield RawRow(line, dict(zip_longest(header, fields)))
            line, lines.num_characters = reader.line_num + 1, 0
    except csv.Error as error:
        code = "cut_off" if "unexpected end" in str(error) else "not_csv"
        yield Unreadable(line, 1, code, f"this is not CSV: {error}", "Check the double quotes of this row.")


class _TextLines:
    """Lines for the CSV reader, which cannot go on behind bytes that are not UTF-8.

    Attributes:
        num_characters: Since whoever reads last set it to 0: of the row, which may be of many lines.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self.num_characters = stream, 0

    def __iter__(self) -> Iterator[str]:
        for number, line in _lines(self._stream):
            if isinstance(line, Unreadable):
                raise Stop(line)
            self.num_characters += len(line)
            if self.num_characters > MAX_ROW_BYTES:
                raise Stop(long_row(number, 1))
            # A carriage return alone ends a line of older programs.
            yield from io.StringIO(line, newline="") if "\r" in line[:-2] else (line,)


def _refuse_repeated(names: Sequence[str]) -> None:
    """Raises Stop for columns of one name, of which only the last would be read."""
    name = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if name is not None:
        raise Stop(Unreadable(1, 1, "repeated_column", f"two columns are called {name!r}", "Rename one of them, or remove it."))


def _read_parquet(stream: IO[bytes], most: int) -> Iterator[RawRow | Unreadable]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with tempfile.TemporaryFile() as whole:
        try:
            file = pq.ParquetFile(stream if _is_plain(stream) else _copied(stream, whole))
            _refuse_repeated(file.schema_arrow.names)
            batches = file.iter_batches(batch_size=_rows_at_once(file.metadata, most))
            rows = (row for batch in batches for row in _rows_of(batch))
            for number, values in enumerate(rows, 1):
                yield long_row(number, 1) if values is None else RawRow(number, values)
        except pa.ArrowException as error:
            # Not all of them are kinds of ValueError.
            raise ValueError(str(error)) from error


def _rows_at_once(metadata: Any, most: int) -> int:
    """Rows of a batch: fewer where they are long."""
    num_bytes: int = sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
    if num_bytes > most:
        raise _TooLarge
    return max(1, min(BATCH_ROWS, MAX_ROW_BYTES * int(metadata.num_rows) // max(1, num_bytes)))


def _rows_of(batch: pa.RecordBatch) -> Iterator[dict[str, Any] | None]:
    """Its rows; None for one that is too long."""
    if batch.nbytes <= MAX_ROW_BYTES:
        yield from batch.to_pylist()
        return
    for row in (batch.slice(number, 1) for number in range(batch.num_rows)):
        yield None if row.nbytes > MAX_ROW_BYTES else row.to_pylist()[0]


def _is_plain(stream: IO[bytes]) -> bool:
    return isinstance(stream, io.BufferedReader) and isinstance(stream.raw, io.FileIO)


def _copied(stream: IO[bytes], whole: IO[bytes]) -> IO[bytes]:
    """Parquet is read from its end."""
    for chunk in iter(lambda: stream.read(CHUNK_BYTES), b""):
        whole.write(chunk)
    whole.seek(0)
    return whole
