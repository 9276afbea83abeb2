"""text: plain text to go on learning the language from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dtx_tasks.dataset.row import Row

if TYPE_CHECKING:
    from dtx_tasks.dataset.fields import Fields


def text_row(fields: Fields, line: int) -> Row:
    """One row."""
    return Row(line, text=fields.text("text"))
