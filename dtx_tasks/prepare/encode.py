"""From one row to token ids with their labels: the one place where the templates are asked."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dtx_tasks.errors import DataError
from dtx_tasks.template import answer_ids, prompt_ids

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dtx_tasks.dataset import Message, Row
    from dtx_tasks.template.render import Tokenizer

IGNORED_LABEL = -100
"""What torch's cross entropy leaves out of the loss."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A row as training reads it.

    Attributes:
        input_ids: Token ids.
        labels: The same where they are learned, IGNORED_LABEL elsewhere.
        is_truncated: Its end was cut off.
    """

    input_ids: list[int]
    labels: list[int]
    is_truncated: bool

    @property
    def num_trained_tokens(self) -> int:
        """Tokens that are learned."""
        return len(self.labels) - self.labels.count(IGNORED_LABEL)


def encode(tokenizer: Tokenizer, row: Row, cutoff_len: int) -> Encoded:
    """Tokenises a row.

    Args:
        tokenizer: With its chat template set.
        row: A conversation.
        cutoff_len: The most tokens.

    Raises:
        DataError: Nothing of the answer would be learned, or the row is no single turn of plain text.
    """
    _refuse_several_turns(row)
    prompt = prompt_ids(tokenizer, row.asked)
    answer = answer_ids(tokenizer, row.asked, row.answer)
    if len(prompt) >= cutoff_len:
        problem = f"the prompt alone has {len(prompt)} tokens, cutoff_len is {cutoff_len}."
        raise DataError(problem, "Nothing of the answer would be learned: raise cutoff_len or shorten the row.")
    ids = [*prompt, *answer]
    labels = [IGNORED_LABEL] * len(prompt) + answer
    return Encoded(ids[:cutoff_len], labels[:cutoff_len], len(ids) > cutoff_len)


def scored_messages(row: Row) -> list[Message]:
    """The conversation that an answer is asked for.

    Raises:
        DataError: The row is no single turn of plain text.
    """
    _refuse_several_turns(row)
    return row.asked


@contextmanager
def told_with_place(label: str, row: Row) -> Iterator[None]:
    """Puts the file and the line of a row in front of what is wrong with it."""
    try:
        yield
    except DataError as error:
        raise type(error)(f"{label}:{row.line}: row: {error.message}", error.hint) from None


def _refuse_several_turns(row: Row) -> None:
    if not row.is_single_turn:
        raise DataError("conversations of several turns, and calls of tools, cannot be trained on yet.", "Use rows with one question and one answer.")
