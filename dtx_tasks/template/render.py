"""Renders a conversation by the tokenizer's chat template, and splits it where the answer begins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dtx_tasks.errors import DataError

Tokenizer = Any
"""A transformers PreTrainedTokenizer: not imported here, so that this stays light."""

Message = dict[str, str]

TOKENIZERS_OWN = "tokenizer"


class UnsuitableTemplateError(DataError):
    """A chat template that cannot be trained with."""


def chat_template(tokenizer: Tokenizer, template: str) -> str:
    """The text of a template.

    Args:
        tokenizer: Of the base model.
        template: `tokenizer` for its own, or the name of a file in this folder.

    Raises:
        UnsuitableTemplateError: The tokenizer has none of its own.
    """
    if template != TOKENIZERS_OWN:
        return (Path(__file__).parent / f"{template}.jinja").read_text(encoding="utf-8")
    if not tokenizer.chat_template:
        raise UnsuitableTemplateError("The base model's tokenizer has no chat template.", "Set `template: chatml` or `template: plain` of the LLM.")
    return str(tokenizer.chat_template)


def prompt_ids(tokenizer: Tokenizer, messages: list[Message]) -> list[int]:
    """Token ids of a conversation up to the place where the answer begins."""
    return _ids(tokenizer, _prompt_text(tokenizer, messages))


def answer_ids(tokenizer: Tokenizer, messages: list[Message], answer: str) -> list[int]:
    """Token ids of the answer as the model should write it, its end mark included.

    Raises:
        UnsuitableTemplateError: The template does not write the answer behind the prompt.
    """
    prompt = _prompt_text(tokenizer, messages)
    whole = tokenizer.apply_chat_template([*messages, {"role": "assistant", "content": answer}], tokenize=False)
    if not whole.startswith(prompt):
        raise UnsuitableTemplateError("The chat template changes the prompt when an answer follows.", "Set another `template` of the LLM.")
    # What stands behind the end mark belongs to the next turn.
    text, mark, _ = whole[len(prompt) :].rpartition(tokenizer.eos_token)
    if not mark:
        return [*_ids(tokenizer, whole[len(prompt) :].rstrip("\n")), tokenizer.eos_token_id]
    return _ids(tokenizer, text + mark)


def _prompt_text(tokenizer: Tokenizer, messages: list[Message]) -> str:
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))


def _ids(tokenizer: Tokenizer, text: str) -> list[int]:
    # The template writes every special token itself.
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])
