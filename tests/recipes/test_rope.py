"""Positions stretched beyond those that a model was made for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from dtx_tasks.errors import SpecError
from dtx_tasks.spec import Hyperparameters
from dtx_tasks.train.model import load_model
from tests.recipes.world import make_trial, train

if TYPE_CHECKING:
    from pathlib import Path

MADE_FOR = 512
"""Tokens, of the recipe tiny-test."""
STRETCHED = {"name": "stretched", "finetuning_type": "full", "max_steps": 2, "global_batch_size": 4}


@pytest.mark.parametrize("kind", ["linear", "yarn"])
def test_stretched_positions_are_kept_by_the_checkpoint(kind: str, tmp_path: Path) -> None:
    """It loads by its own files alone, and computes with them what it would not without."""
    made = make_trial(tmp_path, groups=[{**STRETCHED, "rope_scaling": kind, "cutoff_len": 2 * MADE_FOR}]).ready()
    final = train(made.plan.jobs[0], made.layout, tmp_path / "work").final
    config = AutoConfig.from_pretrained(final)
    assert (config.rope_parameters["rope_type"], config.rope_parameters["factor"], config.max_position_embeddings) == (kind, 2.0, 2 * MADE_FOR)
    short = AutoConfig.from_pretrained(final, rope_parameters={"rope_type": "default", "rope_theta": config.rope_parameters["rope_theta"]})
    ids = torch.arange(4, 24)[None]
    with torch.inference_mode():
        stretched, plain = (AutoModelForCausalLM.from_pretrained(final, config=known)(ids).logits for known in (config, short))
    assert not torch.allclose(stretched, plain)


def test_layers_that_rotate_in_several_ways_are_not_stretched(tmp_path: Path) -> None:
    """Gemma 3 keeps what each kind of layer rotates by: whose positions are meant nobody has said."""
    AutoConfig.for_model("gemma3_text", num_hidden_layers=2, max_position_embeddings=64).save_pretrained(tmp_path)
    with pytest.raises(SpecError, match=r"^rope_scaling: linear does not fit: the layers of this model rotate in several ways\. Remove it\.$"):
        load_model(tmp_path, Hyperparameters(finetuning_type="full", rope_scaling="linear", cutoff_len=128), 0)
