"""How rows of each kind lie in a PreparedDataset: what the trainers of its stages read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dtx_tasks.errors import DataError
from dtx_tasks.prepare.encode import encoded_rows, num_trained_tokens
from dtx_tasks.template import encode_answers, encode_text, prompt_ids

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dtx_tasks.dataset import Row
    from dtx_tasks.records import EncodeOptions
    from dtx_tasks.spec import Kind
    from dtx_tasks.template import Encoded
    from dtx_tasks.template.render import Tokenizer

    Encode = Callable[[Tokenizer, Sequence[Row], EncodeOptions], Iterator["PreparedRow"]]

IDS = pa.list_(pa.int32())


@dataclass(frozen=True, slots=True)
class PreparedRow:
    """A row as a trainer reads it.

    Attributes:
        columns: In the order of its layout.
        num_tokens: All of its tokens.
        num_trained_tokens: Those that are learned.
        is_truncated: Something was left out, to keep the length limit.
    """

    columns: tuple[Any, ...]
    num_tokens: int
    num_trained_tokens: int
    is_truncated: bool = False


@dataclass(frozen=True)
class RowLayout:
    """The columns of a kind, and what fills them."""

    schema: pa.Schema
    encode: Encode


def _conversations(tokenizer: Tokenizer, rows: Sequence[Row], options: EncodeOptions) -> Iterator[PreparedRow]:
    yield from map(_labelled, encoded_rows(tokenizer, rows, options))


def _texts(tokenizer: Tokenizer, rows: Sequence[Row], options: EncodeOptions) -> Iterator[PreparedRow]:
    for row in rows:
        yield from map(_labelled, encode_text(tokenizer, row.text or "", cutoff_len=options.cutoff_len))


def _labelled(encoded: Encoded) -> PreparedRow:
    return PreparedRow((encoded.input_ids, encoded.labels), len(encoded.input_ids), num_trained_tokens(encoded), encoded.is_truncated)


def _preferences(tokenizer: Tokenizer, rows: Sequence[Row], options: EncodeOptions) -> Iterator[PreparedRow]:
    for row in rows:
        assert row.chosen is not None
        assert row.rejected is not None
        yield _answered(tokenizer, row, [row.chosen, row.rejected], options)


def _labels(tokenizer: Tokenizer, rows: Sequence[Row], options: EncodeOptions) -> Iterator[PreparedRow]:
    for row in rows:
        assert row.answer_message is not None
        found = _answered(tokenizer, row, [row.answer_message], options)
        yield PreparedRow((*found.columns, row.label), found.num_tokens, found.num_trained_tokens, found.is_truncated)


def _answered(tokenizer: Tokenizer, row: Row, answers: list[dict[str, Any]], options: EncodeOptions) -> PreparedRow:
    found = encode_answers(tokenizer, row.asked, answers, row.tools, cutoff_len=options.cutoff_len)
    num_learned = sum(map(len, found.answer_ids))
    if not all(found.answer_ids):
        problem = f"nothing of an answer is left at a cutoff_len of {options.cutoff_len}."
        raise DataError(problem, "Nothing would be learned: raise cutoff_len, or shorten the question.")
    return PreparedRow((found.prompt_ids, *found.answer_ids), len(found.prompt_ids) + num_learned, num_learned, found.is_truncated)


def _prompts(tokenizer: Tokenizer, rows: Sequence[Row], options: EncodeOptions) -> Iterator[PreparedRow]:
    for row in rows:
        if row.tools:
            raise DataError("it offers tools, and whoever learns by a reward is not told of them.", "Leave the tools out.")
        length = len(prompt_ids(tokenizer, row.messages))
        if length > options.cutoff_len:
            raise DataError(f"the question has {length} tokens, and cutoff_len is {options.cutoff_len}.", "Raise cutoff_len, or shorten the question.")
        # Turns differ in their keys: as JSON they fit one column.
        yield PreparedRow((json.dumps(row.messages, ensure_ascii=False),), length, 0)


LAYOUTS: dict[Kind, RowLayout] = {
    "conversations": RowLayout(pa.schema([("input_ids", IDS), ("labels", IDS)]), _conversations),
    "text": RowLayout(pa.schema([("input_ids", IDS), ("labels", IDS)]), _texts),
    "preferences": RowLayout(pa.schema([("prompt_ids", IDS), ("chosen_ids", IDS), ("rejected_ids", IDS)]), _preferences),
    "labels": RowLayout(pa.schema([("prompt_ids", IDS), ("completion_ids", IDS), ("label", pa.bool_())]), _labels),
    "prompts": RowLayout(pa.schema([("prompt", pa.string())]), _prompts),
}
