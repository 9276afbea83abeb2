"""Which hyperparameters count beside which others: nothing that is written is ignored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dtx_tasks.errors import Mistake

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from dtx_tasks.spec.hyperparameters import Hyperparameters

ADAPTERS = ("lora", "ia3", "prompt_tuning", "prefix_tuning", "p_tuning")
"""Methods that leave the base as it is and learn something small beside it."""

OF_ADAPTERS = ("lora_rank", "lora_alpha", "lora_dropout", "lora_target", "additional_target", "use_rslora", "use_dora", "init_lora_weights")
"""What a LoRA adapter is, once it is begun."""

PROMPTS = ("prompt_tuning", "prefix_tuning", "p_tuning")
"""Adapters that are tokens in front of the text."""

MEASURED = ("pt", "sft", "rm", "dpo", "kto", "orpo", "simpo")
"""Stages whose loss can be measured on rows that are not learned."""

REINFORCED = ("rloo", "grpo")
"""Stages that learn from their own answers."""


def follows_validation(values: Hyperparameters) -> bool:
    """Whether the validation loss decides what a job's model is: its rows, and when it is measured, are part of the job then."""
    return values.stage in MEASURED and (values.load_best_model_at_end or values.lr_scheduler_type == "reduce_lr_on_plateau")


GALORE = tuple(f"galore_{name}{layerwise}" for name in ("adamw", "adamw_8bit", "adafactor") for layerwise in ("", "_layerwise"))
APOLLO = ("apollo_adamw", "apollo_adamw_layerwise")
PROJECTED = (*GALORE, *APOLLO)
"""Optimisers that keep their state of projected gradients."""

INSIDE_BACKWARD = ("lomo", "adalomo", *(name for name in PROJECTED if name.endswith("_layerwise")))
"""Optimisers that take their step inside the backward pass: one for each forward pass, before anything could clip it."""

MOST_COMPARED = 8
"""kto: rows of one pass by default; TRL advises at least 4."""


def rows_compared(values: Hyperparameters) -> int:
    """kto: rows of one forward pass, over which it estimates how far the model has moved; 1 where the global batch has no such part."""
    sizes = range(min(MOST_COMPARED, values.global_batch_size), 1, -1)
    return values.per_device_train_batch_size or next((size for size in sizes if values.global_batch_size % size == 0), 1)


def fixed_rows(values: Hyperparameters) -> int | None:
    """Rows of one forward pass where another number of them would be another result; None where they are free."""
    if values.stage == "kto":
        return rows_compared(values)
    return values.per_device_train_batch_size if values.optim in INSIDE_BACKWARD else None


Conditions = dict[str, tuple[Any, ...]]

COUNTS_WITH: dict[str, Conditions] = {
    **{name: {"finetuning_type": ("lora",)} for name in (*OF_ADAPTERS, "loraplus_lr_ratio")},
    "pissa_iter": {"finetuning_type": ("lora",), "init_lora_weights": ("pissa",)},
    **{name: {"finetuning_type": ("freeze",)} for name in ("freeze_trainable_layers", "freeze_trainable_modules", "freeze_extra_modules")},
    "num_virtual_tokens": {"finetuning_type": PROMPTS},
    "quantization_method": {"quantization_bit": (4, 8)},
    "quantization_type": {"quantization_bit": (4,), "quantization_method": ("bnb",)},
    "double_quantization": {"quantization_bit": (4,), "quantization_method": ("bnb",)},
    "optim_target_modules": {"optim": PROJECTED},
    "packing": {"stage": ("pt", "sft")},
    "mask_history": {"stage": ("sft",)},
    "train_on_prompt": {"stage": ("sft",)},
    "label_smoothing_factor": {"stage": ("pt", "sft")},
    "eval_steps": {"stage": MEASURED},
    "load_best_model_at_end": {"stage": MEASURED},
    "pref_beta": {"stage": ("dpo", "kto", "orpo", "simpo", *REINFORCED)},
    "pref_loss": {"stage": ("dpo",)},
    "pref_ftx": {"stage": ("dpo",)},
    "dpo_label_smoothing": {"stage": ("dpo",), "pref_loss": ("robust", "exo_pair")},
    "simpo_gamma": {"stage": ("simpo",)},
    "kto_chosen_weight": {"stage": ("kto",)},
    "kto_rejected_weight": {"stage": ("kto",)},
    **{name: {"stage": REINFORCED} for name in ("reward_model", "num_generations", "max_new_tokens", "temperature")},
}
"""For a hyperparameter the values of others with which it counts; one that is not named here always does."""


def idle(values: Hyperparameters) -> list[str]:
    """Hyperparameters that count for nothing beside the others."""
    return [name for name in COUNTS_WITH if _obstacle(name, values)]


def idle_mistakes(values: Hyperparameters, written: Collection[str]) -> Iterable[Mistake]:
    """What was written and counts for nothing.

    Args:
        values: All values.
        written: The names that an author gave.
    """
    for name in sorted(written):
        obstacle = _obstacle(name, values)
        if obstacle:
            wanted = " or ".join(map(str, COUNTS_WITH[name][obstacle]))
            yield Mistake(f".{name}", f"has no effect with {obstacle}: {getattr(values, obstacle)}", f"Remove it, or set {obstacle}: {wanted}.")


def _obstacle(name: str, values: Hyperparameters) -> str | None:
    """The other hyperparameter that keeps one from counting."""
    return next((other for other, wanted in COUNTS_WITH.get(name, {}).items() if getattr(values, other) not in wanted), None)
