"""The keys of axolotl's training files that mean the same here, and the commonest of the others.

Source: axolotl's configuration reference (docs.axolotl.ai/docs/config-reference.html). It has several hundred keys: one that is in no table is told as such.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from dtx_tasks.translate.draft import Dialect, Impossible, impossible, listed, shown, translated, unneeded
from dtx_tasks.translate.meanings import (
    HUB_ID,
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
    same,
    seed,
    switch,
    warmup,
    warmup_ratio,
)

if TYPE_CHECKING:
    from dtx_tasks.translate.draft import Draft, Said

RENAMED = {
    "sequence_len": "cutoff_len",
    "num_epochs": "num_train_epochs",
    "optimizer": "optim",
    "lr_scheduler": "lr_scheduler_type",
    "lora_r": "lora_rank",
    "peft_use_rslora": "use_rslora",
    "peft_use_dora": "use_dora",
    "train_on_inputs": "train_on_prompt",
    "rl_beta": "pref_beta",
    "dpo_beta": "pref_beta",
    "dpo_label_smoothing": "dpo_label_smoothing",
    "orpo_alpha": "pref_beta",
    "simpo_gamma": "simpo_gamma",
    "kto_desirable_weight": "kto_chosen_weight",
    "kto_undesirable_weight": "kto_rejected_weight",
}
"""Hyperparameters under another name."""

SAME = """
    learning_rate lora_alpha lora_dropout loraplus_lr_ratio weight_decay max_grad_norm neftune_noise_alpha torch_compile save_total_limit logging_steps
    eval_steps save_steps
"""
TEMPLATES = {"tokenizer_default": "tokenizer", "chatml": "chatml", "llama3": "llama3"}
"""Chat templates that write the same; `tokenizer_default` is the model's own."""

STAGES = {"dpo": {"stage": "dpo"}, "ipo": {"stage": "dpo", "pref_loss": "ipo"}, "orpo": {"stage": "orpo"}, "kto": {"stage": "kto"}, "simpo": {"stage": "simpo"}}
READ = {"path", "type", "ds_type", "data_files", "split", "name", "field_messages", "message_property_mappings"}
"""What is read of an entry of `datasets`."""

FORMATS = {
    "alpaca": {"format": "alpaca"},
    "completion": {"format": "text"},
    "sharegpt": {"format": "sharegpt"},
    "chat_template": {"format": "openai"},
}
"""What an entry's `type` comes to."""


def adapter(draft: Draft, value: Any) -> Said:
    """LoRA, or LoRA on quantised weights."""
    if value not in ("lora", "qlora"):
        return impossible(f"not offered (got {value!r}). Written as finetuning_type: lora.")
    draft.put("finetuning_type", "lora")
    if value == "qlora" and not draft.written.get("load_in_8bit"):
        draft.put("quantization_bit", 4)
        return translated("finetuning_type: lora, quantization_bit: 4")
    return translated("finetuning_type: lora")


def stage(draft: Draft, value: Any) -> Said:
    """The preference method."""
    if value not in STAGES:
        return impossible(f"not offered in this form (got {value!r}). The stages are in docs/training.md.")
    for name, found in STAGES[value].items():
        draft.put(name, found)
    return translated(", ".join(f"{name}: {found}" for name, found in STAGES[value].items()))


def chat_template(draft: Draft, value: Any) -> Said:
    """One that writes the same, or the model's own."""
    if value not in TEMPLATES:
        return impossible(f"none of docs/templates.md is known to write the same as {value!r}; the model's own is used: `template: tokenizer`.")
    draft.llm["template"] = TEMPLATES[value]
    return translated(f"llms: template: {TEMPLATES[value]}")


def all_linear(draft: Draft, value: Any) -> Said:
    """Every linear layer."""
    return draft.put("lora_target", "all") if value is True else unneeded("lora_target_modules counts.")


def attention(choice: str) -> Any:
    """A switch for one way to compute attention."""
    return switch("flash_attn", choice)


def datasets(draft: Draft, value: Any) -> Said:
    """Each becomes a Dataset, defined in place; several are learned by a job each."""
    entries = [entry for entry in value if isinstance(entry, dict) and entry.get("path")] if isinstance(value, list) else []
    if not entries:
        return impossible("is no list of datasets with a path each. Write `datasets` yourself: docs/datasets.md.")
    draft.datasets = [_dataset(draft, index, entry) for index, entry in enumerate(entries)]
    said = f"datasets: {', '.join(str(item['train']) for item in draft.defined)}{_template(draft, entries)}"
    if len(entries) > 1:
        return impossible(f"{said}: a job each, since they are not learned together. To mix them, put their rows into one folder of files in one format.")
    return translated(said)


