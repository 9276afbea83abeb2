"""PEFT's methods: what is learned beside a base that stays as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from peft import (
    IA3Config,
    LoraConfig,
    PeftConfig,
    PrefixTuningConfig,
    PromptEncoderConfig,
    PromptTuningConfig,
    TaskType,
)

from dtx_tasks.plan.identity import lora_alpha
from dtx_tasks.pretrained import beside_language

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from dtx_tasks.spec import Hyperparameters

PromptConfig = PromptTuningConfig | PrefixTuningConfig | PromptEncoderConfig

PROMPT_METHODS: dict[str, type[PromptConfig]] = {
    "prompt_tuning": PromptTuningConfig,
    "prefix_tuning": PrefixTuningConfig,
    "p_tuning": PromptEncoderConfig,
}


def adapter_config(values: Hyperparameters, model: PreTrainedModel, base: str) -> PeftConfig | None:
    """The adapter that a job learns; None where it learns weights of the base itself.

    Args:
        values: Which method, and how.
        model: What it is put on.
        base: What the adapter calls its base.
    """
    common: dict[str, Any] = {
        "task_type": TaskType.SEQ_CLS if values.stage == "rm" else TaskType.CAUSAL_LM,
        "base_model_name_or_path": base,
    }
    if values.finetuning_type == "lora":
        return _lora(values, model, common)
    if values.finetuning_type == "ia3":
        return IA3Config(**common)
    method = PROMPT_METHODS.get(values.finetuning_type)
    return method(num_virtual_tokens=values.num_virtual_tokens, **common) if method else None


def _lora(values: Hyperparameters, model: PreTrainedModel, common: dict[str, Any]) -> LoraConfig:
    target = _all_linear(model) if values.lora_target == "all" else [name.strip() for name in values.lora_target.split(",")]
    kept = [name.strip() for name in values.additional_target.split(",")] if values.additional_target else []
    return LoraConfig(
        r=values.lora_rank,
        lora_alpha=lora_alpha(values),
        lora_dropout=values.lora_dropout,
        target_modules=target,
        exclude_modules=beside_language(model) or None,
        modules_to_save=[*kept, *(["score"] if values.stage == "rm" else [])] or None,
        use_rslora=values.use_rslora,
        use_dora=values.use_dora,
        init_lora_weights=_beginning(values),
        **common,
    )


def _all_linear(model: PreTrainedModel) -> list[str]:
    """Names of the language's linear layers; of a mixture of experts those that attend.

    Experts are no layers in transformers 5 but one weight. PEFT 0.21 can learn that only without dropout and DoRA, and then leaves out shared experts.
    """
    names = [name for name, module in model.get_decoder().named_modules() if isinstance(module, torch.nn.Linear) or type(module).__name__ == "HQQLinear"]
    if any(name.endswith(".experts") for name, _ in model.named_modules()):
        names = [name for name in names if "attn." in name]
    return sorted({name.rsplit(".", 1)[-1] for name in names})


def _beginning(values: Hyperparameters) -> Any:
    """How PEFT calls it."""
    if values.init_lora_weights == "default":
        return True
    if values.init_lora_weights == "pissa" and values.pissa_iter >= 0:
        return f"pissa_niter_{values.pissa_iter}"
    return values.init_lora_weights
