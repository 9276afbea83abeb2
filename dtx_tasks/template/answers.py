"""One question with the answers that are compared: the same prompt for all of them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dtx_tasks.template.encode import IGNORED_LABEL, encode, shares

if TYPE_CHECKING:
    from dtx_tasks.template.render import Message, Tokenizer


@dataclass(frozen=True)
class Answered:
    """A prompt and its answers.

    Attributes:
        prompt_ids: Token ids of all that stands before the answer.
        answer_ids: Token ids of each answer, with what ends it.
        is_truncated: Something was left out, to keep the length limit.
    """

    prompt_ids: list[int]
    answer_ids: tuple[list[int], ...]
    is_truncated: bool


def encode_answers(tokenizer: Tokenizer, asked: list[Message], answers: list[Message], tools: list[dict[str, Any]] | None, *, cutoff_len: int) -> Answered:
    """Token ids of a question and of its answers.

    Args:
        tokenizer: After `adapt`.
        asked: The conversation up to the answer.
        answers: The assistant's turns that are compared; at least one.
        tools: Functions as JSON Schema.
        cutoff_len: The most tokens of the prompt with the longest answer; both share it and keep their beginning.

    Raises:
        UnsuitableTemplateError: The template cannot write the conversation.
        DataError: The conversation does not end with a user or a tool.
    """
    parts = [_parts(tokenizer, [*asked, answer], tools) for answer in answers]
    # The text of the prompt is the same; its last token need not be, where it would reach into the answer.
    prompt = parts[0][0]
    longest = max(len(answer) for _, answer in parts)
    num_asked, num_answered = (len(prompt), longest) if len(prompt) + longest <= cutoff_len else shares(len(prompt), longest, cutoff_len)
    kept = tuple(answer[:num_answered] for _, answer in parts)
    return Answered(prompt[:num_asked], kept, (num_asked, num_answered) != (len(prompt), longest))


def _parts(tokenizer: Tokenizer, messages: list[Message], tools: list[dict[str, Any]] | None) -> tuple[list[int], list[int]]:
    """What stands before the last answer, and that answer."""
    whole = encode(tokenizer, messages, tools, cutoff_len=sys.maxsize, mask_history=True)
    learned = next(index for index, label in enumerate(whole.labels) if label != IGNORED_LABEL)
    return whole.input_ids[:learned], whole.input_ids[learned:]
