"""Rows with images, as a model that is judged takes them in."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dtx_tasks.errors import DataError
from dtx_tasks.sight import open_image
from dtx_tasks.storage import bring_file
from dtx_tasks.template import with_images

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import torch
    from PIL.Image import Image

    from dtx_tasks.score.load import Loaded
    from dtx_tasks.score.rows import ScoredRow
    from dtx_tasks.sight import Sight


def messages_of(loaded: Loaded, row: ScoredRow) -> list[dict[str, Any]]:
    """What is asked, with what stands for its images.

    Args:
        loaded: The model.
        row: What is asked.

    Raises:
        DataError: The row has images, and the model cannot be handed any, or not these.
    """
    if not row.images:
        return row.messages
    with told_of(row):
        return with_images(row.messages, _sight(loaded).texts(_images(row)))


def refuse_unseen(loaded: Loaded, row: ScoredRow, messages: Sequence[dict[str, Any]], input_ids: Sequence[int], cutoff_len: int) -> None:
    """Stops where images of a row are not whole.

    Args:
        loaded: The model.
        row: What is asked.
        messages: As of `messages_of`.
        input_ids: Token ids of the row.
        cutoff_len: The scoring's limit, by which it was cut off.

    Raises:
        DataError: Fewer tokens stand for its images than the model makes features of them.
    """
    if not row.images:
        return
    with told_of(row):
        texts = [text for message in messages for text in message.get("images", ())]
        _sight(loaded).refuse_unseen(texts, input_ids, cutoff_len, "scoring.cutoff_len")


@contextmanager
def told_of(row: ScoredRow) -> Iterator[None]:
    """Puts the id of a row in front of what is wrong with it."""
    try:
        yield
    except DataError as error:
        raise type(error)(f"the {row.split} row {row.row_id}: {error.message}", error.hint) from None


def seen_inputs(loaded: Loaded, rows: Sequence[ScoredRow], input_ids_BT: torch.Tensor, is_asked_BT: torch.Tensor) -> dict[str, torch.Tensor]:
    """What a batch is handed beside its tokens; nothing where no row has an image.

    Args:
        loaded: The model.
        rows: Of the batch, in its order.
        input_ids_BT: Token ids, padded.
        is_asked_BT: Whether a token stands in front of the answer.

    Returns:
        As of `Sight.inputs`.

    Raises:
        DataError: The text of a row without images holds what stands for one.
    """
    if not any(row.images for row in rows):
        return {}
    for row, input_ids in zip(rows, input_ids_BT.tolist(), strict=True):
        if not row.images:
            with told_of(row):
                _sight(loaded).refuse_unseen([], input_ids, len(input_ids))
    return _sight(loaded).inputs([_images(row) for row in rows], input_ids_BT, is_asked_BT)


def _sight(loaded: Loaded) -> Sight:
    if loaded.sight is None:
        raise DataError("Rows have images, and the model takes in none.", "Score it on rows of text, or choose a model that sees: docs/models.md.")
    return loaded.sight


def _images(row: ScoredRow) -> list[Image]:
    return [open_image(bring_file(uri, uri.rpartition("/")[2])) for uri in row.images]