def _template(draft: Draft, entries: list[dict[str, Any]]) -> str:
    """Rows of the type `alpaca` are asked by a prompt of their own there, whatever the model's chat template is."""
    kinds = {entry.get("type") == "alpaca" for entry in entries}
    if True not in kinds or draft.written.get("chat_template"):
        return ""
    if False in kinds:
        draft.told.append(("datasets", impossible("some are asked by axolotl's alpaca prompt, others are not: an LLM has one `template` here.")))
        return ""
    draft.llm["template"] = "alpaca"
    return "; template: alpaca of the LLM, as axolotl asks such rows"


def _dataset(draft: Draft, index: int, entry: dict[str, Any]) -> dict[str, Any]:
    written, place = str(entry["path"]), f"datasets[{index}]"
    found = draft.ground.find(written)
    train = draft.ground.path_for(found) if found else f"hf://datasets/{written}" if HUB_ID.fullmatch(written) and not PurePath(written).suffix else written
    kind = str(entry.get("type", ""))
    if kind not in FORMATS:
        draft.told.append(
            (f"{place}.type", impossible(f"not known here (got {entry.get('type')!r}). Say how rows look by `format` and `columns`: docs/datasets.md."))
        )
    for key in sorted(set(entry) - READ):
        draft.told.append(
            (f"{place}.{key}", impossible(f"{shown(entry[key])}: write it as `columns`, `tags` or another key of the Dataset: docs/datasets.md."))
        )
    for key in ("split", "data_files", "name"):
        if entry.get(key):
            draft.told.append((f"{place}.{key}", impossible(f"{shown(entry[key])}: name the files of it in `train`, such as {train}/data/train-*.parquet.")))
    return {"name": PurePath(written).stem, "train": train, **FORMATS.get(kind, {}), **_read_by(entry)}


def _read_by(entry: dict[str, Any]) -> dict[str, Any]:
    """The column of the turns, and the keys of a turn."""
    tags = entry.get("message_property_mappings") or {}
    own = {"role": "role", "content": "content"}
    columns = {"messages": entry["field_messages"]} if entry.get("field_messages", "messages") != "messages" else {}
    renamed = {key: tags[key] for key in own if key in tags and tags[key] != own[key]}
    return {**({"columns": columns} if columns else {}), **({"tags": renamed} if renamed else {})}


def val_size(draft: Draft, value: Any) -> Said:
    """A share, or a number of rows."""
    if value == 0:
        return unneeded("0 is none.")
    return draft.put("val_size", int(value) if value > 1 else value)


