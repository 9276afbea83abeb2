"""An adapter and its base as one model: what a checkpoint of ours is started from again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from peft import PeftConfig, PeftModel, TaskType
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

if TYPE_CHECKING:
    from pathlib import Path


def merge(adapter: Path, base: Path, folder: Path) -> None:
    """Writes a model folder in Hugging Face layout, with the tokenizer that the adapter was trained with.

    Args:
        adapter: An adapter of PEFT whose weights can be added to those of the base.
        base: The model that it was trained on.
        folder: Where the merged one goes.
    """
    model = PeftModel.from_pretrained(_load(base, PeftConfig.from_pretrained(str(adapter)).task_type), adapter)
    model.merge_and_unload().save_pretrained(folder)
    AutoTokenizer.from_pretrained(adapter).save_pretrained(folder)


def _load(base: Path, task_type: str | None) -> Any:
    if task_type != TaskType.SEQ_CLS:
        return AutoModelForCausalLM.from_pretrained(base, dtype="auto")
    config = AutoConfig.from_pretrained(base)
    # A reward model: one number for each text.
    config.num_labels = 1
    return AutoModelForSequenceClassification.from_pretrained(base, config=config, dtype="auto")
