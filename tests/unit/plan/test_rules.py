"""What cannot be trained together is refused when it is planned, with the reason and what to change."""

from __future__ import annotations

from typing import Any

import pytest

from docs.training import page
from dtx_tasks.plan import Case, advice, broken_resources, broken_rules
from dtx_tasks.plan.rules import MISSING_OPTIMIZERS, RULES, UNSHARDED
from dtx_tasks.spec import ADAPTERS, Hyperparameters, Resources, Target

CPU = Target(accelerator="none")
GPU = Target(accelerator="cuda", count=1, memory_gib=80, compute_capability=8.0)
QUANTISED = {"quantization_bit": 4}
HQQ = {**QUANTISED, "quantization_method": "hqq"}
ZERO3 = {"processes": 2, "deepspeed": "zero3"}
FSDP = {"processes": 2, "fsdp": True}
FULL = {"finetuning_type": "full"}
PISSA = {"init_lora_weights": "pissa"}

BROKEN: list[tuple[dict[str, Any], dict[str, Any], Target | None, str]] = [
    ({"stage": "ppo"}, {}, None, ".stage: PPO is gone from TRL"),
    ({"load_best_model_at_end": True}, {}, None, ".load_best_model_at_end: the best step is the one of the lowest validation loss, which is not measured"),
    ({"load_best_model_at_end": True, "eval_steps": 9}, {"nodes": 2}, None, ".load_best_model_at_end: the weights of an earlier step are on the first"),
    ({"use_unsloth": True}, {}, None, ".use_unsloth: unsloth requires trl 1.15"),
    ({**QUANTISED, "quantization_method": "eetq"}, {}, None, ".quantization_method: transformers 5 loads EETQ by kernels"),
    ({**QUANTISED, **FULL}, {}, None, ".quantization_bit: weights of 4 bits cannot be trained"),
    ({**HQQ, "stage": "rm"}, {}, None, ".quantization_method: HQQ quantises the new head"),
    ({**QUANTISED, "stage": "rm"}, {}, None, ".compute_type: the head of a reward model on quantised weights is kept in bf16"),
    ({"quantization_bit": 8}, FSDP, None, ".quantization_bit: weights of 8 bits cannot be sharded"),
    ({"quantization_bit": 8}, ZERO3, None, ".quantization_bit: weights of 8 bits cannot be sharded"),
    (HQQ, FSDP, None, ".quantization_method: HQQ's weights cannot be sharded"),
    (HQQ, ZERO3, None, ".quantization_method: HQQ's weights cannot be sharded"),
    ({**QUANTISED, **PISSA}, {}, None, ".init_lora_weights: pissa takes adapters out of the base's own weights"),
    ({**PISSA, "stage": "dpo"}, {}, None, ".init_lora_weights: pissa changes the base, which dpo compares with"),
    ({**PISSA, "stage": "rm"}, {}, None, ".init_lora_weights: pissa is turned back into an ordinary adapter at the end, which PEFT cannot do"),
    (PISSA, FSDP, None, ".init_lora_weights: pissa is turned back into an ordinary adapter at the end, for which"),
    (PISSA, ZERO3, None, ".init_lora_weights: pissa is turned back into an ordinary adapter at the end, for which"),
    ({"finetuning_type": "prefix_tuning"}, ZERO3, None, ".finetuning_type: ranks wait for each other for ever"),
    ({"finetuning_type": "prompt_tuning"}, FSDP, None, ".finetuning_type: PEFT finds no whole embeddings"),
    ({"finetuning_type": "p_tuning", "stage": "orpo"}, {}, None, ".finetuning_type: TRL's trainer of orpo does not know"),
    ({"finetuning_type": "prompt_tuning", "packing": True}, {}, None, ".packing: learned tokens stand in front of a block"),
    ({"finetuning_type": "prompt_tuning", "label_smoothing_factor": 0.1}, {}, None, ".label_smoothing_factor: with prompt_tuning there are scores"),
    ({"finetuning_type": "p_tuning", "label_smoothing_factor": 0.1}, {}, None, ".label_smoothing_factor: with p_tuning there are scores"),
    ({"neftune_noise_alpha": 5, "packing": True}, {}, None, ".neftune_noise_alpha: NEFTune's noise follows from the length of a row"),
    *(({"rope_scaling": "linear", "finetuning_type": name}, {}, None, ".rope_scaling: it changes the base") for name in ADAPTERS),
    ({"finetuning_type": "prefix_tuning", "gradient_checkpointing": True}, {}, None, ".gradient_checkpointing: a learned prefix is lost"),
    ({"optim": "galore_adamw"}, {}, None, ".optim: galore_adamw projects the gradients of whole weights, and lora has none"),
    ({**FULL, "optim": "apollo_adamw"}, {"processes": 2, "deepspeed": "zero2"}, None, ".optim: apollo_adamw does not find its gradients"),
    ({**FULL, "optim": "galore_adamw"}, FSDP, None, ".optim: the projections of galore_adamw cannot be saved"),
    ({"optim": "adamw_8bit"}, FSDP, None, ".optim: adamw_8bit is bitsandbytes', which does not know the shards"),
    *(({"optim": name}, FSDP, None, f".optim: {name} mixes whole tensors with the shards") for name in UNSHARDED),
    ({**FULL, "optim": "galore_adamw_layerwise"}, {}, None, ".optim: galore_adamw_layerwise takes its step inside the backward pass: it cannot accumulate"),
    ({**FULL, "optim": "lomo"}, {"processes": 2}, None, ".optim: lomo takes its step inside the backward pass"),
    ({**FULL, "optim": "adalomo", "per_device_train_batch_size": 8}, {}, None, ".optim: adalomo takes its step inside the backward pass"),
    ({**FULL, "optim": "lomo", "max_grad_norm": 1.0}, {}, None, ".max_grad_norm: lomo takes its step inside the backward pass, before"),
    *(({"optim": name}, {}, None, f".optim: {name} needs {what}") for name, what in MISSING_OPTIMIZERS.items()),
    ({"optim": "adalomo"}, {}, CPU, ".optim: adalomo runs on GPUs only"),
    ({"loraplus_lr_ratio": 16.0, "optim": "adafactor"}, {}, None, ".loraplus_lr_ratio: LoRA+ is not made of adafactor"),
    ({"warmup_steps": 10, "warmup_ratio": 0.1}, {}, None, ".warmup_steps: warmup_ratio says it too"),
    ({"lr_scheduler_type": "reduce_lr_on_plateau"}, {}, None, ".lr_scheduler_type: it follows the validation loss"),
    ({"lr_scheduler_type": "cosine_with_min_lr"}, {}, None, ".lr_scheduler_kwargs: cosine_with_min_lr needs min_lr"),
    ({"lr_scheduler_type": "cosine_warmup_with_min_lr"}, {}, None, ".lr_scheduler_kwargs: cosine_warmup_with_min_lr needs min_lr"),
    ({"lr_scheduler_type": "warmup_stable_decay"}, {}, None, ".lr_scheduler_kwargs: warmup_stable_decay needs num_decay_steps"),
    ({"compute_type": "fp16"}, {}, CPU, ".compute_type: fp16 needs a GPU"),
    ({"flash_attn": "fa2", "compute_type": "bf16"}, {}, CPU, ".flash_attn: FlashAttention 2 needs a GPU"),
    ({"flash_attn": "fa2", "compute_type": "bf16"}, {}, GPU, ".flash_attn: flash_attn is not among the libraries"),
    ({"flash_attn": "fa2"}, {}, None, ".flash_attn: FlashAttention 2 knows bf16 and fp16 only"),
    ({"enable_liger_kernel": True}, {}, CPU, ".enable_liger_kernel: Liger's kernels need a GPU"),
    ({"torch_compile": True}, {}, CPU, ".torch_compile: compiling for a CPU needs a C++ compiler"),
    ({"stage": "kto", "per_device_train_batch_size": 1}, {}, None, ".global_batch_size: KTO compares each answer"),
    ({"stage": "kto", "global_batch_size": 17}, {}, None, ".global_batch_size: KTO compares each answer"),
    ({"stage": "kto"}, {"processes": 4}, None, ".per_device_train_batch_size: KTO's result depends on the rows of one pass"),
    ({"stage": "rloo", "reward_model": "r", "num_generations": 3}, {}, None, ".num_generations: must divide global_batch_size"),
    ({"stage": "grpo"}, {}, None, ".reward_model: grpo learns by a reward model"),
]

