"""Rows with images, as a model that is judged takes them in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dtx_tasks.errors import DataError
from dtx_tasks.sight import open_image
from dtx_tasks.storage import bring_file
from dtx_tasks.template import with_images

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        DataError: The row has images, and the model cannot be handed any.
    """
    return with_images(row.messages, _sight(loaded).texts(_images(row))) if row.images else row.messages


def seen_inputs(loaded: Loaded, rows: Sequence[ScoredRow], input_ids_BT: torch.Tensor, is_asked_BT: torch.Tensor) -> dict[str, torch.Tensor]:
    """What a batch is handed beside its tokens; nothing where no row has an image.

    Args:
        loaded: The model.
        rows: Of the batch, in its order.
        input_ids_BT: Token ids, padded.
        is_asked_BT: Whether a token stands in front of the answer.

    Returns:
        As of `Sight.inputs`.
    """
    if not any(row.images for row in rows):
        return {}
    return _sight(loaded).inputs([_images(row) for row in rows], input_ids_BT, is_asked_BT)


def _sight(loaded: Loaded) -> Sight:
    if loaded.sight is None:
        raise DataError("Rows have images, and the model takes in none.", "Score it on rows of text, or choose a model that sees: docs/models.md.")
    return loaded.sight


def _images(row: ScoredRow) -> list[Image]:
    return [open_image(bring_file(uri, uri.rpartition("/")[2])) for uri in row.images]
