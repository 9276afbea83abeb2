"""An adapter and its base as one model: what a checkpoint of ours is started from again, and what leaves the platform."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from peft import PeftConfig, PeftModel, TaskType
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

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
    tokenizer: Any = AutoTokenizer.from_pretrained(adapter)
    model = PeftModel.from_pretrained(_load(base, PeftConfig.from_pretrained(str(adapter)).task_type, tokenizer.pad_token_id), adapter)
    model.merge_and_unload().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if (adapter / GENERATION).exists():
        shutil.copyfile(adapter / GENERATION, folder / GENERATION)


def _load(base: Path, task_type: str | None, pad_token_id: int) -> Any:
    if task_type != TaskType.SEQ_CLS:
        return AutoModelForCausalLM.from_pretrained(base, dtype="auto")
    config = AutoConfig.from_pretrained(base)
    # A reward model: one number for each text, whose end it finds by the padding behind it.
    config.num_labels, config.pad_token_id = 1, pad_token_id
    return AutoModelForSequenceClassification.from_pretrained(base, config=config, dtype="auto")
