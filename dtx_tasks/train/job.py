"""The recipe: one FinetuneJob from its prepared rows to a checkpoint in Hugging Face layout."""

from __future__ import annotations

import fcntl
import json
import math
import resource
import shutil
import time
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from datasets import Dataset
from transformers import AutoConfig, AutoTokenizer, PrinterCallback, set_seed

from dtx_tasks.errors import DataError, DivergedError, PreemptedError, SpecError, TransientError
from dtx_tasks.plan import with_rows
from dtx_tasks.records import TRAIN_FILE, VALIDATION_FILE, Attempt, FetchedLLM, PreparedDataset
from dtx_tasks.sight import copy_processor, load_sight
from dtx_tasks.spec import REINFORCED
from dtx_tasks.storage import bring, list_names, read_record, workplace
from dtx_tasks.template import stop_token_ids
from dtx_tasks.train.adapters import begin_adapter, drop_reference
from dtx_tasks.train.best import KeepBest, load_best
from dtx_tasks.train.card import model_card
from dtx_tasks.train.checkpoint import writer
from dtx_tasks.train.conversion import begin_conversion
from dtx_tasks.train.encoder import KeepEncoder
from dtx_tasks.train.model import load_model
from dtx_tasks.train.optimizer import projected_modules, use_own_optimizer
from dtx_tasks.train.outcome import Outcome
from dtx_tasks.train.pace import SHARE_OF_A_STEP, Pause
from dtx_tasks.train.padding import lays_end_to_end
from dtx_tasks.train.progress import DivergenceGuard, KeepNewest, Progress, SaveByClock, StopRequest, any_rank
from dtx_tasks.train.seeing import IMAGE_FILES, SeeingCollator
from dtx_tasks.train.sharding import keep_digits, shard_on_cpu
from dtx_tasks.train.stages import TRAINERS, rows_of_stage, stage_arguments

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transformers import GenerationConfig, Trainer

    from dtx_tasks.records import FinetuneJob, Layout
    from dtx_tasks.spec import Hyperparameters, Resources

LOCK_WAIT_S = 30.0
LIBRARIES = ("torch", "transformers", "trl", "peft", "accelerate", "deepspeed")
SUPERVISED = ("pt", "sft")
"""Stages whose loss is a cross entropy over the vocabulary."""

OF_TOKENS = (*SUPERVISED, "orpo", "simpo")
"""Stages whose loss is a mean of tokens, and not of rows alone."""


