"""From a row to token ids with their labels, and to the question that is scored."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dtx_tasks.dataset import said_place
from dtx_tasks.errors import DataError
from dtx_tasks.template import IGNORED_LABEL, Encoded, encode_all

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dtx_tasks.dataset import Row
    from dtx_tasks.records import EncodeOptions
    from dtx_tasks.template.render import Tokenizer


def encoded_rows(tokenizer: Tokenizer, rows: Sequence[Row], options: EncodeOptions) -> list[Encoded]:
    """Tokenises conversations.

    Args:
        tokenizer: After `adapt`.
        rows: Conversations.
        options: How long each may be, and what of it is learned.

    Raises:
        DataError: The template cannot write one of them, or nothing of its answer would be learned.
    """
    encoded = encode_all(tokenizer, [(row.messages, row.tools) for row in rows], **dict(options))
    if not all(map(num_trained_tokens, encoded)):
        problem = f"nothing of the answer is left at a cutoff_len of {options.cutoff_len}."
        raise DataError(problem, "Nothing would be learned: raise cutoff_len, or shorten the question.")
    return encoded


def num_trained_tokens(encoded: Encoded) -> int:
    """Tokens that are learned."""
    return len(encoded.labels) - encoded.labels.count(IGNORED_LABEL)


def can_be_scored(row: Row) -> bool:
    """Whether a row holds something to judge by: a text, or an answer that is not known to be bad."""
    return row.label is not False and (row.text is not None or row.answer_message is not None)


def scored_row(row: Row) -> dict[str, Any]:
    """What is asked of a row when it is scored, and what should be answered; how calls of tools are written depends on who is asked.

    Plain text asks nothing: all of it is the answer.
    """
    if row.text is not None:
        return {"row_id": row.row_id, "messages": [], "answer": row.text}
    tools = {"tools": row.tools} if row.tools is not None else {}
    calling = {"answer_message": row.answer_message} if row.answer_message and "tool_calls" in row.answer_message else {}
    worse = {"rejected": row.rejected} if row.rejected is not None else {}
    images = {"images": row.files["images"]} if row.files else {}
    return {"row_id": row.row_id, "messages": row.asked, **images, **tools, "answer": row.answer, **calling, **worse}


@contextmanager
def told_with_place(label: str, row: Row) -> Iterator[None]:
    """Puts the file and the line of a row in front of what is wrong with it."""
    try:
        yield
    except DataError as error:
        raise type(error)(f"{said_place(label, row.line)}: row: {error.message}", error.hint) from None