AXOLOTL = Dialect(
    name="axolotl",
    mark="base_model",
    meanings={
        **{name: same(name) for name in SAME.split()},
        **{theirs: same(ours) for theirs, ours in RENAMED.items()},
        "base_model": model,
        "revision_of_model": lambda _draft, _value: translated("part of the LLM's source"),
        "chat_template": chat_template,
        "adapter": adapter,
        "lora_model_dir": given_adapter,
        "load_in_4bit": switch("quantization_bit", 4),
        "load_in_8bit": switch("quantization_bit", 8),
        "rl": stage,
        "datasets": datasets,
        "val_set_size": val_size,
        "micro_batch_size": micro_batch,
        "gradient_accumulation_steps": accumulation,
        "lora_target_linear": all_linear,
        "lora_target_modules": names("lora_target"),
        "lora_modules_to_save": names("additional_target"),
        "sample_packing": switch("packing", on=True),
        "bf16": switch("compute_type", "bf16"),
        "bfloat16": switch("compute_type", "pure_bf16"),
        "fp16": switch("compute_type", "fp16"),
        "flash_attention": attention("fa2"),
        "sdp_attention": attention("sdpa"),
        "eager_attention": attention("eager"),
        "gradient_checkpointing": gradient_checkpointing,
        "lr_scheduler_kwargs": arguments("lr_scheduler_kwargs"),
        "max_steps": max_steps,
        "warmup_steps": warmup,
        "warmup_ratio": warmup_ratio,
        "deepspeed": deepspeed,
        "fsdp": fsdp,
        "seed": seed,
    },
    unneeded=listed(
        {
            "what a job makes lies below the storage root by its content, and replaces nothing.": "output_dir dataset_prepared_path",
            "curves, figures and the report are always kept, in MLflow and in events.jsonl.": """
                wandb_project wandb_entity wandb_watch wandb_name wandb_log_model wandb_run_id wandb_mode mlflow_tracking_uri
                mlflow_experiment_name mlflow_run_name hf_mlflow_log_artifacts use_tensorboard debug""",
            "every job is scored on the same rows, beside its base.": "eval_batch_size eval_sample_packing eval_table_size eval_max_new_tokens do_bench_eval",
            "training resumes by itself from the newest complete checkpoint.": """
                resume_from_checkpoint auto_resume_from_checkpoints save_only_model save_safetensors""",
            "how a model is loaded is the platform's own business.": """
                model_type tokenizer_type is_llama_derived_model is_mistral_derived_model is_falcon_derived_model is_qwen_derived_model strict
                tokenizer_use_fast tokenizer_legacy low_cpu_mem_usage gradient_checkpointing_kwargs""",
            "batches are padded to their longest row.": "pad_to_sequence_len",
            "the platform starts the processes: resources (here: --nodes and --gpus) say how many.": "ddp_timeout ddp_bucket_cap_mb ddp local_rank world_size",
            "rows are prepared once, and loading them takes no workers.": """
                dataset_processes dataset_keep_in_memory dataloader_num_workers dataloader_prefetch_factor""",
        }
    ),
    impossible={
        "tf32": Impossible("not switched here. Use compute_type: bf16, which is faster."),
        "xformers_attention": Impossible("not offered. Use flash_attn: sdpa or fa2."),
        "s2_attention": Impossible("not offered. Use flash_attn: sdpa or fa2."),
        "group_by_length": Impossible("rows are shuffled. Use packing: true, which needs no padding."),
        "trust_remote_code": Impossible("code that comes with a model is not run. Models that transformers itself knows need none."),
        "special_tokens": Impossible("the tokenizer keeps its own. Change them in a copy of the base, and name that folder as `source` of the LLM.", None),
        "tokens": Impossible("the base's vocabulary stays as it is. Add the tokens to a copy of the base, and name that folder.", None),
        "tokenizer_config": Impossible("the tokenizer is that of the base. Put it into a copy of the base's folder.", None),
        "base_model_config": Impossible("the configuration is that of the base.", None),
        "lora_fan_in_fan_out": Impossible("PEFT finds it out."),
        "evals_per_epoch": Impossible("the validation loss is measured by steps. Set eval_steps.", None),
        "saves_per_epoch": Impossible("checkpoints are saved by steps or minutes. Set save_steps.", None),
        "eval_strategy": Impossible("the validation loss is measured by steps. Set eval_steps.", "steps"),
        "save_strategy": Impossible("checkpoints are saved by steps or minutes. Set save_steps.", "steps"),
        "early_stopping_patience": Impossible(
            "no job ends early. Use load_best_model_at_end: true, or groups with fewer steps: each is a job, and the best is chosen.", None
        ),
        "test_datasets": Impossible("write `validation` into each Dataset.", None),
        "unfrozen_parameters": Impossible(
            "written as patterns there. Use finetuning_type: freeze with freeze_trainable_layers or freeze_trainable_modules.", None
        ),
        "fsdp_config": Impossible("config/accelerate/fsdp.yaml says how FSDP2 shards. Use resources: fsdp: true.", None),
        "plugins": Impossible("axolotl's plugins are not loaded. For Liger's kernels set enable_liger_kernel: true.", None),
        "hub_model_id": Impossible("the best is registered in MLflow, and uploaded nowhere. Upload its folder yourself.", None),
        "relora": Impossible("not offered. Use finetuning_type: lora."),
        "adam_beta1": Impossible("betas and epsilon are the optimiser's own defaults. Choose another optim.", 0.9),
        "adam_beta2": Impossible("betas and epsilon are the optimiser's own defaults. Choose another optim.", 0.999),
        "adam_epsilon": Impossible("betas and epsilon are the optimiser's own defaults. Choose another optim.", 1e-8),
    },
    needs={},
    secrets=frozenset({"hf_use_auth_token"}),
    defaults={"cutoff_len": 512, "finetuning_type": "full", "num_train_epochs": 1.0},
    rows_of_a_pass=1,
)
