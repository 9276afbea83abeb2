"""Tiny models of every architecture that the model table names, with random weights, made from its config class."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoTokenizer,
    CLIPImageProcessor,
    LlavaNextImageProcessor,
    Qwen2VLImageProcessor,
    SiglipImageProcessor,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from dtx_tasks.fetch.made import make

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedTokenizerBase

IMAGE, VIDEO, IMAGE_BEGINS, IMAGE_ENDS = 1030, 1031, 1032, 1033
"""Ids of tokens behind those of the tokenizer."""

COMMON: dict[str, Any] = {
    "vocab_size": 1040,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}
SEEN: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 28, "patch_size": 14}
LATENT: dict[str, Any] = {"q_lora_rank": 16, "kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 8, "num_key_value_heads": 4}
DEEPSEEK: dict[str, Any] = {
    **LATENT,
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "first_k_dense_replace": 1,
    "n_group": 2,
    "topk_group": 1,
}
LLAVA: dict[str, Any] = {
    "text_config": {**COMMON, "model_type": "llama"},
    "vision_config": {**SEEN, "model_type": "clip_vision_model", "projection_dim": 32},
    "image_token_index": IMAGE,
}
NEXT: dict[str, Any] = {**LLAVA, "image_grid_pinpoints": [[28, 56], [56, 28], [56, 56]]}

CONFIGS: dict[str, dict[str, Any]] = {
    "bloom": {"vocab_size": 1040, "hidden_size": 32, "n_layer": 2, "n_head": 4},
    "cohere": COMMON,
    "deepseek_v2": {**COMMON, **DEEPSEEK},
    "deepseek_v3": {**COMMON, **DEEPSEEK},
    "falcon": {"vocab_size": 1040, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "new_decoder_architecture": True, "num_kv_heads": 2},
    "gemma": {**COMMON, "head_dim": 8},
    "gemma2": {**COMMON, "head_dim": 8},
    "glm": {**COMMON, "head_dim": 8},
    "glm4": {**COMMON, "head_dim": 8},
    "internlm3": {**COMMON, "head_dim": 8},
    "llama": COMMON,
    "llava": LLAVA,
    "llava_next": NEXT,
    "llava_next_video": {**NEXT, "video_token_index": VIDEO},
    "minicpm3": {**COMMON, **LATENT, "dim_model_base": 32},
    "mistral": COMMON,
    "mixtral": {**COMMON, "num_local_experts": 4},
    "olmo": COMMON,
    "paligemma": {
        "text_config": {**COMMON, "model_type": "gemma", "head_dim": 8},
        "vision_config": {**SEEN, "model_type": "siglip_vision_model", "projection_dim": 32},
        "image_token_index": IMAGE,
        "projection_dim": 32,
        "hidden_size": 32,
    },
    "phi": COMMON,
    "phi3": COMMON,
    "qwen2": COMMON,
    "qwen2_moe": {**COMMON, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "shared_expert_intermediate_size": 32},
    "qwen2_vl": {
        "text_config": {
            **COMMON,
            "model_type": "qwen2_vl_text",
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]},
        },
        "vision_config": {"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 4, "mlp_ratio": 2},
        "image_token_id": IMAGE,
        "video_token_id": VIDEO,
        "vision_start_token_id": IMAGE_BEGINS,
        "vision_end_token_id": IMAGE_ENDS,
    },
    "starcoder2": COMMON,
}
"""What is smaller than usual, by architecture as transformers calls it."""

PACKED_ONLY = {name: {**COMMON, "head_dim": 8} for name in ("cohere2", "gemma3_text", "olmo2", "qwen3", "qwen3_moe")}
"""Younger ones, of which it is shown that they can be packed."""


def make_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """A small tokenizer with a chat template."""
    make("tiny-test", folder, on_progress=lambda *_: None)
    return AutoTokenizer.from_pretrained(folder)


SEEN_BY: dict[str, Any] = {
    "llava": CLIPImageProcessor(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}),
    "llava_next": LlavaNextImageProcessor(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}, image_grid_pinpoints=NEXT["image_grid_pinpoints"]),
    "paligemma": SiglipImageProcessor(size={"height": 28, "width": 28}, image_seq_length=4),
    "qwen2_vl": Qwen2VLImageProcessor(min_pixels=28 * 28, max_pixels=56 * 56),
}
"""What makes pixels for the architectures that learn from images."""

PATCHES = {"patch_size": 14, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
"""What the processors of LLaVA count tokens by."""


def make_seeing(architecture: str, folder: Path, **changes: Any) -> Path:
    """Writes a model folder with a processor: the tokenizer has the tokens that stand for images."""
    tokenizer = make_tokenizer(folder)
    tokenizer.add_special_tokens({"extra_special_tokens": ["<image>", "<|image_pad|>", "<|vision_start|>", "<|vision_end|>"]})
    if architecture == "paligemma":
        # Its processor writes one in front of the question.
        tokenizer.bos_token = "<|im_start|>"
    token = "<|image_pad|>" if architecture == "qwen2_vl" else "<image>"
    name = next(name for name in ("image_token_id", "image_token_index") if name in CONFIGS[architecture])
    make_tiny(architecture, tokenizer, folder, **{name: tokenizer.convert_tokens_to_ids(token)}, **changes)
    SEEN_BY[architecture].save_pretrained(folder)
    if architecture.startswith("llava"):
        (folder / "processor_config.json").write_text(json.dumps(PATCHES))
    return folder


def make_tiny(architecture: str, tokenizer: PreTrainedTokenizerBase, folder: Path, **changes: Any) -> Path:
    """Writes a model folder in Hugging Face layout."""
    torch.manual_seed(0)
    ends = {"bos_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    config = AutoConfig.for_model(architecture, **{**{**CONFIGS, **PACKED_ONLY}[architecture], **changes})
    for part in {id(found): found for found in (config, config.get_text_config())}.values():
        part.update(ends)
    by = AutoModelForCausalLM if architecture in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES else AutoModelForImageTextToText
    by.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
