"""Turns as OpenAI writes them: their order, their calls of tools, and the tools that may be called."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from dtx_tasks.dataset.fields import shown

if TYPE_CHECKING:
    from dtx_tasks.dataset.fields import Fields
    from dtx_tasks.dataset.row import Message, Tool

CALL_SAMPLE = 'A call looks like {"name": "add", "arguments": {"a": 1}}.'
TOOLS_SAMPLE = '[{"name": "add", "parameters": {"type": "object", "properties": {}}}]'
FOLLOWS = {"": "user", "system": "user", "user": "assistant", "assistant": "user", "tool": "assistant"}
"""What is expected behind a turn; a tool may speak behind a call."""


def check_order(fields: Fields, column: str, messages: list[Message], *, is_answered: bool) -> None:
    """Refuses turns in an order that cannot be learned from.

    Args:
        fields: The row.
        column: What holds its turns.
        messages: The turns, without mistakes so far.
        is_answered: The last turn must be an answer; otherwise it must not be one.
    """
    if fields.problems:
        return
    before, may_return = "", False
    for number, message in enumerate(messages):
        role = message["role"]
        if not _may_follow(role, before, may_return):
            wanted = f"{FOLLOWS[before]} or tool" if may_return else FOLLOWS[before]
            said = f"turn {number + 1} is of {role} behind {before or 'nothing'}; expected {wanted}"
            fields.refuse(column, "role_order", said, "Turns of user and assistant alternate; a tool speaks behind a call; only the first may be of system.")
            return
        may_return = role in ("tool", "assistant") and (role == "tool" or "tool_calls" in message)
        before = role
    if (before == "assistant") is not is_answered or before in ("", "system"):
        wanted = "an answer of the assistant" if is_answered else "of the user or of a tool, since the answers stand elsewhere"
        fields.refuse(column, "role_order", f"the last turn must be {wanted} (got {before or 'no turn'})", "Add what is missing, or remove the turn.")


def _may_follow(role: str, before: str, may_return: bool) -> bool:
    if role == "tool":
        return may_return
    if role == "system":
        return before == ""
    return role == FOLLOWS[before]


def with_system(system: str, messages: list[Message]) -> list[Message]:
    """The turns behind a system message of a column; one among the turns is preferred."""
    if not system or (messages and messages[0]["role"] == "system"):
        return messages
    return [{"role": "system", "content": system}, *messages]


def tool_calls(fields: Fields, column: str, written: Any) -> list[dict[str, Any]]:
    """Calls of tools in OpenAI's form: from JSON text or from objects, one or several, with or without the wrapping."""
    found = _parsed(written)
    calls = found if isinstance(found, list) else [found]
    return [call for item in calls if (call := _call(fields, column, item)) is not None]


def _call(fields: Fields, column: str, item: Any) -> dict[str, Any] | None:
    function = item.get("function", item) if isinstance(item, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(function, dict) or not isinstance(name, str) or not name or not _is_plain(name):
        fields.refuse(column, "bad_tool_call", f"is no call of a tool (got {shown(item)})", CALL_SAMPLE)
        return None
    arguments = _parsed(function.get("arguments", {}))
    if not isinstance(arguments, dict) or not _is_plain(arguments):
        fields.refuse(column, "bad_tool_call", f"the arguments of {name!r} are no JSON object (got {shown(function.get('arguments'))})", CALL_SAMPLE)
        return None
    call_id = {"id": fields.writable(column, item["id"])} if isinstance(item.get("id"), str) else {}
    return {**call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def tools_of(fields: Fields) -> list[Tool] | None:
    """The functions that may be called, each as `{"type": "function", "function": {...}}`; None where there are none."""
    written = fields.optional("tools")
    if written is None or written == "":
        return None
    found = _parsed(written)
    if not isinstance(found, list):
        fields.refuse(fields.column("tools"), "bad_tools", f"is no list of tools (got {shown(written)})", f"It looks like {TOOLS_SAMPLE}.")
        return None
    return [tool for item in found if (tool := _tool(fields, item)) is not None] or None


def _tool(fields: Fields, item: Any) -> Tool | None:
    function = item.get("function", item) if isinstance(item, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not _is_plain(function):
        fields.refuse(fields.column("tools"), "bad_tools", f"holds a tool without a name (got {shown(item)})", f"It looks like {TOOLS_SAMPLE}.")
        return None
    # `type` beside `name` is another wrapping of the same.
    return {"type": "function", "function": {key: value for key, value in function.items() if (key, value) != ("type", "function")}}


def _parsed(written: Any) -> Any:
    if not isinstance(written, str):
        return written
    try:
        return json.loads(written)
    except (ValueError, RecursionError):
        return written


def _is_plain(value: Any) -> bool:
    """Whether JSON and UTF-8 can hold it: Python reads NaN and half surrogate pairs too."""
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, TypeError, RecursionError):
        return False
    return True
