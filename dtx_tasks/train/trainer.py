"""The trainer of a job's stage, by TRL, with everything that it works on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from datasets import Dataset
from transformers import AutoConfig, PrinterCallback

from dtx_tasks.plan import with_rows
from dtx_tasks.records import TRAIN_FILE, VALIDATION_FILE
from dtx_tasks.sight import load_sight
from dtx_tasks.spec import REINFORCED
from dtx_tasks.train.adapters import begin_adapter
from dtx_tasks.train.best import KeepBest
from dtx_tasks.train.checkpoint import writer
from dtx_tasks.train.encoder import KeepEncoder
from dtx_tasks.train.model import load_model
from dtx_tasks.train.optimizer import projected_modules, use_own_optimizer
from dtx_tasks.train.pace import SHARE_OF_A_STEP, Pause
from dtx_tasks.train.padding import lays_end_to_end
from dtx_tasks.train.progress import DivergenceGuard, KeepNewest, Progress, SaveByClock
from dtx_tasks.train.seeing import IMAGE_FILES, SeeingCollator
from dtx_tasks.train.sharding import keep_digits, shard_on_cpu
from dtx_tasks.train.stages import TRAINERS, rows_of_stage, stage_arguments

if TYPE_CHECKING:
    from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainingArguments

    from dtx_tasks.records import Attempt, FinetuneJob
    from dtx_tasks.spec import Hyperparameters, Resources
    from dtx_tasks.train.folder import JobFolder
    from dtx_tasks.train.progress import StopRequest

SUPERVISED = ("pt", "sft")
"""Stages whose loss is a cross entropy over the vocabulary."""

OF_TOKENS = (*SUPERVISED, "orpo", "simpo")
"""Stages whose loss is a mean of tokens, and not of rows alone."""


def make_trainer(job: FinetuneJob, resources: Resources, folder: JobFolder, attempt: Attempt, tokenizer: Any, stop: StopRequest) -> Trainer:
    """Loads the base and the rows of a job, and makes its stage's trainer of them.

    Args:
        job: What to train.
        resources: What it runs on.
        folder: Where to read and write.
        attempt: What was decided for this attempt.
        tokenizer: That of the prepared rows.
        stop: Who asks the trainer to save and end.
    """
    values = job.hyperparameters
    trainer_class: Any = TRAINERS[values.stage][0]
    rows, validation = _rows(folder, values, TRAIN_FILE), _rows(folder, values, VALIDATION_FILE) if values.eval_steps else None
    assert rows is not None
    told = _told(job, resources, folder, attempt.micro_batch_size, tokenizer.pad_token_id, rows, is_measured=validation is not None)
    if resources.fsdp and told.use_cpu:
        shard_on_cpu()
    model = load_model(folder.llm_path, values, tokenizer.pad_token_id)
    learner, new_adapter = begin_adapter(model, values, folder.llm_path, folder.adapter_path)
    trainer: Trainer = trainer_class(
        model=learner,
        args=told,
        train_dataset=rows,
        eval_dataset=validation,
        processing_class=tokenizer,
        peft_config=new_adapter,
        callbacks=[*_callbacks(job, resources, folder, attempt, model, len(validation or ())), stop],
        **({"reward_funcs": str(folder.reward_path)} if values.stage in REINFORCED else {}),
        **({"data_collator": _seeing(folder, model, tokenizer)} if _has_images(rows) else {}),
    )
    # TRL packs rows when its trainer is made: only now it is known how many there are.
    told.max_steps = with_rows(job, len(trainer.train_dataset)).num_steps
    told.logging_steps = min(values.logging_steps, told.max_steps)
    # Progress says the same, as JSON.
    trainer.remove_callback(PrinterCallback)
    use_own_optimizer(trainer, values)
    if resources.fsdp:
        keep_digits(trainer)
    return trainer


def _rows(folder: JobFolder, values: Hyperparameters, file: str) -> Dataset | None:
    """The prepared rows of a split; None where there are none."""
    path = folder.prepared_path / file
    return rows_of_stage(Dataset.from_file(str(path)), values) if path.exists() else None


def _has_images(rows: Dataset) -> bool:
    return IMAGE_FILES in rows.column_names


def _seeing(folder: JobFolder, model: PreTrainedModel, tokenizer: Any) -> SeeingCollator:
    sight = load_sight(folder.prepared_path / "tokenizer", model.config.model_type, tokenizer)
    assert sight is not None
    return SeeingCollator(tokenizer.pad_token_id, sight, folder.prepared_path)


def _callbacks(
    job: FinetuneJob, resources: Resources, folder: JobFolder, attempt: Attempt, model: PreTrainedModel, num_measured_rows: int
) -> list[TrainerCallback]:
    """What happens on the way: the encoder first, since Progress vouches for all that a checkpoint holds."""
    values = job.hyperparameters
    is_supervised = values.stage in SUPERVISED
    evaluations = Pause(steps_worth=num_measured_rows / values.global_batch_size * SHARE_OF_A_STEP, at_the_end=True)
    is_likelihood = is_supervised and not values.label_smoothing_factor
    progress = Progress(folder.events_uri, attempt.number, writer(resources), folder.node, is_likelihood=is_likelihood, evaluations=evaluations)
    # One more place for the best: transformers counts it among those that it keeps.
    newest = KeepNewest(values.save_total_limit + (1 if num_measured_rows else 0))
    guard = DivergenceGuard(model.config.get_text_config().vocab_size if is_supervised else None)
    best = [KeepBest()] if values.load_best_model_at_end else []
    return [KeepEncoder(), progress, newest, guard, *best, SaveByClock(values.save_minutes)]


def _told(
    job: FinetuneJob, resources: Resources, folder: JobFolder, micro_batch_size: int, pad_token_id: int, rows: Dataset, *, is_measured: bool
) -> TrainingArguments:
    """What the trainer is told, with what its stage and its rows need."""
    values, sees = job.hyperparameters, _has_images(rows)
    config = AutoConfig.from_pretrained(folder.llm_path)
    end_to_end = values.stage in SUPERVISED and not sees and lays_end_to_end(config, values, rows, micro_batch_size)
    arguments = _arguments(job, resources, folder, micro_batch_size, is_measured=is_measured)
    of_stage = stage_arguments(values, pad_token_id, end_to_end=end_to_end)
    # The collator of images reads a column that no model knows.
    told: TrainingArguments = TRAINERS[values.stage][1](**{**arguments, **of_stage, **({"remove_unused_columns": False} if sees else {})})
    return told


def _arguments(job: FinetuneJob, resources: Resources, folder: JobFolder, micro_batch_size: int, *, is_measured: bool) -> dict[str, Any]:
    """What the trainer of every stage is told, under transformers' names: a name that changes there changes here."""
    values = job.hyperparameters
    on_cpu = not torch.cuda.is_available()
    return {
        "output_dir": str(folder.work),
        "per_device_train_batch_size": micro_batch_size,
        # A batch's loss is the mean of its tokens, the validation loss that of the batches: what fits into memory must not decide it.
        "per_device_eval_batch_size": 1 if values.stage in OF_TOKENS else micro_batch_size,
        "gradient_accumulation_steps": values.global_batch_size // (micro_batch_size * resources.num_processes),
        "learning_rate": values.learning_rate,
        "lr_scheduler_type": values.lr_scheduler_type,
        "lr_scheduler_kwargs": values.lr_scheduler_kwargs or {},
        # transformers 5: a float below 1 is the share of the steps.
        "warmup_steps": values.warmup_steps or values.warmup_ratio,
        "optim": values.optim,
        "optim_args": values.optim_args,
        "optim_target_modules": projected_modules(values),
        "weight_decay": values.weight_decay,
        "max_grad_norm": values.max_grad_norm,
        "label_smoothing_factor": values.label_smoothing_factor,
        "neftune_noise_alpha": values.neftune_noise_alpha,
        "bf16": values.compute_type in ("bf16", "pure_bf16"),
        "fp16": values.compute_type == "fp16",
        "use_cpu": on_cpu,
        "gradient_checkpointing": _recomputes(values, on_cpu),
        "use_liger_kernel": values.enable_liger_kernel,
        "torch_compile": values.torch_compile,
        "seed": job.seed,
        "logging_nan_inf_filter": False,
        "eval_strategy": "steps" if is_measured else "no",
        "eval_steps": values.eval_steps,
        "save_strategy": "steps",
        "save_steps": values.save_steps,
        # KeepNewest clears away, when the new one is vouched for; transformers would before.
        "save_total_limit": None,
        "metric_for_best_model": "loss" if is_measured else None,
        "include_num_input_tokens_seen": "non_padding",
        "dataloader_pin_memory": not on_cpu,
        "report_to": "none",
        "disable_tqdm": True,
        "ddp_find_unused_parameters": False,
    }


def _recomputes(values: Hyperparameters, on_cpu: bool) -> bool:
    """Whether activations are computed again: that saves memory which only an accelerator is short of, and a learned prefix does not stand it."""
    if values.gradient_checkpointing is not None:
        return values.gradient_checkpointing
    return not on_cpu and values.finetuning_type != "prefix_tuning"
