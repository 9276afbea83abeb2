"""An adapter and its base as one model: what a checkpoint of ours is started from again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peft import PeftConfig, PeftModel, TaskType
from transformers import AutoTokenizer

from dtx_tasks.pretrained import load_rater, load_writer

if TYPE_CHECKING:
    from pathlib import Path


def merge(adapter: Path, base: Path, folder: Path) -> None:
    """Writes a model folder in Hugging Face layout, with the tokenizer that the adapter was trained with.

    Args:
        adapter: An adapter of PEFT whose weights can be added to those of the base.
        base: The model that it was trained on.
        folder: Where the merged one goes.
    """
    load = load_rater if PeftConfig.from_pretrained(str(adapter)).task_type == TaskType.SEQ_CLS else load_writer
    model = PeftModel.from_pretrained(load(base, dtype="auto"), adapter)
    model.merge_and_unload().save_pretrained(folder)
    AutoTokenizer.from_pretrained(adapter).save_pretrained(folder)
