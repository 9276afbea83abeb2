"""The keys of LLaMA-Factory's training files, each in one table.

Source: hparams/*.py of LLaMA-Factory 0.9.5 and the TrainingArguments of transformers 5.6, which it takes over; names that earlier versions had are beside those
that they became.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dtx_tasks.translate.datasets import dataset, dataset_dir, eval_dataset
from dtx_tasks.translate.draft import Dialect, Impossible, impossible, listed, shown, translated, unneeded
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

UNNEEDED = listed(
    {
        "what a job makes lies below the storage root by its content, and replaces nothing.": """
            output_dir overwrite_output_dir logging_dir cache_dir offload_folder save_on_each_node profiler_output_dir save_safetensors""",
        "curves, figures and the report are always kept, in MLflow and in events.jsonl.": """
            report_to plot_loss logging_strategy logging_first_step log_level log_level_replica log_on_each_node logging_nan_inf_filter disable_tqdm
            include_num_input_tokens_seen include_effective_tokens_per_second include_tokens_per_second skip_memory_metrics print_param_status debug project
            trackio_space_id trackio_bucket_id trackio_static_space_id""",
        "every job is scored on the same rows, beside its base.": """
            do_eval do_predict per_device_eval_batch_size eval_accumulation_steps eval_do_concat_batches eval_use_gather_object eval_on_start eval_delay
            eval_on_each_dataset batch_eval_metrics include_for_metrics prediction_loss_only bf16_full_eval fp16_full_eval compute_accuracy
            jit_mode_eval""",
        "rows are prepared once for each Dataset and tokenizer, streamed from files, and found again by their content.": """
            overwrite_cache preprocessing_batch_size preprocessing_num_workers tokenized_path data_shared_file_system streaming buffer_size
            dataloader_num_workers dataloader_pin_memory dataloader_persistent_workers dataloader_prefetch_factor remove_unused_columns label_names
            length_column_name sortish_sampler""",
        "training resumes by itself from the newest complete checkpoint.": """
            resume_from_checkpoint ignore_data_skip restore_callback_states_from_checkpoint enable_jit_checkpoint save_only_model""",
        "the platform starts the processes: resources (here: --nodes and --gpus) say how many.": """
            ddp_timeout ddp_backend ddp_find_unused_parameters ddp_bucket_cap_mb ddp_broadcast_buffers ddp_static_graph local_rank master_addr master_port
            ray_num_workers ray_init_kwargs use_cpu no_cuda average_tokens_across_devices accelerator_config""",
        "it is about chatting and serving; scored answers are greedy.": """
            infer_backend infer_dtype use_kv_cache use_cache do_sample top_p top_k num_beams eval_num_beams max_length repetition_penalty length_penalty
            skip_special_tokens generation_max_length generation_num_beams generation_config vllm_maxlen vllm_gpu_util vllm_enforce_eager vllm_max_lora_rank
            vllm_config sglang_maxlen sglang_mem_fraction sglang_tp_size sglang_config sglang_lora_backend""",
        "exporting is a step of its own, after training.": """
            export_dir export_size export_device export_quantization_bit export_quantization_dataset export_quantization_nsamples export_quantization_maxlen
            export_legacy_format export_hub_model_id""",
        "secrets have no place in an experiment: the backend's environment holds them.": """
            hf_hub_token ms_hub_token om_hub_token hub_token swanlab_api_key swanlab_lark_secret swanlab_lark_webhook_url""",
        "how a model is loaded is the platform's own business.": """
            use_fast_tokenizer low_cpu_mem_usage use_reentrant_gc gradient_checkpointing_kwargs torch_empty_cache_steps liger_kernel_config
            compute_dtype device_map model_max_length block_diag_attn visual_inputs""",
        "an adapter that pissa began is always turned back into an ordinary one.": "pissa_convert",
        "out of memory, a job is tried again with half the rows of a pass and the same global batch.": "auto_find_batch_size",
        "the best job is uploaded nowhere; it is registered in MLflow.": """
            hub_model_id hub_private_repo hub_strategy hub_always_push hub_revision""",
    }
)

ADAMS = "betas and epsilon are the optimiser's own defaults. Choose another optim, or another weight_decay or learning_rate."
NO_SWANLAB = Impossible("SwanLab is not spoken. MLflow has the same curves.")
MEDIA = "pictures, films and sounds are read as the model's own processor is configured."
LOSSES = "this loss is not offered. The nearest is stage: sft with its ordinary loss."
VOCABULARY = "the base's vocabulary stays as it is. Add the tokens to a copy of the base first, and name that folder as `source` of the LLM."
BADAM = "BAdam is not offered. Use finetuning_type: freeze, or optim: galore_adamw or lomo."
SPREAD = "not offered. Use resources: deepspeed: zero3, which shards the model too."
BEST_STEP = "the best step is the one of the lowest validation loss, and no job ends early for it. Use load_best_model_at_end: true."

IMPOSSIBLE = {
    "adapter_folder": Impossible("adapters are not looked up in a folder. Give the adapter's own folder as `source` of the LLM.", None),
    "resize_vocab": Impossible(VOCABULARY),
    "split_special_tokens": Impossible("marks of a template in the text of a row are read as marks. Rewrite such rows by a data plugin: docs/plugins.md."),
    "add_tokens": Impossible(VOCABULARY, None),
    "add_special_tokens": Impossible(VOCABULARY, None),
    "new_special_tokens_config": Impossible(VOCABULARY, None),
    "init_special_tokens": Impossible(VOCABULARY, "noise_init"),
    "shift_attn": Impossible("S^2 attention is not offered. Use flash_attn: sdpa or fa2."),
    "mixture_of_depths": Impossible("mixture of depths is not offered.", None),
    "use_unsloth": Impossible("unsloth cannot be installed beside today's TRL. On a GPU use enable_liger_kernel and flash_attn: fa2."),
    "use_unsloth_gc": Impossible("not offered. Use gradient_checkpointing: true."),
    "use_v1_kernels": Impossible("not offered. Use enable_liger_kernel: true."),
    "moe_aux_loss_coef": Impossible("the base's own coefficient counts.", None),
    "upcast_layernorm": Impossible("not offered. Use compute_type: bf16, which keeps trained weights in fp32."),
    "upcast_lmhead_output": Impossible("not offered. Use compute_type: bf16, which computes the loss in fp32."),
    "train_from_scratch": Impossible("fine-tuning starts from weights. Save a model with random ones in a folder, and name that."),
    "trust_remote_code": Impossible("code that comes with a model is not run. Models that transformers itself knows need none."),
    "quantization_device_map": Impossible("a quantised model is not spread over GPUs by layers. Use resources: deepspeed: zero3.", None),
    **{
        name: Impossible(MEDIA, off)
        for name, off in {
            "image_max_pixels": 768 * 768,
            "image_min_pixels": 32 * 32,
            "image_do_pan_and_scan": False,
            "crop_to_patches": False,
            "video_max_pixels": 256 * 256,
            "video_min_pixels": 16 * 16,
            "video_fps": 2.0,
            "video_maxlen": 128,
            "use_audio_in_video": False,
            "audio_sampling_rate": 16000,
        }.items()
    },
    "media_dir": Impossible("pictures, films and sounds are looked up beside the file of rows.", None),
    **{name: Impossible("KTransformers is not offered. Use quantization_bit: 4.", None) for name in ("kt_weight_path", "kt_expert_checkpoint_path")},
    **{name: Impossible("KTransformers is not offered. Use quantization_bit: 4.", None) for name in ("kt_use_lora_experts", "kt_lora_expert_num")},
    "kt_lora_expert_intermediate_size": Impossible("KTransformers is not offered. Use quantization_bit: 4.", None),
    "use_kt": Impossible("KTransformers is not offered. Use quantization_bit: 4."),
    "mix_strategy": Impossible("each Dataset is learned by a job of its own. Put the rows of several into one file in the shares that you want.", "concat"),
    "interleave_probs": Impossible("each Dataset is learned by a job of its own. Put the rows of several into one file in those shares.", None),
    "ignore_pad_token_for_loss": Impossible("padding is never learned.", True),
    "tool_format": Impossible("a template writes tools in its own form. Choose a template that has this one.", None),
    "default_system": Impossible("a template's system message is its own. Give rows a system column.", None),
    "enable_thinking": Impossible("nothing is added to rows for thinking. Write it into the answers.", True),
    "preserve_thinking": Impossible("answers are learned as they are written."),
    "loraplus_lr_embedding": Impossible("LoRA+ has one ratio for all adapters: loraplus_lr_ratio.", 1e-6),
    **{
        name: Impossible("OFT is not offered. Use finetuning_type: lora.", off)
        for name, off in (("oft_rank", 0), ("oft_block_size", 32), ("oft_target", "all"))
    },
    "module_dropout": Impossible("OFT is not offered. Use finetuning_type: lora with lora_dropout.", 0.0),
    "pref_bco_weight": Impossible("TRL no longer has it. Use pref_ftx.", 0.0),
    "ld_alpha": Impossible("LD-DPO is not offered. Use stage: simpo, which is normalised by length.", None),
    "ref_model": Impossible("what is learned is compared with the base itself.", None),
    "ref_model_adapters": Impossible("what is learned is compared with the base itself.", None),
    "ref_model_quantization_bit": Impossible("the reference is the base, quantised like it.", None),
    "reward_model_adapters": Impossible("a reward model is one folder: give it as reward_model.", None),
    "reward_model_quantization_bit": Impossible("a reward model is not quantised.", None),
    "reward_model_type": Impossible("a reward model is a folder that stage: rm made, with an adapter or without.", "lora"),
    **{
        name: Impossible("PPO is gone from TRL. rloo has num_generations, temperature, max_new_tokens and pref_beta.", off)
        for name, off in (("ppo_buffer_size", 1), ("ppo_epochs", 4), ("ppo_score_norm", False), ("ppo_target", 6.0), ("ppo_whiten_rewards", False))
    },
    "apollo_scale_front": Impossible("transformers' APOLLO has no such option."),
    "use_badam": Impossible(BADAM),
    **{
        name: Impossible(BADAM, off)
        for name, off in {
            "badam_mode": "layer",
            "badam_start_block": None,
            "badam_switch_mode": "ascending",
            "badam_switch_interval": 50,
            "badam_update_ratio": 0.05,
            "badam_mask_mode": "adjacent",
            "badam_verbose": 0,
        }.items()
    },
    **dict.fromkeys(("use_swanlab", "swanlab_workspace", "swanlab_run_name", "swanlab_mode", "swanlab_project", "swanlab_logdir"), NO_SWANLAB),
    "use_llama_pro": Impossible("blocks are not expanded. Use finetuning_type: freeze with freeze_trainable_layers."),
    "use_adam_mini": Impossible("transformers does not build it. Use optim: adamw_8bit, or a galore or apollo one."),
    "use_muon": Impossible("transformers does not build it. Use optim: adamw_torch."),
    "use_mca": Impossible(f"Megatron is {SPREAD}"),
    "use_hyper_parallel": Impossible(f"HyperParallel is {SPREAD}"),
    "hyper_parallel_args": Impossible(f"HyperParallel is {SPREAD}", None),
    **{name: Impossible(LOSSES, off) for name, off in (("use_dft_loss", False), ("use_asft_loss", False), ("use_eaft_loss", False))},
    **{name: Impossible(LOSSES, off) for name, off in (("asft_alpha", 0.1), ("eaft_alpha", 1.0))},
    "freeze_vision_tower": Impossible("not chosen here. With finetuning_type: lora name the modules to adapt in lora_target.", True),
    "freeze_multi_modal_projector": Impossible("not chosen here. With finetuning_type: lora name the modules to adapt in lora_target.", True),
    "freeze_language_model": Impossible("not chosen here. With finetuning_type: lora name the modules to adapt in lora_target."),
    "disable_shuffling": Impossible("rows are always shuffled, by the seed."),
    "early_stopping_steps": Impossible(BEST_STEP, None),
    "metric_for_best_model": Impossible(BEST_STEP, None),
    "greater_is_better": Impossible(BEST_STEP, None),
    "fp8": Impossible("not offered. Use compute_type: bf16."),
    "fp8_backend": Impossible("not offered. Use compute_type: bf16.", "auto"),
    "fp8_enable_fsdp_float8_all_gather": Impossible("not offered. Use compute_type: bf16."),
    "tf32": Impossible("not switched here. Use compute_type: bf16, which is faster.", None),
    "adam_beta1": Impossible(ADAMS, 0.9),
    "adam_beta2": Impossible(ADAMS, 0.999),
    "adam_epsilon": Impossible(ADAMS, 1e-8),
    "torch_compile_backend": Impossible("torch_compile: true compiles with the default backend.", None),
    "torch_compile_mode": Impossible("torch_compile: true compiles in the default mode.", None),
    "data_seed": Impossible("one seed orders rows too: seeds.", None),
    "full_determinism": Impossible("the seed decides as far as the kernels allow."),
    "dataloader_drop_last": Impossible("the last rows of an epoch are learned too."),
    "train_sampling_strategy": Impossible("rows are shuffled. Use packing: true, which needs no padding.", "random"),
    "group_by_length": Impossible("rows are shuffled. Use packing: true, which needs no padding."),
    "parallelism_config": Impossible(SPREAD, None),
    "fsdp_config": Impossible("config/accelerate/fsdp.yaml says how FSDP2 shards.", None),
    "push_to_hub": Impossible("the best is registered in MLflow, and uploaded nowhere. Upload its folder yourself."),
    **{
        name: Impossible("training is not profiled. Its tokens/s and its memory are in MLflow.", off)
        for name, off in {
            "enable_torch_profiler": False,
            "profiler_wait_steps": 1,
            "profiler_warmup_steps": 1,
            "profiler_active_steps": 1,
            "profiler_repeat": 1,
            "profiler_record_shapes": True,
            "profiler_profile_memory": True,
            "profiler_with_stack": True,
            "profile_modules": None,
        }.items()
    },
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