WORKING: list[tuple[dict[str, Any], dict[str, Any], Target | None]] = [
    ({}, {}, CPU),
    ({**QUANTISED}, ZERO3, GPU),
    ({**QUANTISED}, FSDP, GPU),
    ({"loraplus_lr_ratio": 16.0}, FSDP, None),
    ({**HQQ}, {}, None),
    ({**QUANTISED, "stage": "rm", "compute_type": "bf16"}, {}, None),
    ({**PISSA, "stage": "orpo"}, {}, None),
    ({"finetuning_type": "prefix_tuning", "stage": "orpo"}, {}, None),
    ({"finetuning_type": "prefix_tuning", "label_smoothing_factor": 0.1}, {}, None),
    ({**FULL, "rope_scaling": "yarn"}, {}, None),
    ({"finetuning_type": "prompt_tuning"}, {"processes": 2, "deepspeed": "zero2"}, None),
    ({**FULL, "optim": "galore_adamw_layerwise", "per_device_train_batch_size": 16}, {}, None),
    ({**FULL, "optim": "lomo", "per_device_train_batch_size": 16, "max_grad_norm": 0.0}, {}, None),
    ({"stage": "kto"}, {"processes": 2}, None),
    ({"stage": "kto", "global_batch_size": 17, "per_device_train_batch_size": 17}, {}, None),
    ({"lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"min_lr": 1e-6}}, {}, None),
    ({"lr_scheduler_type": "reduce_lr_on_plateau", "eval_steps": 10}, {}, None),
    ({"load_best_model_at_end": True, "eval_steps": 10}, {}, None),
    ({"flash_attn": "fa2", "compute_type": "bf16"}, {}, GPU.model_copy(update={"libraries": ("flash_attn",)})),
    ({"compute_type": "fp16"}, {}, None),
    ({"stage": "rloo", "reward_model": "r"}, {}, None),
]


def told(values: dict[str, Any], resources: dict[str, Any], target: Target | None) -> list[str]:
    """What is said of a case."""
    case = Case(Hyperparameters(**values), Resources(**resources), target)
    return [f"{mistake.key_path}: {mistake.problem}. {mistake.remedy}" for mistake in broken_rules(case)]


@pytest.mark.parametrize(("values", "resources", "target", "beginning"), BROKEN)
def test_what_does_not_work_is_refused(values: dict[str, Any], resources: dict[str, Any], target: Target | None, beginning: str) -> None:
    """With the hyperparameter, the reason and a remedy."""
    found = [line for line in told(values, resources, target) if line.startswith(beginning)]
    assert len(found) == 1
    assert found[0].endswith(".")
    assert "{" not in found[0]


@pytest.mark.parametrize(("values", "resources", "target"), WORKING)
def test_what_works_is_not_refused(values: dict[str, Any], resources: dict[str, Any], target: Target | None) -> None:
    """The neighbours of what is refused."""
    assert told(values, resources, target) == []


def test_resources_that_do_not_go_together_are_refused() -> None:
    """Each with what to leave out; whatever is trained."""
    assert [mistake.text("e.yaml") for mistake in broken_resources(Resources(processes=2, fsdp=True, deepspeed="zero2"))] == [
        "e.yaml: resources.fsdp: DeepSpeed shards the same. Leave resources.fsdp or resources.deepspeed out."
    ]
    assert [mistake.text("e.yaml") for mistake in broken_resources(Resources(fsdp=True))] == [
        "e.yaml: resources.fsdp: one process has nobody to share with. Set processes: 2 or more, or leave fsdp out."
    ]
    assert [mistake.text("e.yaml") for mistake in broken_resources(Resources(offload=True))] == [
        "e.yaml: resources.offload: only what DeepSpeed shards is offloaded. Set deepspeed: zero2 or zero3, or leave offload out."
    ]
    assert list(broken_resources(Resources(deepspeed="zero3", offload=True))) == []
    assert list(broken_resources(Resources(nodes=2, fsdp=True))) == []


def test_every_rule_is_broken_by_a_case() -> None:
    """A rule that nothing breaks would be no rule."""
    cases = [Case(Hyperparameters(**values), Resources(**resources), target) for values, resources, target, _ in BROKEN]
    assert [rule.problem for rule in RULES if not any(rule.is_broken(case) for case in cases)] == []


def test_page_says_every_rule_in_words() -> None:
    """Neither placeholders nor names of keys stand where a plan says a value."""
    rules = page().partition("## What does not go together")[2]
    assert "changes the base, which the stage compares with" in rules
    assert "{" not in rules.replace("`{", "")


def test_advice_is_given_outside_of_its_range() -> None:
    """Only for what the author wrote, and with the range."""
    values = Hyperparameters(learning_rate=0.01, lora_rank=64, num_train_epochs=2)
    assert list(advice(values)) == [
        "learning_rate: 0.01 is outside of what is advised (1e-05 to 0.001)",
        "lora_rank: 64 is outside of what is advised (4 to 16)",
    ]
    assert list(advice(Hyperparameters())) == []
