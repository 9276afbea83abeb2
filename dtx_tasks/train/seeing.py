"""Batches of rows with images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from dtx_tasks.sight import open_image
from dtx_tasks.template import IGNORED_LABEL

if TYPE_CHECKING:
    from pathlib import Path

    from dtx_tasks.sight import Sight

IMAGE_FILES = "image_files"
"""The column of prepared rows that names the files of their images."""


class SeeingCollator:
    """Pads rows as TRL does, and adds the pixels that the model's own processor makes of their images.

    Args:
        pad_token_id: Of the tokenizer.
        sight: How the model takes in images.
        folder: Of the PreparedDataset's files.
    """

    def __init__(self, pad_token_id: int, sight: Sight, folder: Path) -> None:
        self._text, self._sight, self._folder = DataCollatorForLanguageModeling(pad_token_id=pad_token_id), sight, folder

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """A batch, with the arguments of the model by name."""
        batch = self._text([{name: row[name] for name in ("input_ids", "labels")} for row in rows])
        images = [[open_image(self._folder / name) for name in row[IMAGE_FILES]] for row in rows]
        is_asked_BT = (batch["labels"] != IGNORED_LABEL).cumsum(dim=1) == 0
        return {**batch, **self._sight.inputs(images, batch["input_ids"], is_asked_BT)}
