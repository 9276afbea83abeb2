"""The methods that stages are trained by, and which of them do not go together: what the documentation's table is made from, and the tests."""

from __future__ import annotations

from typing import Any, get_args

from dtx_tasks.plan.case import Case
from dtx_tasks.plan.rules import KINDS_OF_STAGES, broken_rules
from dtx_tasks.spec import REINFORCED, Hyperparameters, Resources
from dtx_tasks.spec.choices import Stage

METHODS: dict[str, dict[str, Any]] = {
    "full": {"finetuning_type": "full"},
    "freeze": {"finetuning_type": "freeze"},
    "lora": {},
    "dora": {"use_dora": True},
    "rslora": {"use_rslora": True},
    "pissa": {"init_lora_weights": "pissa"},
    "olora": {"init_lora_weights": "olora"},
    "lora+": {"loraplus_lr_ratio": 16.0},
    "ia3": {"finetuning_type": "ia3"},
    "prompt tuning": {"finetuning_type": "prompt_tuning"},
    "prefix tuning": {"finetuning_type": "prefix_tuning"},
    "p-tuning": {"finetuning_type": "p_tuning"},
    "qlora, bnb 4": {"quantization_bit": 4, "compute_type": "bf16"},
    "qlora, bnb 8": {"quantization_bit": 8, "compute_type": "bf16"},
    "qlora, hqq 4": {"quantization_bit": 4, "quantization_method": "hqq"},
}
"""What a group writes for each."""

STAGES: tuple[str, ...] = get_args(Stage)


def values_of(stage: str, method: str) -> dict[str, Any]:
    """What a group writes for a stage by a method.

    Args:
        stage: A training stage.
        method: A key of METHODS.
    """
    return {"stage": stage, **METHODS[method], **({"reward_model": "a-reward-model"} if stage in REINFORCED else {})}


def obstacle(stage: str, method: str) -> str:
    """Why a stage is not trained by a method; empty where it is."""
    case = Case(Hyperparameters(**values_of(stage, method)), Resources(), None)
    return next((f"{mistake.problem}. {mistake.remedy}" for mistake in broken_rules(case)), "")


def trained() -> list[tuple[str, str]]:
    """Every stage with every method that trains it."""
    return [(stage, method) for stage in KINDS_OF_STAGES for method in METHODS if not obstacle(stage, method)]