@dataclass(frozen=True)
class JobFolder:
    """Where one job reads and writes.

    Attributes:
        uri: The job's folder.
        llm_uri: The base LLM's files.
        llm_path: The same on this machine.
        adapter_path: Among them the adapter that is trained further; None where there is none.
        prepared_path: The PreparedDataset's files, on this machine.
        reward_path: The reward model's files, on this machine; None where there is none.
        is_main: Whether this process is rank 0.
        node: The machine that it runs on, from 0.
    """

    uri: str
    llm_uri: str
    llm_path: Path
    adapter_path: Path | None
    prepared_path: Path
    reward_path: Path | None
    is_main: bool
    node: int

    @classmethod
    def of(cls, layout: Layout, job: FinetuneJob, is_main: bool, node: int) -> JobFolder:
        """The folder of a job in a layout; what it reads is brought to this machine."""
        llm, prepared = layout.llm(job.llm.llm_id), layout.prepared(job.prepared_id)
        base, rows = read_record(f"{llm}/fetched.json", FetchedLLM), read_record(f"{prepared}/prepared.json", PreparedDataset)
        if base is None or rows is None:
            raise TransientError(f"{job.name}: its base or its prepared rows are not on storage.", "The stages before say why.")
        files = bring(f"{llm}/files", base.files)
        return cls(
            layout.job(job.job_id),
            f"{llm}/files",
            files,
            job.llm.adapter_in(files),
            bring(f"{prepared}/files", rows.files),
            _bring_reward(layout, job),
            is_main,
            node,
        )

    @property
    def work(self) -> Path:
        """Where attempts leave checkpoints, and the last one its result."""
        return workplace(f"{self.uri}/scratch")

    @property
    def events_uri(self) -> str:
        """Where progress is written, on this machine."""
        return str(workplace(self.uri) / "events.jsonl")

    @property
    def final(self) -> Path:
        """The checkpoint that is handed on."""
        return self.work / "final"

    def attempt(self) -> Attempt:
        """The attempt that is running: the last one that was written down.

        Raises:
            TransientError: There is none.
        """
        last = max((int(name.removesuffix(".json")) for name in list_names(f"{self.uri}/attempts")), default=0)
        found = read_record(f"{self.uri}/attempts/{last}.json", Attempt)
        if found is None:
            raise TransientError(f"{self.uri} has no attempt: start training by `dtx_tasks.entrypoints`.")
        return found

    def outcome_uri(self, rank: int) -> str:
        """Where a rank says how the attempt ended, on this machine."""
        return str(self.work / f"outcome-{rank}.json")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps a second training process out while an earlier one is still ending."""
        if not self.is_main:
            yield
            return
        self.work.mkdir(parents=True, exist_ok=True)
        with (self.work / "lock").open("w") as file:
            deadline = time.monotonic() + LOCK_WAIT_S
            while not _try_lock(file.fileno()):
                if time.monotonic() > deadline:
                    raise TransientError("Another process is training this job.", "It is waited for and tried again.")
                time.sleep(0.2)
            yield


def _bring_reward(layout: Layout, job: FinetuneJob) -> Path | None:
    if job.reward is None:
        return None
    folder = layout.llm(job.reward.llm_id)
    fetched = read_record(f"{folder}/fetched.json", FetchedLLM)
    if fetched is None:
        raise TransientError(f"{job.name}: its reward model is not on storage.", "The fetch stage says why.")
    return bring(f"{folder}/files", fetched.files)


def train_job(job: FinetuneJob, resources: Resources, folder: JobFolder, attempt: Attempt) -> Outcome:
    """Trains one job, from its last complete checkpoint if there is one.

    Args:
        job: What to train.
        resources: What it runs on.
        folder: Where to read and write.
        attempt: What was decided for this attempt.

    Returns:
        The outcome, from every rank; rank 0 has written the checkpoint by then.

    Raises:
        DivergedError: The loss is no number, or exploded.
        PreemptedError: The process was asked to stop; a checkpoint is written.
        DataError: There are too few rows for a step.
    """
    # The seed decides new weights and dropout, so it comes before the model.
    set_seed(job.seed)
    values = job.hyperparameters
    if values.compute_type == "fp16" and not torch.cuda.is_available():
        raise SpecError("compute_type: fp16 needs a GPU, and there is none here.", "Use fp32 or bf16.")
    tokenizer = AutoTokenizer.from_pretrained(folder.prepared_path / "tokenizer")
    stop = StopRequest()
    trainer = _trainer(job, resources, folder, attempt, tokenizer, stop)
    converted = begin_conversion(trainer.model, values, folder.work, is_main=folder.is_main)
    before = folder.work / f"checkpoint-{attempt.started_from_step}" if attempt.started_from_step else None
    started_at = time.monotonic()
    output = trainer.train(resume_from_checkpoint=str(before) if before else None)
    train_s = time.monotonic() - started_at
    _refuse_unfinished(trainer, output.training_loss, stop)

    # save_model gathers the shards of every rank under ZeRO-3: all of them call it, rank 0 writes.
    if folder.is_main:
        shutil.rmtree(folder.final, ignore_errors=True)
    if values.load_best_model_at_end:
        load_best(trainer)
    drop_reference(trainer.model)
    trainer.save_model(str(folder.final))
    outcome = _outcome(trainer, output, train_s, is_best=values.load_best_model_at_end)
    if folder.is_main:
        converted.save(folder.final)
        tokenizer.save_pretrained(folder.final)
        copy_processor(folder.prepared_path / "tokenizer", folder.final)
        if values.stage != "rm":
            _stopping_as_learned(trainer.model.generation_config, tokenizer).save_pretrained(folder.final)
        (folder.final / "training_args.bin").unlink(missing_ok=True)
        _name_base(folder)
        (folder.final / "README.md").write_text(model_card(job, outcome), encoding="utf-8")
    return outcome


def _refuse_unfinished(trainer: Trainer, training_loss: float, stop: StopRequest) -> None:
    """Raises what ended training before its last step, or made it worthless."""
    reached, wanted = trainer.state.global_step, trainer.args.max_steps
    if stop.is_wanted and reached < wanted:
        raise PreemptedError(f"Asked to stop at step {reached} of {wanted}; a checkpoint is written.")
    # The mean may be each rank's own; what follows is collective.
    if any_rank(not math.isfinite(training_loss), trainer.args):
        raise DivergedError(f"The mean loss is {training_loss}, or is no number on another rank.", "Try a lower learning rate, or compute_type: fp32.")
    if reached < wanted:
        hint = "Give it more of them, or a smaller global_batch_size: a step of rloo and grpo takes global_batch_size / num_generations prompts."
        raise DataError(f"Training ended at step {reached} of {wanted}: its {len(trainer.train_dataset)} rows fill no further step.", hint)


def _trainer(job: FinetuneJob, resources: Resources, folder: JobFolder, attempt: Attempt, tokenizer: Any, stop: StopRequest) -> Trainer:
    """The trainer of a job's stage, with everything that it works on."""
    values = job.hyperparameters
    trainer_class: Any
    trainer_class, arguments_class = TRAINERS[values.stage]
    config = AutoConfig.from_pretrained(folder.llm_path)
    rows = rows_of_stage(Dataset.from_file(str(folder.prepared_path / TRAIN_FILE)), values)
    sees = IMAGE_FILES in rows.column_names
    end_to_end = values.stage in SUPERVISED and not sees and lays_end_to_end(config, values, rows, attempt.micro_batch_size)
    of_stage = stage_arguments(values, tokenizer.pad_token_id, end_to_end=end_to_end)
    told = arguments_class(**{**_arguments(job, resources, folder, attempt.micro_batch_size), **of_stage, **({"remove_unused_columns": False} if sees else {})})
    if resources.fsdp and told.use_cpu:
        shard_on_cpu()
    model = load_model(folder.llm_path, values, tokenizer.pad_token_id)
    learner, new_adapter = begin_adapter(model, values, folder.llm_path, folder.adapter_path)
    guard = DivergenceGuard(model.config.get_text_config().vocab_size if values.stage in SUPERVISED else None)
    is_likelihood = values.stage in SUPERVISED and not values.label_smoothing_factor
    validation = _validation(folder, values)
    evaluations = Pause(steps_worth=len(validation or ()) / values.global_batch_size * SHARE_OF_A_STEP, at_the_end=True)
    progress = Progress(folder.events_uri, attempt.number, writer(resources), folder.node, is_likelihood=is_likelihood, evaluations=evaluations)
    # One more place for the best: transformers counts it among those that it keeps.
    newest = KeepNewest(values.save_total_limit + (1 if told.eval_strategy == "steps" else 0))
    best = [KeepBest()] if values.load_best_model_at_end else []
    trainer: Trainer = trainer_class(
        model=learner,
        args=told,
        train_dataset=rows,
        eval_dataset=validation,
        processing_class=tokenizer,
        peft_config=new_adapter,
        # The encoder first: Progress vouches for all that a checkpoint holds.
        callbacks=[KeepEncoder(), progress, newest, guard, *best, SaveByClock(values.save_minutes), stop],
        **({"reward_funcs": str(folder.reward_path)} if values.stage in REINFORCED else {}),
        **({"data_collator": _seeing(folder, config.model_type, tokenizer)} if sees else {}),
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


def _seeing(folder: JobFolder, architecture: str, tokenizer: Any) -> SeeingCollator:
    sight = load_sight(folder.prepared_path / "tokenizer", architecture, tokenizer)
    assert sight is not None
    return SeeingCollator(tokenizer.pad_token_id, sight, folder.prepared_path)


def _stopping_as_learned(base: GenerationConfig, tokenizer: Any) -> GenerationConfig:
    """How the base generates, with the ends of answers that were learned: whoever serves the checkpoint stops where scoring did."""
    stopping = deepcopy(base)
    stopping.eos_token_id, stopping.pad_token_id = stop_token_ids(tokenizer), tokenizer.pad_token_id
    return stopping


def _validation(folder: JobFolder, values: Hyperparameters) -> Dataset | None:
    """The rows whose loss is measured on the way, if that is wanted and there are any."""
    path = folder.prepared_path / VALIDATION_FILE
    return rows_of_stage(Dataset.from_file(str(path)), values) if values.eval_steps and path.exists() else None


def _arguments(job: FinetuneJob, resources: Resources, folder: JobFolder, micro_batch_size: int) -> dict[str, Any]:
    """What the trainer of every stage is told, under transformers' names: a name that changes there changes here."""
    values = job.hyperparameters
    on_cpu = not torch.cuda.is_available()
    is_measured = bool(values.eval_steps) and (folder.prepared_path / VALIDATION_FILE).exists()
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


def _name_base(folder: JobFolder) -> None:
    """Has an adapter name its base as storage does, not as this machine's cache."""
    path = folder.final / "adapter_config.json"
    if path.exists():
        path.write_text(path.read_text(encoding="utf-8").replace(json.dumps(str(folder.llm_path)), json.dumps(folder.llm_uri)), encoding="utf-8")


def _outcome(trainer: Trainer, output: Any, train_s: float, *, is_best: bool) -> Outcome:
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    measured = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
    parameters = list(trainer.model.parameters())
    memory = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Outcome(
        num_steps=trainer.state.global_step,
        num_trained_tokens=int(trainer.state.num_input_tokens_seen),
        final_loss=float(losses[-1] if losses else output.training_loss),
        best_step=int(trainer.state.best_global_step or 0) if is_best else 0,
        validation_loss=float(trainer.state.best_metric if is_best else measured[-1]) if measured else None,
        num_trained_parameters=sum(_size(parameter) for parameter in parameters if parameter.requires_grad),
        num_parameters=sum(_size(parameter) for parameter in parameters),
        train_s=round(train_s, 2),
        peak_memory_bytes=int(memory),
        libraries={name: version(name) for name in LIBRARIES},
    )


def _size(parameter: torch.nn.Parameter) -> int:
    # Under ZeRO-3 a parameter is empty on every rank but knows its whole size.
    return int(getattr(parameter, "ds_numel", parameter.numel()))


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
