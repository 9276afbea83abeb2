"""alpaca: instruction, input, output; with system, history and tools, and with two answers or a label in place of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dtx_tasks.dataset.row import Row
from dtx_tasks.dataset.turns import tools_of, with_system

if TYPE_CHECKING:
    from dtx_tasks.dataset.fields import Fields
    from dtx_tasks.dataset.row import Message


def alpaca_row(fields: Fields, line: int) -> Row:
    """One row; the instruction and its input are joined by a line break."""
    asked = [fields.text("instruction"), fields.optional_text("input")]
    turns = [*_history(fields), {"role": "user", "content": "\n".join(part for part in asked if part)}]
    kind = fields.reading.kind
    if kind in ("conversations", "labels"):
        turns.append(_answer(fields, "output"))
    is_preference = kind == "preferences"
    return Row(
        line,
        messages=with_system(fields.optional_text("system"), turns),
        tools=tools_of(fields),
        chosen=_answer(fields, "chosen") if is_preference else None,
        rejected=_answer(fields, "rejected") if is_preference else None,
        label=fields.label("kto_tag") if kind == "labels" else None,
        files=fields.files(),
    )


def _answer(fields: Fields, part: str) -> Message:
    return {"role": "assistant", "content": fields.text(part)}


def _history(fields: Fields) -> list[Message]:
    written = fields.optional("history")
    if written is None or written == "":
        return []
    name = fields.column("history")
    pairs = fields.listed(name, written, '[["question", "answer"]]')
    return [message for pair in pairs for message in _turns(fields, name, pair)]


def _turns(fields: Fields, name: str, pair: Any) -> list[Message]:
    if not isinstance(pair, list | tuple) or len(pair) != 2:
        fields.refuse(name, "wrong_type", f"every item must be a question and its answer (got {pair!r:.60})", 'It looks like [["question", "answer"]].')
        return []
    return [{"role": role, "content": fields.checked_text(name, text)} for role, text in zip(("user", "assistant"), pair, strict=True)]
