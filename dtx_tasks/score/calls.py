"""Calls of tools as text that can be compared: the order of keys and the spaces of JSON say nothing."""

from __future__ import annotations

import json
import re

from dtx_tasks.records import canonical_json

OPENING = re.compile(r"[{\[]")
DECODE = json.JSONDecoder().raw_decode


def comparable(text: str) -> str:
    """A text with the JSON in it in one way, and everything around that with single spaces.

    Args:
        text: What a model wrote, or should have written, in the form of any template.
    """
    parts: list[str] = []
    position = 0
    while found := OPENING.search(text, position):
        value, end = _value(text, found.start())
        parts += [*text[position : found.start()].split(), value]
        position = end
    return " ".join([*parts, *text[position:].split()])


def _value(text: str, start: int) -> tuple[str, int]:
    """The JSON that begins at a position and the position behind it; the bracket alone where none does."""
    try:
        value, end = DECODE(text, start)
        return canonical_json(value), end
    except (ValueError, RecursionError):
        return text[start], start + 1
