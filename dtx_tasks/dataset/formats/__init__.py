"""The formats: each turns one raw row into the one form that everything else reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dtx_tasks.dataset.formats.alpaca import alpaca_row
from dtx_tasks.dataset.formats.conversation import conversation_row
from dtx_tasks.dataset.formats.prompt_completion import prompt_completion_row
from dtx_tasks.dataset.formats.text import text_row

if TYPE_CHECKING:
    from collections.abc import Callable

    from dtx_tasks.dataset.fields import Fields
    from dtx_tasks.dataset.row import Row
    from dtx_tasks.spec import Format

FORMATS: dict[Format, Callable[[Fields, int], Row]] = {
    "alpaca": alpaca_row,
    "sharegpt": conversation_row,
    "openai": conversation_row,
    "prompt_completion": prompt_completion_row,
    "text": text_row,
}
"""For each format what makes a row of the columns of a line; where it notes a problem the row means nothing."""

__all__ = ["FORMATS"]
