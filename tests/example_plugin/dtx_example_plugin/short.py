"""Rows with answers that are worth learning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


def drop_short(rows: Iterator[dict[str, Any]], parameters: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Leaves out rows with short answers, and the white space around the others."""
    column = parameters["column"]
    for row in rows:
        answer = row[column].strip()
        if len(answer) >= parameters["min_characters"]:
            yield {**row, column: answer}
