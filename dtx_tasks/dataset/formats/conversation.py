"""sharegpt and openai: rows of turns, which differ in the words for who speaks and in how a call of a tool is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dtx_tasks.dataset.fields import WRITE_OR_REMOVE, shown
from dtx_tasks.dataset.media import PLACEHOLDERS
from dtx_tasks.dataset.row import Row
from dtx_tasks.dataset.turns import check_order, tool_calls, tools_of, with_system
from dtx_tasks.errors import nearest

if TYPE_CHECKING:
    from dtx_tasks.dataset.fields import Fields
    from dtx_tasks.dataset.row import Message

ROLES = {"user": "user", "assistant": "assistant", "observation": "tool", "function": "assistant", "system": "system"}
"""The role of each tag."""

PASSED_ON = ("name", "tool_call_id")
"""Keys of OpenAI's turns that some templates write."""

PARTS_HINT = (
    'Write text, or parts such as [{"type": "text", "text": "..."}, {"type": "image_url", "image_url": {"url": "one.png"}}]; files stand beside the rows.'
)

FILE_PARTS = {"image_url": "images", "image": "images", "video_url": "videos", "video": "videos", "audio_url": "audios", "audio": "audios"}
"""Which files the parts of a content name: OpenAI's word, and the one of Hugging Face's processors."""

DEVELOPER = "developer"
"""What newer OpenAI models call the speaker of a system message."""


def conversation_row(fields: Fields, line: int) -> Row:
    """One row of turns, and of two answers or of a label beside them."""
    kind, name = fields.reading.kind, fields.column("messages")
    written = fields.needed("messages")
    turns = [] if fields.problems else fields.listed(name, written, _sample(fields))
    if kind == "prompts":
        turns = _unanswered(fields, turns)
    messages = with_system(fields.optional_text("system"), [found for turn in turns if (found := _message(fields, name, turn)) is not None])
    check_order(fields, name, messages, is_answered=kind in ("conversations", "labels"))
    is_preference = kind == "preferences"
    return Row(
        line,
        messages=messages,
        tools=tools_of(fields),
        chosen=_answer(fields, "chosen") if is_preference else None,
        rejected=_answer(fields, "rejected") if is_preference else None,
        label=fields.label("kto_tag") if kind == "labels" else None,
        files=fields.files(),
    )


def _unanswered(fields: Fields, turns: list[Any]) -> list[Any]:
    """The turns up to the last that asks for an answer: a prompt is read without its own."""
    word = fields.reading.tags["role"]
    num_asked = len(turns)
    while num_asked and isinstance(turns[num_asked - 1], dict) and _speaker(fields, turns[num_asked - 1].get(word)) in ("assistant", "function"):
        num_asked -= 1
    return turns[:num_asked]


def _sample(fields: Fields) -> str:
    tags = fields.reading.tags
    return f'[{{"{tags["role"]}": "{tags["user"]}", "{tags["content"]}": "..."}}, {{"{tags["role"]}": "{tags["assistant"]}", "{tags["content"]}": "..."}}]'


def _message(fields: Fields, name: str, turn: Any) -> Message | None:
    tags = fields.reading.tags
    if not isinstance(turn, dict):
        fields.refuse(name, "wrong_type", f"a turn must be an object (got {shown(turn)})", f"The turns look like {_sample(fields)}.")
        return None
    if tags["role"] not in turn:
        fields.refuse(name, "missing_field", f"a turn has no {tags['role']!r}", f"{nearest(tags['role'], map(str, turn))} Name it under `tags` of the Dataset.")
        return None
    fields.note_unread(turn, {tags["role"], tags["content"], "tool_calls", *PASSED_ON})
    part = _speaker(fields, turn[tags["role"]])
    if part is None:
        known = nearest(str(turn[tags["role"]]), [tags[part] for part in ROLES])
        fields.refuse(name, "unknown_role", f"nobody here is called {shown(turn[tags['role']])}", f"{known} Name it under `tags` of the Dataset.")
        return None
    if part == "system" and not turn.get(tags["content"]):
        # As if there were none: the template's own counts, or that of the column.
        return None
    return _called(fields, name, turn) if part == "function" else _said(fields, name, turn, ROLES[part])


