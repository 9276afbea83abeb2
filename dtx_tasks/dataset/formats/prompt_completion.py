"""prompt_completion: a prompt and its completion, both as text; turns are the format openai."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dtx_tasks.dataset.row import Row
from dtx_tasks.dataset.turns import with_system

if TYPE_CHECKING:
    from dtx_tasks.dataset.fields import Fields


def prompt_completion_row(fields: Fields, line: int) -> Row:
    """One row."""
    messages = [{"role": "user", "content": fields.text("prompt")}]
    if fields.reading.kind == "conversations":
        messages.append({"role": "assistant", "content": fields.text("completion")})
    return Row(line, messages=with_system(fields.optional_text("system"), messages))
