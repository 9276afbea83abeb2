"""A checkpoint and its tokenizer, as they are judged and as they will be served."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from peft import PeftModel
from transformers import AutoTokenizer, set_seed

from dtx_tasks.pretrained import load_rater, load_writer
from dtx_tasks.sight import load_sight

if TYPE_CHECKING:
    from pathlib import Path

    from dtx_tasks.sight import Sight

HEAD_SEED = 0
"""Of the head that a base gets to be judged as a reward model: it has none, and guesses."""


class Loaded(NamedTuple):
    """A model, ready to be asked; `sight` where it takes in images."""

    model: Any
    tokenizer: Any
    sight: Sight | None = None


def load_checkpoint(model_path: Path, tokenizer_path: Path, adapter_path: Path | None = None, *, as_reward: bool = False) -> Loaded:
    """A base, a full checkpoint, or an adapter on its base.

    Args:
        model_path: The base LLM or a full checkpoint.
        tokenizer_path: The tokenizer with the template that the checkpoint was trained with.
        adapter_path: The adapter on top of the model, if there is one.
        as_reward: Whether it rates answers in place of writing them.
    """
    tokenizer: Any = AutoTokenizer.from_pretrained(tokenizer_path, padding_side="left")
    model: Any = _reward_model(model_path, tokenizer.pad_token_id) if as_reward else load_writer(model_path, dtype=torch.float32)
    sight = load_sight(tokenizer_path, model.config.model_type, tokenizer)
    if adapter_path:
        model = _merged(PeftModel.from_pretrained(model, adapter_path))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return Loaded(model.to(device).eval(), tokenizer, sight)


def _reward_model(path: Path, pad_token_id: int) -> Any:
    set_seed(HEAD_SEED)
    return load_rater(path, pad_token_id=pad_token_id, dtype=torch.float32)


def _merged(model: PeftModel) -> Any:
    """Merged, an adapter costs nothing while generating; learned tokens cannot be merged."""
    return model if model.active_peft_config.is_prompt_learning else model.merge_and_unload()
