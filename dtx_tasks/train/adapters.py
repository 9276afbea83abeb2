"""PEFT's methods: what is learned beside a base that stays as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from peft import (
    IA3Config,
    LoraConfig,
    PeftConfig,
    PeftModel,
    PrefixTuningConfig,
    PromptEncoderConfig,
    PromptTuningConfig,
    TaskType,
)
from transformers.integrations import is_deepspeed_zero3_enabled

from dtx_tasks.plan.identity import lora_alpha
from dtx_tasks.pretrained import beside_language

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedModel

    from dtx_tasks.spec import Hyperparameters

REFERENCE = "ref"
"""TRL's name of an adapter as it was given (1.16)."""

PromptConfig = PromptTuningConfig | PrefixTuningConfig | PromptEncoderConfig

PROMPT_METHODS: dict[str, type[PromptConfig]] = {
    "prompt_tuning": PromptTuningConfig,
    "prefix_tuning": PrefixTuningConfig,
    "p_tuning": PromptEncoderConfig,
}


def begin_adapter(model: PreTrainedModel, values: Hyperparameters, base: Path, given: Path | None) -> tuple[PreTrainedModel | PeftModel, PeftConfig | None]:
    """What a job learns: a given adapter, a new one, or weights of the base itself.

    Args:
        model: What the adapter is put on.
        values: Which method, and how.
        base: What the adapter calls its base.
        given: The adapter that is trained further; None where there is none.

    Returns:
        The model with the given adapter, or as it was; and the adapter that it is still to get.
    """
    if given is None:
        return model, _new_adapter(values, model, str(base))
    seeing = beside_language(model)
    # Under ZeRO-3 the first step stops where the adapter is in fp32 and its base is not (DeepSpeed issue 8072): TRL does the same for new ones.
    learner = PeftModel.from_pretrained(model, given, is_trainable=True, autocast_adapter_dtype=not is_deepspeed_zero3_enabled())
    learner.peft_config["default"].base_model_name_or_path = str(base)
    for name in seeing:
        model.get_submodule(name).requires_grad_(requires_grad=False)
    return learner, None


def drop_reference(model: Any) -> None:
    """Removes TRL's copy of a given adapter, when there is nothing left to compare with: it would be saved too."""
    if isinstance(model, PeftModel) and REFERENCE in model.peft_config:
        model.delete_adapter(REFERENCE)


def _new_adapter(values: Hyperparameters, model: PreTrainedModel, base: str) -> PeftConfig | None:
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