def _speaker(fields: Fields, word: Any) -> str | None:
    tags = fields.reading.tags
    found = next((part for part in ROLES if tags[part] == word), None)
    return "system" if found is None and word == DEVELOPER and fields.reading.format == "openai" else found


def _called(fields: Fields, name: str, turn: dict[str, Any]) -> Message:
    """A call as a turn of its own."""
    return {"role": "assistant", "content": "", "tool_calls": tool_calls(fields, name, turn.get(fields.reading.tags["content"]))}


def _said(fields: Fields, name: str, turn: dict[str, Any], role: str) -> Message:
    """What somebody said; an assistant may call tools beside it, or in place of it, and a tool may return nothing."""
    written, message = turn.get(fields.reading.tags["content"]), {"role": role, "content": ""}
    calls = tool_calls(fields, name, turn["tool_calls"]) if role == "assistant" and turn.get("tool_calls") else []
    if not (calls and written is None):
        message["content"] = _content(fields, name, written, may_be_empty=bool(calls) or role in ("tool", "system"))
    kept = {key: fields.writable(f"{name}.{key}", turn[key]) for key in PASSED_ON if isinstance(turn.get(key), str)}
    return {**message, **kept, **({"tool_calls": calls} if calls else {})}


def _content(fields: Fields, name: str, written: Any, *, may_be_empty: bool) -> str:
    key = f"{name}.{fields.reading.tags['content']}"
    text = _joined(fields, written) if isinstance(written, list) else written
    if not isinstance(text, str):
        fields.refuse(key, "wrong_type", f"must be text (got {shown(written)})", PARTS_HINT)
        return ""
    if not (may_be_empty or text.strip()):
        fields.refuse(key, "empty_text", "is empty", WRITE_OR_REMOVE)
    return fields.writable(key, text)


def _joined(fields: Fields, parts: list[Any]) -> str | None:
    """OpenAI's parts of a content as one text, with a placeholder for each file; None where one of them is neither."""
    texts = [_part(fields, part) if isinstance(part, dict) else None for part in parts]
    return "".join(text for text in texts if text) if all(isinstance(text, str) for text in texts) else None


def _part(fields: Fields, part: dict[str, Any]) -> str | None:
    """`{"type": "text", "text": ...}`, or `{"type": "image_url", "image_url": {"url": ...}}`; the url may stand there alone."""
    kind = part.get("type")
    if kind == "text":
        text = part.get("text")
        return text if isinstance(text, str) else None
    media = FILE_PARTS.get(str(kind))
    written = part.get(str(kind))
    path = written.get("url") if isinstance(written, dict) else written
    if media is None or not isinstance(path, str) or path.startswith("data:"):
        return None
    fields.found_files.setdefault(media, []).append(path)
    return PLACEHOLDERS[media]


def _answer(fields: Fields, part: str) -> Message | None:
    """One of two answers: text, a turn, or a list with one turn."""
    name, written = fields.column(part), fields.needed(part)
    if name not in fields.values:
        return None
    if isinstance(written, str) and not written.lstrip().startswith(("{", "[")):
        return {"role": "assistant", "content": fields.checked_text(name, written)}
    turns = [written] if isinstance(written, dict) else fields.listed(name, written, _sample(fields))
    if len(turns) != 1:
        fields.refuse(name, "role_order", f"must be one answer (got {len(turns)} turns)", "The turns before it stand in the conversation.")
        return None
    message = _message(fields, name, turns[0])
    if message is not None and message["role"] != "assistant":
        fields.refuse(name, "role_order", f"must be an answer of the assistant (got a turn of {message['role']})", "")
    return message
