"""An adapter and its base as one model: what a checkpoint of ours is started from again, and what leaves the platform."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from peft import PeftConfig, PeftModel, TaskType

from dtx_tasks.pretrained import load_rater, load_tokenizer, load_writer
from dtx_tasks.sight import copy_processor

if TYPE_CHECKING:
    from pathlib import Path

GENERATION = "generation_config.json"


def merge(adapter: Path, base: Path, folder: Path) -> None:
    """Writes a model folder in Hugging Face layout, with the tokenizer that the adapter was trained with and the ends of answers that it learned.

    Args:
        adapter: An adapter of PEFT whose weights can be added to those of the base.
        base: The model that it was trained on.
        folder: Where the merged one goes.
    """
    tokenizer = load_tokenizer(base, adapter)
    model = PeftModel.from_pretrained(_load(base, PeftConfig.from_pretrained(str(adapter)).task_type, tokenizer.pad_token_id), adapter)
    model.merge_and_unload().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    copy_processor(base, folder)
    if (adapter / GENERATION).exists():
        shutil.copyfile(adapter / GENERATION, folder / GENERATION)


def _load(base: Path, task_type: str | None, pad_token_id: int) -> Any:
    return load_writer(base, dtype="auto") if task_type != TaskType.SEQ_CLS else load_rater(base, pad_token_id=pad_token_id, dtype="auto")
