"""What can be done with a base LLM, by its architecture: what `config.json` calls `model_type`."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dtx_tasks.errors import Mistake

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dtx_tasks.spec import Hyperparameters

KNOWN_FILE = Path(__file__).with_suffix(".json")
"""Architectures that transformers has classes for, in the pinned version: made by `make docs`, for planning imports nothing so heavy."""

PACKED = frozenset(
    (
        *("cohere", "cohere2", "deepseek_v2", "deepseek_v3", "gemma", "gemma2", "gemma3_text", "glm", "glm4", "internlm3", "llama", "llava", "llava_next"),
        *("llava_next_video", "minicpm3", "mistral", "mixtral", "olmo", "olmo2", "paligemma", "phi", "phi3", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe"),
        "starcoder2",
    )
)
"""Rows of a packed batch do not see each other: shown for these in tests/recipes/test_architectures.py. Bloom's and Falcon's do."""

SEEING = frozenset(("llava", "llava_next", "paligemma", "qwen2_vl"))
"""Those that learn from rows with images: shown in tests/recipes/test_images.py."""

_ATTENTION = ("k_proj", "o_proj", "q_proj", "v_proj")
_LLAMA = ("down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj")
_LATENT = ("kv_a_proj_with_mqa", "kv_b_proj", "o_proj", "q_a_proj", "q_b_proj")
_GLM = ("down_proj", "gate_up_proj", "k_proj", "o_proj", "q_proj", "v_proj")
_BLOOM = ("dense", "dense_4h_to_h", "dense_h_to_4h", "query_key_value")

TARGETS = {
    "bloom": _BLOOM,
    "cohere": _LLAMA,
    "deepseek_v2": _LATENT,
    "deepseek_v3": _LATENT,
    "falcon": _BLOOM,
    "gemma": _LLAMA,
    "gemma2": _LLAMA,
    "glm": _GLM,
    "glm4": _GLM,
    "internlm3": _LLAMA,
    "llama": _LLAMA,
    "llava": _LLAMA,
    "llava_next": _LLAMA,
    "llava_next_video": _LLAMA,
    "minicpm3": ("down_proj", "gate_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj", "q_a_proj", "q_b_proj", "up_proj"),
    "mistral": _LLAMA,
    "mixtral": _ATTENTION,
    "olmo": _LLAMA,
    "paligemma": _LLAMA,
    "phi": ("dense", "fc1", "fc2", "k_proj", "q_proj", "v_proj"),
    "phi3": ("down_proj", "gate_up_proj", "o_proj", "qkv_proj"),
    "qwen2": _LLAMA,
    "qwen2_moe": _ATTENTION,
    "qwen2_vl": _LLAMA,
    "starcoder2": ("c_fc", "c_proj", "k_proj", "o_proj", "q_proj", "v_proj"),
}
"""What `lora_target: all` is in the architectures that are trained in tests/recipes/test_architectures.py."""

INSTEAD = {
    "baichuan": "Qwen2.5-7B-Instruct",
    "chatglm": "glm-4-9b-chat-hf",
    "deepseek": "DeepSeek-V2-Lite-Chat",
    "internlm": "internlm3-8b-instruct",
    "internlm2": "internlm3-8b-instruct",
    "llava_llama": "llava-1.5-7b-hf",
    "minicpm": "MiniCPM3-4B",
    "phi3small": "Phi-3-mini-4k-instruct",
    "qwen": "Qwen2.5-7B-Instruct",
    "xverse": "Qwen2.5-7B-Instruct",
    "yuan": "Qwen2.5-1.5B-Instruct",
}
"""The nearest bundled LLM that can be loaded, for each architecture of the model table that cannot."""


@cache
def known() -> Mapping[str, frozenset[str]]:
    """Architectures that can be loaded to write (`writes`), to write about what they see (`sees`), and to rate answers (`rates`)."""
    return {what: frozenset(names) for what, names in json.loads(KNOWN_FILE.read_text(encoding="utf-8")).items()}


def is_loadable(architecture: str) -> bool:
    """Whether transformers has a class that writes."""
    return architecture in known()["writes"] | known()["sees"]


def unloadable(config: Mapping[str, Any]) -> Mistake | None:
    """Why a model cannot be loaded; None where it can.

    Args:
        config: What its config.json says.
    """
    architecture = str(config.get("model_type") or "")
    if architecture in known()["sees"] - known()["writes"] and "vision_config" not in config:
        # The first LLaVA and Yi-VL call themselves the same.
        return unknown("llava_llama")
    return unknown(architecture)


def unknown(architecture: str) -> Mistake | None:
    """What to say of an architecture that cannot be loaded; None for one that can."""
    if is_loadable(architecture):
        return None
    problem = f"cannot be loaded: the pinned transformers have no architecture {architecture!r}, and code that comes with a model is not run"
    instead = INSTEAD.get(architecture)
    return Mistake(".source", problem, f"The nearest that can be: {instead}." if instead else "docs/models.md lists models that can be.")


def unsuited(architecture: str, values: Hyperparameters) -> tuple[str, str] | None:
    """Why a model cannot be trained in a way, and what to change; None where it can.

    Args:
        architecture: Of the model; empty where nobody knows it.
        values: The way.
    """
    if values.stage == "rm" and architecture not in known()["rates"]:
        return f"transformers have no reward model of the architecture {architecture!r}", "Train the reward model on another base."
    if values.stage not in ("pt", "sft") and architecture in known()["sees"] - known()["writes"]:
        return f"{values.stage} is not tested on models that see, such as those of the architecture {architecture!r}", "Use stage: sft, or another base."
    if values.packing and architecture not in PACKED:
        return f"rows of a packed batch see each other in the architecture {architecture!r}, or nobody has shown that they do not", "Leave packing out."
    return None


def blind(architecture: str, values: Hyperparameters) -> tuple[str, str] | None:
    """Why a model cannot learn from rows with images in a way, and what to change; None where it can.

    Args:
        architecture: Of the model; empty where nobody knows it.
        values: The way.
    """
    if architecture not in SEEING:
        return f"a model of the architecture {architecture!r} does not learn from images", f"Choose one of: {', '.join(sorted(SEEING))}."
    if values.stage != "sft":
        return f"{values.stage} does not learn from images", "Use stage: sft."
    if values.finetuning_type not in ("full", "lora"):
        return f"{values.finetuning_type} is not tested on images", "Use finetuning_type: lora, or full."
    if values.train_on_prompt and architecture == "paligemma":
        return "it reads questions about images in both directions, and sees each word of them before it would learn it", "Remove train_on_prompt."
    if values.packing:
        return "rows with images are not packed", "Leave packing out."
    return None
