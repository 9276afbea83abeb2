"""What is suspicious about one good row."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dtx_tasks.dataset.fields import Problem, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dtx_tasks.dataset.row import Row

LONG_ROW_CHARACTERS = 100_000
"""Some 25,000 tokens of English: more than most fine-tuning keeps of a row."""

CONTINUED = "[\u0080-\u00bf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2013-\u203a\u20ac\u2122]"
REREAD = re.compile(f"[\u00c2\u00c3]{CONTINUED}|(?!\u00e0\u00a0)[\u00e0-\u00ef]{CONTINUED}{{2}}|\u00f0{CONTINUED}{{3}}|(?:[\u00d0\u00d1]{CONTINUED}){{2}}")
"""What the bytes of UTF-8 look like when they are read as Windows-1252; only of letters that no language writes before such signs:
`É»` and `à «` are French."""


def doubts(row: Row) -> Iterator[Problem]:
    """Warnings about a row, each at the turn that it concerns."""
    for place, text in _places(row):
        if "\ufffd" in text:
            yield Problem(place, "replacement_character", "holds U+FFFD, which stands where a character was lost", "Make the file from its source again.")
        broken = _broken(text)
        if broken:
            hint = "It was UTF-8 read as Windows-1252: convert it from its source again."
            yield Problem(place, "broken_text", f"was read in another encoding than it was written in (got {shown(broken[0])} for {broken[1]!r})", hint)
    length = sum(map(len, row.texts))
    if length > LONG_ROW_CHARACTERS:
        yield Problem("row", "long_row", f"has {length:,} characters", "Most of it is cut off at the length limit: split it.")
    if row.chosen is not None and row.chosen == row.rejected:
        yield Problem("row", "equal_preference", "the better and the worse answer are the same", "Nothing is learned from it: remove the row.")


def _places(row: Row) -> Iterator[tuple[str, str]]:
    if row.text is not None:
        yield "text", row.text
    for number, message in enumerate(row.messages, 1):
        yield f"turn {number}", str(message["content"])
    for name, answer in (("chosen", row.chosen), ("rejected", row.rejected)):
        if answer is not None:
            yield name, str(answer["content"])


def _broken(text: str) -> tuple[str, str] | None:
    """The first run of characters that are UTF-8 read wrongly, and what was meant."""
    for found in REREAD.finditer(text):
        try:
            return found[0], b"".join(map(_byte, found[0])).decode()
        except UnicodeError:
            continue
    return None


def _byte(character: str) -> bytes:
    """The byte that was read as a character; five bytes stand for nothing in Windows-1252 and are kept as they are."""
    return character.encode("latin-1") if character <= "\u009f" else character.encode("cp1252")
