"""A tokenizer for tests: a token for each byte, for each mark, and for what is asked to be merged."""

from __future__ import annotations

from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from dtx_tasks.template import Encoded, adapt

MARKS = ("<|im_start|>", "<|im_end|>", "<|user|>", "<|assistant|>", "<|observation|>", "<|eot_id|>", "<|end|>", "<end_of_turn>", "<eod>")


def make_tokenizer(template: str = "", *, marks: tuple[str, ...] = MARKS, merges: tuple[str, ...] = (), **special: str | None) -> Any:
    """A tokenizer that was adapted to a template.

    Args:
        template: Its name; empty for a tokenizer as a base model brings it.
        marks: Special tokens.
        merges: Texts of two characters that are one token.
        special: `bos_token`, `eos_token` and the like; also `chat_template`.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*alphabet, *merges])}
    bytes_level = Tokenizer(models.BPE(vocab=vocabulary, merges=[(pair[0], pair[1]) for pair in merges]))
    bytes_level.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bytes_level.decoder = decoders.ByteLevel()
    known = {"bos_token": "<s>", "eos_token": "</s>", "clean_up_tokenization_spaces": False, **special}
    bytes_level.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in marks])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bytes_level, **known)
    if template:
        adapt(tokenizer, template)
    return tokenizer


def text_of(tokenizer: Any, encoded: Encoded) -> str:
    """All of a conversation, special tokens included."""
    return str(tokenizer.decode(encoded.input_ids))


def learned(tokenizer: Any, encoded: Encoded) -> list[str]:
    """The learned stretches of a conversation."""
    stretches: list[list[int]] = [[]]
    for token_id, label in zip(encoded.input_ids, encoded.labels, strict=True):
        if label == -100:
            stretches.append([])
        else:
            assert label == token_id
            stretches[-1].append(token_id)
    return [tokenizer.decode(stretch) for stretch in stretches if stretch]


def says(*contents: str, system: str | None = None) -> list[dict[str, Any]]:
    """A conversation of user and assistant in turn."""
    first = [] if system is None else [{"role": "system", "content": system}]
    return [*first, *({"role": ("user", "assistant")[index % 2], "content": content} for index, content in enumerate(contents))]


def calls(*functions: tuple[str, Any], content: str | None = None) -> dict[str, Any]:
    """A message with tool calls."""
    return {
        "role": "assistant",
        "content": content,
        "tool_calls": [{"type": "function", "function": {"name": name, "arguments": arguments}} for name, arguments in functions],
    }
