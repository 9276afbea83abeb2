"""A JSON array of rows, a part of the file at a time."""

from __future__ import annotations

import codecs
import json
import re
from typing import IO, TYPE_CHECKING

from dtx_tasks.dataset.raw import CHUNK_BYTES, MAX_ROW_BYTES, RawRow, Stop, Unreadable, is_cut, long_row, not_json, not_utf8

if TYPE_CHECKING:
    from collections.abc import Iterator

DECODE = json.JSONDecoder().raw_decode
SPACE = re.compile(r"[ \t\r\n]*")


class Text:
    """Decoded text of a stream, the part that was read already let go of.

    Attributes:
        text: What is at hand.
        is_whole: Nothing follows it.
    """

    def __init__(self, stream: IO[bytes], chunk_bytes: int) -> None:
        self._stream, self._chunk_bytes = stream, chunk_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self.text, self.is_whole = "", False
        # Line and column of the position up to which line feeds are counted: no text is counted twice.
        self._counted, self._line, self._column = 0, 1, 0

    def more(self, position: int) -> None:
        """Lets go of what stands before a position, and reads on: as much again as is at hand, so that one long row costs no square of its length."""
        line, column = self.place(position)
        self.text, self._counted = self.text[position:], 0
        if len(self.text) > MAX_ROW_BYTES:
            raise Stop(long_row(line, column + 1))
        chunk = self._stream.read(max(self._chunk_bytes, min(len(self.text), MAX_ROW_BYTES - len(self.text))))
        self.is_whole = not chunk
        try:
            self.text += self._decoder.decode(chunk, final=self.is_whole)
        except UnicodeDecodeError as error:
            self.text += error.object[: error.start].decode("utf-8")
            line, column = self.place(len(self.text))
            raise Stop(not_utf8(line, column + 1, error)) from None

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


def read_json(stream: IO[bytes], chunk_bytes: int = CHUNK_BYTES) -> Iterator[RawRow | Unreadable]:
    """The rows of an array.

    Args:
        stream: UTF-8, with or without a byte order mark.
        chunk_bytes: How much is read at a time; what is read does not depend on it.

    Raises:
        Stop: At a place behind which nothing can be read.
    """
    source = Text(stream, chunk_bytes)
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


def _next_value(source: Text, position: int) -> tuple[RawRow | Unreadable, int]:
    """One row of an array and the position behind it; reads on for as long as the row could be cut off by the end of a chunk."""
    while True:
        try:
            values, end = DECODE(source.text, position)
        except (ValueError, RecursionError) as error:
            if source.is_whole or not is_cut(error, len(source.text)):
                code = "cut_off" if source.is_whole and is_cut(error, len(source.text)) else "not_json"
                return source.unreadable(getattr(error, "pos", position), code, not_json(error), "Nothing after this place could be read."), position
        else:
            if end < len(source.text) or source.is_whole or isinstance(values, dict | list):
                return RawRow(source.place(position)[0], values), end
        source.more(position)
        position = 0
