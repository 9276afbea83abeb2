"""Training an adapter further: what it is counts, and a group may say nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dtx_tasks.plan.architectures import TARGETS

if TYPE_CHECKING:
    from dtx_tasks.records import LLMSource
    from dtx_tasks.spec import Hyperparameters, Resources

MERGE = "`adapter: merge` of the LLM"


def continued(llm: LLMSource, values: Hyperparameters) -> Hyperparameters:
    """What a job learns by: the values of its group, and those of the adapter that it trains further.

    Args:
        llm: What it starts from.
        values: Of its group.
    """
    return values.model_copy(update=llm.adapter) if llm.adapter else values


def contradicted(llm: LLMSource, values: Hyperparameters, resources: Resources) -> tuple[str, str] | None:
    """Why a group does not train an adapter further, and what to change; None where it does, or where there is no adapter.

    Args:
        llm: What is started from.
        values: Of the group.
        resources: What it runs on.
    """
    if llm.adapter is None:
        return None
    if values.finetuning_type != "lora":
        return f"its LoRA adapter is trained further, which {values.finetuning_type} does not", f"Use finetuning_type: lora, or {MERGE}."
    if values.stage == "rm" and not llm.is_reward:
        return "its adapter writes answers, and rm learns to rate them", f"Use {MERGE}."
    if (llm.is_reward or llm.adapter["additional_target"]) and (resources.deepspeed == "zero3" or resources.fsdp):
        return "its adapter has whole modules, and nobody has shown that they are read where weights are sharded", f"Use deepspeed: zero2, or {MERGE}."
    others = [f"{name}: {_shown(own)}" for name, own in llm.adapter.items() if _differs(name, own, llm, values)]
    if others:
        return f"the adapter that is trained further has {', '.join(others)}", f"Leave out what the group says of it, or use {MERGE}, which begins a new one."
    return None


def _differs(name: str, own: Any, llm: LLMSource, values: Hyperparameters) -> bool:
    """Whether a group says something else of an adapter; what it leaves out, it does not say."""
    written = getattr(values, name)
    if name not in values.model_fields_set or written is None:
        return False
    if name == "lora_target" and written == "all":
        # Of other architectures nobody knows here what all are: the adapter's own count.
        return llm.architecture in TARGETS and _modules(own) != set(TARGETS[llm.architecture])
    return _modules(written) != _modules(own) if isinstance(written, str) else bool(written != own)


def _modules(names: str | None) -> set[str]:
    return {name.strip() for name in (names or "").split(",")}


def _shown(value: Any) -> str:
    """A value as YAML has it."""
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
