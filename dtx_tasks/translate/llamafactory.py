"""The keys of LLaMA-Factory's training files, each in one table.

Source: hparams/*.py of LLaMA-Factory 0.9.5 and the TrainingArguments of transformers 5.6, which it takes over; names that earlier versions had are beside those
that they became.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dtx_tasks.translate.datasets import dataset, dataset_dir, eval_dataset
from dtx_tasks.translate.draft import Dialect, impossible, shown, translated, unneeded
from dtx_tasks.translate.dropped import IMPOSSIBLE, UNNEEDED
from dtx_tasks.translate.meanings import (
    accumulation,
    arguments,
    deepspeed,
    fsdp,
    given_adapter,
    gradient_checkpointing,
    max_steps,
    micro_batch,
    model,
    names,
    run_name,
    same,
    seed,
    switch,
    template,
    warmup,
    warmup_ratio,
)

if TYPE_CHECKING:
    from dtx_tasks.translate.draft import Draft, Said

SAME = """
    learning_rate num_train_epochs cutoff_len mask_history train_on_prompt lr_scheduler_type optim optim_args weight_decay max_grad_norm label_smoothing_factor
    neftune_noise_alpha lora_rank lora_alpha lora_dropout use_rslora use_dora pissa_iter loraplus_lr_ratio freeze_trainable_layers quantization_bit
    quantization_type double_quantization rope_scaling enable_liger_kernel torch_compile pref_beta pref_ftx dpo_label_smoothing simpo_gamma
    kto_chosen_weight kto_rejected_weight temperature logging_steps save_steps save_total_limit load_best_model_at_end max_samples
"""
"""Hyperparameters that mean the same under the same name."""


def stage(draft: Draft, value: Any) -> Said:
    """PPO alone is gone; plain text is packed by default."""
    if value == "ppo":
        draft.put("stage", "rloo")
        return impossible("PPO is gone from TRL since 1.13. Written as stage: rloo, which learns by a reward model too: one that stage: rm made here.")
    if value == "pt" and draft.written.get("packing") is None:
        draft.put("packing", value=True)
        return draft.put("stage", value)._replace(text="stage: pt, with LLaMA-Factory's packing: true; each row sees only itself")
    # orpo and simpo are losses of dpo there, and stages here.
    return draft.put("stage", draft.group.get("stage", value)) if value == "dpo" else draft.put("stage", value)


def pref_loss(draft: Draft, value: Any) -> Said:
    """Two of the losses are stages of their own here."""
    if value in ("orpo", "simpo") and draft.written.get("stage") == "dpo":
        return draft.put("stage", value)
    if value == "kto_pair":
        return impossible("TRL no longer has it. Use stage: kto on rows with labels, or another pref_loss.")
    return draft.put("pref_loss", value)


def finetuning_type(draft: Draft, value: Any) -> Said:
    """OFT is the only method that is not trained."""
    if value == "oft":
        return impossible("OFT is not trained here. Written as finetuning_type: lora, the nearest.")
    return draft.put("finetuning_type", value)


def packing(draft: Draft, value: Any) -> Said:
    """Rows that are packed see only themselves."""
    if value is False:
        return draft.put("packing", value) if draft.written.get("stage") == "pt" else unneeded("off, as it is here by default.")
    return draft.put("packing", value, "" if draft.written.get("neat_packing") else "each row sees only itself, as with neat_packing")


def bf16(draft: Draft, value: Any) -> Said:
    """Mixed precision, unless the weights are kept in it too."""
    return unneeded("pure_bf16 counts.") if draft.written.get("pure_bf16") else switch("compute_type", "bf16")(draft, value)


def quantization_method(draft: Draft, value: Any) -> Said:
    """Earlier versions wrote the name out."""
    return draft.put("quantization_method", "bnb" if value == "bitsandbytes" else value)


def reward_model(draft: Draft, value: Any) -> Said:
    """A folder, where it is here."""
    found = draft.ground.find(str(value))
    return draft.put("reward_model", draft.ground.path_for(found) if found else value)


def flash_attn(draft: Draft, value: Any) -> Said:
    """How attention is computed."""
    return draft.put("flash_attn", "eager" if value == "disabled" else value)


def no_gradient_checkpointing(draft: Draft, value: Any) -> Said:
    """The same, said the other way round."""
    return draft.put("gradient_checkpointing", False) if value is True else unneeded("on a GPU activations are computed again by default.")


def val_size(draft: Draft, value: Any) -> Said:
    """Rows that are held out; a whole number above 1 is one of rows."""
    if value == 0:
        return unneeded("0 is none.")
    return draft.put("val_size", int(value) if value > 1 else value)


def eval_strategy(draft: Draft, value: Any) -> Said:
    """When the validation loss is measured while training runs."""
    if value in ("no", False):
        return unneeded("the validation loss is not measured while training runs; every job is scored at its end.")
    if value == "epoch":
        return impossible("the validation loss is measured by steps. Set eval_steps.")
    if draft.written.get("eval_steps") is None:
        return draft.put("eval_steps", draft.written.get("logging_steps", 500))
    return translated("as eval_steps says")


def eval_steps(draft: Draft, value: Any) -> Said:
    """Counts with the strategy `steps` alone."""
    strategy = draft.written.get("eval_strategy", draft.written.get("evaluation_strategy", "no"))
    return draft.put("eval_steps", value) if strategy == "steps" else unneeded(f"does not count with eval_strategy: {strategy}.")


def save_strategy(_draft: Draft, value: Any) -> Said:
    """When checkpoints are saved."""
    return unneeded("by steps, as here.") if value == "steps" else impossible(f"checkpoints are saved by steps or minutes (got {value!r}). Set save_steps.")


def predict_with_generate(draft: Draft, value: Any) -> Said:
    """Judged by what it writes."""
    if value is not True:
        return unneeded("off.")
    draft.scoring["metrics"] = ["rougeL", "rouge1", "rouge2", "bleu", "exact_match"]
    return translated("scoring: the metrics of answers; rougeL selects")


def max_new_tokens(draft: Draft, value: Any) -> Said:
    """Of scored answers, and of those that reinforcement learns from."""
    if draft.written.get("stage") == "ppo":
        return draft.put("max_new_tokens", value)
    if not draft.written.get("predict_with_generate"):
        return unneeded("nothing is generated without predict_with_generate.")
    draft.scoring["max_new_tokens"] = value
    return translated(f"scoring: max_new_tokens: {value}")


def do_train(_draft: Draft, value: Any) -> Said:
    """Whoever writes an experiment wants it."""
    return unneeded(
        "every job is trained." if value else "it says that nothing is trained; an experiment always trains. Remove the file if that is not wanted."
    )


def projected(prefix: str, optimizer: str, options: dict[str, tuple[str, Any]]) -> dict[str, Any]:
    """GaLore or APOLLO: switch, options and target, as transformers takes them."""

    def on(draft: Draft, value: Any) -> Said:
        if value is not True:
            return unneeded("off.")
        layerwise = "_layerwise" if draft.written.get(f"{prefix}_layerwise") else ""
        told = (f"{ours}={shown(draft.written.get(f'{prefix}_{theirs}', default))}" for theirs, (ours, default) in options.items())
        draft.put("optim_args", ", ".join(told))
        return draft.put("optim", f"{optimizer}{layerwise}", f"optim_args: {draft.group['optim_args']}")

    def part(_draft: Draft, _value: Any) -> Said:
        return translated(f"part of what use_{prefix} became")

    def target(draft: Draft, value: Any) -> Said:
        return unneeded("all linear layers, as here.") if value == "all" else names("optim_target_modules")(draft, value)

    return {f"use_{prefix}": on, f"{prefix}_target": target, f"{prefix}_layerwise": part} | {f"{prefix}_{theirs}": part for theirs in options}


GALORE = {"rank": ("rank", 16), "update_interval": ("update_proj_gap", 200), "scale": ("scale", 2.0), "proj_type": ("proj_type", "std")}
APOLLO = {
    "rank": ("rank", 16),
    "update_interval": ("update_proj_gap", 200),
    "scale": ("scale", 32.0),
    "proj": ("proj", "random"),
    "proj_type": ("proj_type", "std"),
    "scale_type": ("scale_type", "channel"),
}
"""Their options with the names that transformers has for them, and LLaMA-Factory's defaults."""

