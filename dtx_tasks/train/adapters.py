"""PEFT's methods: what is learned beside a base that stays as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
        modules_to_save=[*kept, *(["score"] if values.stage == "rm" else [])] or None,
        use_rslora=values.use_rslora,
        use_dora=values.use_dora,
        init_lora_weights=_beginning(values),
        **common,
    )


def _all_linear(model: PreTrainedModel) -> str | list[str]:
    """Every linear layer but the head; PEFT finds them by itself, unless HQQ has put others in their place."""
    by_hqq = {name.rsplit(".", 1)[-1] for name, module in model.named_modules() if type(module).__name__ == "HQQLinear"}
    return sorted(by_hqq) or "all-linear"


def _beginning(values: Hyperparameters) -> Any:
    """How PEFT calls it."""
    if values.init_lora_weights == "default":
        return True
    if values.init_lora_weights == "pissa" and values.pissa_iter >= 0:
        return f"pissa_niter_{values.pissa_iter}"
    return values.init_lora_weights
