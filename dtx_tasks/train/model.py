"""The model that a job starts from: how its weights are kept, how it attends, and which of them are learned."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoConfig, BitsAndBytesConfig

from dtx_tasks.errors import SpecError
from dtx_tasks.pretrained import beside_language, load_rater, load_writer
from dtx_tasks.train.freeze import freeze

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PretrainedConfig, PreTrainedModel

    from dtx_tasks.spec import Hyperparameters

ATTENTION = {"eager": "eager", "sdpa": "sdpa", "fa2": "flash_attention_2"}
LOWER = {"bf16": torch.bfloat16, "pure_bf16": torch.bfloat16}
HQQ_GROUP_SIZE = 64


def load_model(path: Path, values: Hyperparameters, pad_token_id: int) -> PreTrainedModel:
    """A base LLM, ready to be trained or to be given adapters.

    Args:
        path: Its files in Hugging Face layout.
        values: How it is to be trained.
        pad_token_id: Of the tokenizer; a reward model finds the end of a row by it.

    Raises:
        SpecError: Layers or modules that are to be trained do not exist.
    """
    known: dict[str, Any] = {"config": _config(path, values), "dtype": _dtype(values)}
    if values.flash_attn != "auto":
        known["attn_implementation"] = ATTENTION[values.flash_attn]
    if values.quantization_bit and values.quantization_method == "bnb":
        known["quantization_config"] = _bits_and_bytes(values)
    model = load_rater(path, pad_token_id=pad_token_id, **known) if values.stage == "rm" else load_writer(path, **known)
    if values.quantization_bit and values.quantization_method == "hqq":
        _quantise_by_hqq(model, values)
    for name in beside_language(model):
        model.get_submodule(name).requires_grad_(False)
    if values.finetuning_type == "freeze":
        freeze(model, values)
    return model


def _dtype(values: Hyperparameters) -> torch.dtype:
    """Frozen weights may be kept in bf16; weights that are trained stay in fp32 below autocast, unless all is to be bf16."""
    if values.compute_type == "pure_bf16":
        return torch.bfloat16
    trains_base = values.finetuning_type in ("full", "freeze")
    return torch.float32 if trains_base else LOWER.get(values.compute_type, torch.float32)


def _config(path: Path, values: Hyperparameters) -> PretrainedConfig:
    config: PretrainedConfig = AutoConfig.from_pretrained(path)
    if values.rope_scaling is None:
        return config
    made_for = int(getattr(config, "max_position_embeddings", 0) or 0)
    if not made_for or not getattr(config, "rope_parameters", None):
        raise SpecError(f"rope_scaling: {values.rope_scaling} does not fit: the model has no rotary positions.", "Remove it.")
    if any(isinstance(value, dict) for value in config.rope_parameters.values()):
        raise SpecError(f"rope_scaling: {values.rope_scaling} does not fit: the layers of this model rotate in several ways.", "Remove it.")
    factor = math.ceil(values.cutoff_len / made_for)
    if factor <= 1:
        raise SpecError(f"rope_scaling: {values.rope_scaling} has no effect: the model was made for {made_for} tokens.", "Remove it, or raise cutoff_len.")
    # transformers 5 keeps what the rotation needs in one place; naming only the scaling would lose its base.
    config.rope_parameters = {**config.rope_parameters, **_scaling(values.rope_scaling, float(factor), made_for)}
    config.max_position_embeddings = made_for * factor
    return config


def _scaling(kind: str, factor: float, made_for: int) -> dict[str, Any]:
    found: dict[str, Any] = {"rope_type": kind, "factor": factor}
    if kind in ("yarn", "llama3"):
        found["original_max_position_embeddings"] = made_for
    if kind == "llama3":
        # The factors that Llama 3.1 was trained with.
        found |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
    return found


def _bits_and_bytes(values: Hyperparameters) -> BitsAndBytesConfig:
    if values.quantization_bit == 8:
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=values.quantization_type,
        bnb_4bit_use_double_quant=values.double_quantization,
        bnb_4bit_compute_dtype=LOWER.get(values.compute_type, torch.float32),
    )


def _quantise_by_hqq(model: PreTrainedModel, values: Hyperparameters) -> None:
    """Transformers 5 does not load by HQQ: its own library does it once the weights are there."""
    from hqq.core.quantize import BaseQuantizeConfig
    from hqq.models.hf.base import AutoHQQHFModel

    scheme = BaseQuantizeConfig(nbits=values.quantization_bit, group_size=HQQ_GROUP_SIZE)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    AutoHQQHFModel.quantize_model(model, quant_config=scheme, compute_dtype=LOWER.get(values.compute_type, torch.float32), device=device)