MEANINGS = {
    **{name: same(name) for name in SAME.split()},
    **{name: names(name) for name in ("lora_target", "additional_target", "freeze_trainable_modules", "freeze_extra_modules", "optim_target_modules")},
    **projected("galore", "galore_adamw", GALORE),
    **projected("apollo", "apollo_adamw", APOLLO),
    "model_name_or_path": model,
    "model_revision": lambda _draft, _value: translated("part of the LLM's source"),
    "template": template,
    "adapter_name_or_path": given_adapter,
    "create_new_adapter": lambda _draft, _value: unneeded("it says what becomes of adapter_name_or_path."),
    "stage": stage,
    "finetuning_type": finetuning_type,
    "pref_loss": pref_loss,
    "dataset": dataset,
    "eval_dataset": eval_dataset,
    "dataset_dir": dataset_dir,
    "val_size": val_size,
    "packing": packing,
    "neat_packing": switch("packing", on=True),
    "per_device_train_batch_size": micro_batch,
    "gradient_accumulation_steps": accumulation,
    "max_steps": max_steps,
    "warmup_steps": warmup,
    "warmup_ratio": warmup_ratio,
    "lr_scheduler_kwargs": arguments("lr_scheduler_kwargs"),
    "bf16": bf16,
    "quantization_method": quantization_method,
    "reward_model": reward_model,
    "fp16": switch("compute_type", "fp16"),
    "pure_bf16": switch("compute_type", "pure_bf16"),
    "flash_attn": flash_attn,
    "use_liger_kernel": switch("enable_liger_kernel", on=True),
    "pissa_init": switch("init_lora_weights", "pissa"),
    "gradient_checkpointing": gradient_checkpointing,
    "disable_gradient_checkpointing": no_gradient_checkpointing,
    "deepspeed": deepspeed,
    "eval_strategy": eval_strategy,
    "evaluation_strategy": eval_strategy,
    "eval_steps": eval_steps,
    "fsdp": fsdp,
    "save_strategy": save_strategy,
    "predict_with_generate": predict_with_generate,
    "max_new_tokens": max_new_tokens,
    "do_train": do_train,
    "seed": seed,
    "run_name": run_name,
}

LLAMAFACTORY = Dialect(
    name="LLaMA-Factory 0.9.5",
    mark="model_name_or_path",
    meanings=MEANINGS,
    unneeded=UNNEEDED,
    impossible=IMPOSSIBLE,
    needs={"galore_": "use_galore", "apollo_": "use_apollo", "badam_": "use_badam", "swanlab_": "use_swanlab", "kt_": "use_kt"},
    secrets=frozenset({"hf_hub_token", "ms_hub_token", "om_hub_token", "hub_token", "swanlab_api_key", "swanlab_lark_secret", "swanlab_lark_webhook_url"}),
    defaults={"learning_rate": 5e-5, "lr_scheduler_type": "linear", "cutoff_len": 2048},
    rows_of_a_pass=8,
)
