"""The row: one form for every format."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dtx_tasks.records import canonical_json, digest_of

Message = dict[str, Any]
"""A turn as OpenAI writes it: `role` (system, user, assistant or tool), `content`, and of an assistant `tool_calls`, whose arguments are objects."""

Tool = dict[str, Any]
"""A function that may be called: `{"type": "function", "function": {"name": ..., "description": ..., "parameters": JSON Schema}}`."""


@dataclass(frozen=True, slots=True)
class Row:
    """What can be learned from one row.

    Attributes:
        line: 1-based line of the file.
        messages: The conversation; with its last answer, unless the row is a preference or a prompt.
        tools: The functions that may be called.
        chosen: Of a preference, the better answer.
        rejected: Of a preference, the worse one.
        label: Of a labelled row, whether its last answer is good.
        text: Of plain text, all there is.
        files: Paths as they were written, by `images`, `videos` and `audios`.
        digests: What tells its images from others, in their order, where that is known: the same image may have two paths, and a path two images.
        subset: Which split the row says it is in.
    """

    line: int
    messages: list[Message] = field(default_factory=list)
    tools: list[Tool] | None = None
    chosen: Message | None = None
    rejected: Message | None = None
    label: bool | None = None
    text: str | None = None
    files: dict[str, list[str]] = field(default_factory=dict)
    digests: tuple[str, ...] = ()
    subset: str | None = None

    @property
    def answer_message(self) -> Message | None:
        """The turn to learn: the better one of a preference."""
        if self.chosen is not None:
            return self.chosen
        return self.messages[-1] if self.messages and self.messages[-1]["role"] == "assistant" else None

    @property
    def asked(self) -> list[Message]:
        """The conversation up to the answer."""
        return self.messages[:-1] if self.chosen is None and self.answer_message is not None else self.messages

    @property
    def answer(self) -> str:
        """The last answer as text; calls of tools as JSON, empty where there is no answer."""
        message = self.answer_message or {}
        calls = [call["function"] for call in message.get("tool_calls", ())]
        return str(message.get("content", "")) or (canonical_json(calls[0] if len(calls) == 1 else calls) if calls else "")

    @property
    def is_single_turn(self) -> bool:
        """Whether it is one question and one answer in plain text, with or without a system message."""
        roles = [message["role"] for message in self.messages if message.keys() == {"role", "content"}]
        plain = not (self.tools or self.files or self.chosen) and self.label is None
        return plain and roles[-2:] == ["user", "assistant"] and roles[:-2] in ([], ["system"]) and len(roles) == len(self.messages)

    @property
    def texts(self) -> list[str]:
        """Everything that is written in it."""
        if self.text is not None:
            return [self.text]
        turns = [*self.messages, *(message for message in (self.chosen, self.rejected) if message)]
        calls = [canonical_json(message["tool_calls"]) for message in turns if "tool_calls" in message]
        return [*(str(message["content"]) for message in turns), *calls]

    @property
    def images(self) -> list[str]:
        """Its images, by their digests where those are known."""
        return list(self.digests) or self.files.get("images", [])

    @property
    def row_id(self) -> str:
        """Content hash: equal rows of different files and formats are one row."""
        if self.is_single_turn:
            system = self.messages[0]["content"] if len(self.messages) == 3 else ""
            return digest_of([system, self.messages[-2]["content"], self.messages[-1]["content"]])
        parts = {name: getattr(self, name) for name in ("messages", "tools", "chosen", "rejected", "label", "text")}
        parts["files"] = self.files | ({"images": self.images} if self.images else {})
        return digest_of({name: part for name, part in parts.items() if part})
