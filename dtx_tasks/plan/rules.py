"""What cannot be trained together, as one table: each rule with its reason and what to change."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dtx_tasks.errors import Mistake
from dtx_tasks.plan.case import Case
from dtx_tasks.spec import ADAPTERS, INSIDE_BACKWARD, PROJECTED, PROMPTS, REINFORCED, Hyperparameters, rows_compared

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dtx_tasks.spec import Kind, Resources

KINDS_OF_STAGES: dict[str, tuple[Kind, ...]] = {
    "pt": ("text",),
    "sft": ("conversations",),
    "rm": ("preferences",),
    "dpo": ("preferences",),
    "kto": ("labels",),
    "orpo": ("preferences",),
    "simpo": ("preferences",),
    "rloo": ("prompts",),
    "grpo": ("prompts",),
}
"""What the rows of a Dataset must hold for a stage to learn from them."""

GPU_OPTIMIZERS = ("adalomo", "stable_adamw")
BY_BITSANDBYTES = ("adamw_8bit", "adamw_bnb_8bit", "ademamix", "lion_", "paged_", "rmsprop_bnb")
"""How the optimisers that bitsandbytes makes begin."""

UNSHARDED = ("adafactor", "adagrad")
"""What these compute of a whole tensor beside its shards, torch 2.13 refuses to mix with them."""

MISSING_OPTIMIZERS = {
    "adamw_anyprecision": "torchdistx, which is no longer published",
    "adamw_torch_xla": "a TPU",
    "adamw_torch_npu_fused": "an Ascend NPU",
    "adamw_torch_4bit": "a C++ compiler when it runs, which the trainer image does not have",
    "adamw_torch_8bit": "a C++ compiler when it runs, which the trainer image does not have",
}
SCHEDULES_WITH_ARGUMENTS = {
    "cosine_with_min_lr": ("min_lr", "min_lr_rate"),
    "cosine_warmup_with_min_lr": ("min_lr", "min_lr_rate"),
    "warmup_stable_decay": ("num_decay_steps",),
}
"""Schedules that need one of these among `lr_scheduler_kwargs`."""


class Rule(NamedTuple):
    """A combination that does not work."""

    key: str
    """The hyperparameter that the author is told of."""
    is_broken: Callable[[Case], object]
    problem: str
    """Why; fields of the case and of its values may stand in braces."""
    remedy: str
    """What to change."""


def _missing(name: str, what: str) -> Rule:
    return Rule("optim", lambda case: case.values.optim == name, f"{name} needs {what}", "Use adamw_torch or adamw_8bit.")


def _incomplete(name: str, needed: tuple[str, ...]) -> Rule:
    def is_broken(case: Case) -> bool:
        return case.values.lr_scheduler_type == name and not set(needed) & set(case.values.lr_scheduler_kwargs or {})

    return Rule("lr_scheduler_kwargs", is_broken, f"{name} needs {' or '.join(needed)}", f"Give {needed[0]} among lr_scheduler_kwargs.")


RULES: tuple[Rule, ...] = (
    Rule(
        "stage",
        lambda case: case.values.stage == "ppo",
        "PPO is gone from TRL since 1.13: it needs a value model beside the policy",
        "Use rloo or grpo: they learn by a reward model too.",
    ),
    Rule(
        "use_unsloth",
        lambda case: case.values.use_unsloth,
        "unsloth requires trl 1.15 and datasets 4 at most, and cannot be installed beside the pinned ones",
        "On a GPU use enable_liger_kernel and flash_attn: fa2.",
    ),
    Rule(
        "quantization_method",
        lambda case: case.quantised == "eetq",
        "transformers 5 loads EETQ by kernels from a model hub alone, and training runs offline",
        "Use bnb with quantization_bit: 8.",
    ),
    Rule(
        "quantization_bit",
        lambda case: case.quantised and case.values.finetuning_type != "lora",
        "weights of {values.quantization_bit} bits cannot be trained, and {values.finetuning_type} is not tested on them",
        "Use finetuning_type: lora, or leave quantization_bit out.",
    ),
    Rule(
        "quantization_method",
        lambda case: case.quantised == "hqq" and case.values.stage == "rm",
        "HQQ quantises the new head of a reward model too, which must be learned",
        "Use quantization_method: bnb.",
    ),
    Rule(
        "compute_type",
        lambda case: case.quantised == "bnb" and case.values.stage == "rm" and case.values.compute_type == "fp32",
        "the head of a reward model on quantised weights is kept in bf16",
        "Use compute_type: bf16.",
    ),
    Rule(
        "quantization_bit",
        lambda case: case.quantised == "bnb" and case.values.quantization_bit == 8 and case.shards_weights,
        "weights of 8 bits cannot be sharded",
        "Use deepspeed: zero2, or quantization_bit: 4.",
    ),
    Rule(
        "quantization_method",
        lambda case: case.quantised == "hqq" and case.shards_weights,
        "HQQ's weights cannot be sharded",
        "Use deepspeed: zero2, or quantization_method: bnb.",
    ),
    Rule(
        "init_lora_weights",
        lambda case: case.quantised and case.values.init_lora_weights in ("pissa", "olora"),
        "{values.init_lora_weights} takes adapters out of the base's own weights, which are quantised",
        "Leave quantization_bit out, or use init_lora_weights: default.",
    ),
    Rule(
        "init_lora_weights",
        lambda case: case.values.init_lora_weights in ("pissa", "olora") and case.values.stage in ("dpo", "kto", *REINFORCED),
        "{values.init_lora_weights} changes the base, which {values.stage} compares with",
        "Use init_lora_weights: default.",
    ),
    Rule(
        "init_lora_weights",
        lambda case: case.values.init_lora_weights in ("pissa", "olora") and case.values.stage == "rm",
        "{values.init_lora_weights} is turned back into an ordinary adapter at the end, which PEFT cannot do beside the new head of a reward model",
        "Use init_lora_weights: default.",
    ),
    Rule(
        "init_lora_weights",
        lambda case: case.values.init_lora_weights in ("pissa", "olora") and case.shards_weights,
        "{values.init_lora_weights} is turned back into an ordinary adapter at the end, for which every rank needs whole weights",
        "Use deepspeed: zero2, or init_lora_weights: default.",
    ),
    Rule(
        "finetuning_type",
        lambda case: case.values.finetuning_type in PROMPTS and case.resources.deepspeed == "zero3",
        "ranks wait for each other for ever when a checkpoint of {values.finetuning_type} is saved under ZeRO-3",
        "Use deepspeed: zero2.",
    ),
    Rule(
        "finetuning_type",
        lambda case: case.values.finetuning_type in PROMPTS and case.resources.fsdp,
        "PEFT finds no whole embeddings to put those of {values.finetuning_type} in front of where FSDP2 has sharded them",
        "Use deepspeed: zero2.",
    ),
    Rule(
        "finetuning_type",
        lambda case: case.values.finetuning_type in ("prompt_tuning", "p_tuning") and case.values.stage in ("orpo", "simpo"),
        "TRL's trainer of {values.stage} does not know of the tokens that {values.finetuning_type} puts in front",
        "Use prefix_tuning or lora.",
    ),
    Rule(
        "packing",
        lambda case: case.values.packing and case.values.finetuning_type in PROMPTS,
        "learned tokens stand in front of a block, not of each row in it",
        "Leave packing out, or use finetuning_type: lora.",
    ),
    Rule(
        "label_smoothing_factor",
        lambda case: case.values.label_smoothing_factor and case.values.finetuning_type in ("prompt_tuning", "p_tuning"),
        "with {values.finetuning_type} there are scores of the learned tokens too, and no labels for them to be smoothed by",
        "Leave label_smoothing_factor out, or use prefix_tuning or lora.",
    ),
    Rule(
        "neftune_noise_alpha",
        lambda case: case.values.neftune_noise_alpha and case.values.packing,
        "NEFTune's noise follows from the length of a row, and a block of many rows would get less of it",
        "Leave packing or neftune_noise_alpha out.",
    ),
    Rule(
        "rope_scaling",
        lambda case: case.values.rope_scaling and case.values.finetuning_type in ADAPTERS,
        "it changes the base, of which an adapter keeps nothing: merged, scored or exported, the base would not be stretched",
        "Use finetuning_type: full or freeze, or leave rope_scaling out.",
    ),
    Rule(
        "gradient_checkpointing",
        lambda case: case.values.gradient_checkpointing and case.values.finetuning_type == "prefix_tuning",
        "a learned prefix is lost when activations are computed again",
        "Leave gradient_checkpointing out.",
    ),
    Rule(
        "optim",
        lambda case: case.values.optim in PROJECTED and case.values.finetuning_type not in ("full", "freeze"),
        "{values.optim} projects the gradients of whole weights, and {values.finetuning_type} has none",
        "Use finetuning_type: full or freeze, or another optim.",
    ),
    Rule(
        "optim",
        lambda case: case.values.optim in PROJECTED and case.resources.deepspeed,
        "{values.optim} does not find its gradients where DeepSpeed has sharded them",
        "Leave resources.deepspeed out, or use another optim.",
    ),
    Rule(
        "optim",
        lambda case: case.values.optim in PROJECTED and case.resources.fsdp,
        "the projections of {values.optim} cannot be saved where FSDP2 has sharded what they belong to",
        "Leave resources.fsdp out, or use another optim.",
    ),
    Rule(
        "optim",
        lambda case: case.values.optim.startswith(BY_BITSANDBYTES) and case.resources.fsdp,
        "{values.optim} is bitsandbytes', which does not know the shards of FSDP2",
        "Use adamw_torch, or deepspeed: zero2.",
    ),
    Rule(
        "optim",
        lambda case: case.values.optim in UNSHARDED and case.resources.fsdp,
        "{values.optim} mixes whole tensors with the shards of FSDP2",
        "Use adamw_torch, or deepspeed: zero2.",
    ),
    Rule(
        "optim",
        lambda case: (
            case.values.optim in INSIDE_BACKWARD and (case.resources.num_processes > 1 or case.values.per_device_train_batch_size != case.rows_a_process)
        ),
        "{values.optim} takes its step inside the backward pass: it cannot accumulate, nor wait for other processes",
        "Use one process, and per_device_train_batch_size: {values.global_batch_size}; or another optim.",
    ),
    Rule(
        "max_grad_norm",
        lambda case: case.values.optim in INSIDE_BACKWARD and "max_grad_norm" in case.values.model_fields_set and case.values.max_grad_norm,
        "{values.optim} takes its step inside the backward pass, before gradients could be clipped",
        "Leave it out, or set max_grad_norm: 0.",
    ),
    *(_missing(name, what) for name, what in MISSING_OPTIMIZERS.items()),
    Rule(
        "optim",
        lambda case: case.values.optim in GPU_OPTIMIZERS and case.without_gpu,
        "{values.optim} runs on GPUs only, and the backend has none",
        "Use adamw_torch.",
    ),
    Rule(
        "loraplus_lr_ratio",
        lambda case: case.values.loraplus_lr_ratio and case.values.optim not in ("adamw_torch", "adamw_torch_fused", "adamw_8bit", "adamw_bnb_8bit", "sgd"),
        "LoRA+ is not made of {values.optim}",
        "Use optim: adamw_torch.",
    ),
    Rule("warmup_steps", lambda case: case.values.warmup_steps and case.values.warmup_ratio, "warmup_ratio says it too", "Keep one of the two."),
    Rule(
        "lr_scheduler_type",
        lambda case: case.values.lr_scheduler_type == "reduce_lr_on_plateau" and not case.values.eval_steps,
        "it follows the validation loss, which is not measured",
        "Set eval_steps.",
    ),
    Rule(
        "load_best_model_at_end",
        lambda case: case.values.load_best_model_at_end and not case.values.eval_steps,
        "the best step is the one of the lowest validation loss, which is not measured",
        "Set eval_steps.",
    ),
    Rule(
        "load_best_model_at_end",
        lambda case: case.values.load_best_model_at_end and case.resources.nodes > 1,
        "the weights of an earlier step are on the first machine alone",
        "Use nodes: 1, or end with the last step.",
    ),
    *(_incomplete(name, needed) for name, needed in SCHEDULES_WITH_ARGUMENTS.items()),
    Rule(
        "compute_type", lambda case: case.values.compute_type == "fp16" and case.without_gpu, "fp16 needs a GPU, and the backend has none", "Use fp32 or bf16."
    ),
    Rule(
        "flash_attn", lambda case: case.values.flash_attn == "fa2" and case.without_gpu, "FlashAttention 2 needs a GPU, and the backend has none", "Use sdpa."
    ),
    Rule(
        "flash_attn",
        lambda case: case.values.flash_attn == "fa2" and case.target is not None and "flash_attn" not in case.target.libraries,
        "flash_attn is not among the libraries of the backend's target",
        "Use sdpa, or install it in the trainer image and run `dtx doctor`.",
    ),
    Rule(
        "flash_attn",
        lambda case: case.values.flash_attn == "fa2" and case.values.compute_type == "fp32",
        "FlashAttention 2 knows bf16 and fp16 only",
        "Use compute_type: bf16.",
    ),
    Rule(
        "enable_liger_kernel",
        lambda case: case.values.enable_liger_kernel and case.without_gpu,
        "Liger's kernels need a GPU, and the backend has none",
        "Leave it out.",
    ),
    Rule(
        "torch_compile",
        lambda case: case.values.torch_compile and case.without_gpu,
        "compiling for a CPU needs a C++ compiler, which the trainer image does not have",
        "Leave it out.",
    ),
    Rule(
        "global_batch_size",
        lambda case: case.values.stage == "kto" and rows_compared(case.values) < 2,
        "KTO compares each answer with that of its neighbour in one pass, and there is none",
        "Use an even global_batch_size, and per_device_train_batch_size: 2 or more.",
    ),
    Rule(
        "per_device_train_batch_size",
        lambda case: case.values.stage == "kto" and case.rows_a_process % rows_compared(case.values),
        "KTO's result depends on the rows of one pass, by default at most 8, and those do not divide what a process takes of a step",
        "Set it to a divisor of global_batch_size / processes, 2 or more.",
    ),
    Rule(
        "num_generations",
        lambda case: case.values.stage in REINFORCED and case.values.global_batch_size % case.values.num_generations,
        "must divide global_batch_size: a step takes all answers to a prompt",
        "Choose a divisor.",
    ),
    Rule(
        "reward_model",
        lambda case: case.values.stage in REINFORCED and not case.values.reward_model,
        "{values.stage} learns by a reward model",
        "Name the folder of one that stage: rm made.",
    ),
)

RESOURCE_RULES: tuple[Rule, ...] = (
    Rule(
        "resources.fsdp",
        lambda case: case.resources.fsdp and case.resources.deepspeed,
        "DeepSpeed shards the same",
        "Leave resources.fsdp or resources.deepspeed out.",
    ),
    Rule(
        "resources.fsdp",
        lambda case: case.resources.fsdp and case.resources.num_processes == 1,
        "one process has nobody to share with",
        "Set processes: 2 or more, or leave fsdp out.",
    ),
    Rule(
        "resources.offload",
        lambda case: case.resources.offload and not case.resources.deepspeed,
        "only what DeepSpeed shards is offloaded",
        "Set deepspeed: zero2 or zero3, or leave offload out.",
    ),
)
"""Of what a pack runs on, whatever it trains."""


def broken_resources(resources: Resources) -> Iterator[Mistake]:
    """What nothing can be trained on.

    Args:
        resources: Of an experiment.
    """
    case = Case(Hyperparameters(), resources, None)
    return (Mistake(rule.key, rule.problem, rule.remedy) for rule in RESOURCE_RULES if rule.is_broken(case))


def broken_rules(case: Case) -> Iterator[Mistake]:
    """What of a group cannot be trained, or not in this way.

    Args:
        case: The group, what it runs on and what that has.
    """
    for rule in RULES:
        if rule.is_broken(case):
            yield Mistake(f".{rule.key}", rule.problem.format(values=case.values), rule.remedy.format(values=case.values))
