"""The recipe: one FinetuneJob from its prepared rows to a checkpoint in Hugging Face layout."""

from __future__ import annotations

import json
import math
import resource
import shutil
import time
from copy import deepcopy
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoTokenizer, set_seed

from dtx_tasks.errors import DataError, DivergedError, PreemptedError, SpecError
from dtx_tasks.sight import copy_processor
from dtx_tasks.template import stop_token_ids
from dtx_tasks.train.adapters import drop_reference
from dtx_tasks.train.best import load_best
from dtx_tasks.train.card import model_card
from dtx_tasks.train.conversion import begin_conversion
from dtx_tasks.train.outcome import Outcome
from dtx_tasks.train.progress import StopRequest, any_rank
from dtx_tasks.train.seeing import IMAGE_FILES
from dtx_tasks.train.trainer import make_trainer

if TYPE_CHECKING:
    from transformers import GenerationConfig, Trainer

    from dtx_tasks.records import Attempt, FinetuneJob
    from dtx_tasks.spec import Resources
    from dtx_tasks.train.conversion import Conversion
    from dtx_tasks.train.folder import JobFolder

LIBRARIES = ("torch", "transformers", "trl", "peft", "accelerate", "deepspeed")


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
    trainer = make_trainer(job, resources, folder, attempt, tokenizer, stop)
    converted = begin_conversion(trainer.model, values, folder.work, is_main=folder.is_main)
    before = folder.work / f"checkpoint-{attempt.started_from_step}" if attempt.started_from_step else None
    started_at = time.monotonic()
    output = trainer.train(resume_from_checkpoint=str(before) if before else None)
    train_s = time.monotonic() - started_at
    _refuse_unfinished(trainer, output.training_loss, stop)

    _save_model(trainer, folder, is_best=values.load_best_model_at_end)
    outcome = _outcome(trainer, output, train_s, is_best=values.load_best_model_at_end)
    if folder.is_main:
        _complete(trainer, folder, converted, tokenizer, is_rater=values.stage == "rm")
        (folder.final / "README.md").write_text(model_card(job, outcome), encoding="utf-8")
    return outcome


def _save_model(trainer: Trainer, folder: JobFolder, *, is_best: bool) -> None:
    """Every rank's part of it: under ZeRO-3 the shards of all are gathered, and rank 0 writes."""
    if folder.is_main:
        shutil.rmtree(folder.final, ignore_errors=True)
    if is_best:
        load_best(trainer)
    drop_reference(trainer.model)
    trainer.save_model(str(folder.final))


def _complete(trainer: Trainer, folder: JobFolder, converted: Conversion, tokenizer: Any, *, is_rater: bool) -> None:
    """Makes what was saved a model that others can load: its encoder, how it stops, what it is based on."""
    converted.save(folder.final)
    tokenizer.save_pretrained(folder.final)
    copy_processor(folder.prepared_path / "tokenizer", folder.final)
    if not is_rater:
        _stopping_as_learned(trainer.model.generation_config, tokenizer).save_pretrained(folder.final)
    (folder.final / "training_args.bin").unlink(missing_ok=True)
    _name_base(folder)


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


def _stopping_as_learned(base: GenerationConfig, tokenizer: Any) -> GenerationConfig:
    """How the base generates, with the ends of answers that were learned: whoever serves the checkpoint stops where scoring did."""
    stopping = deepcopy(base)
    stopping.eos_token_id, stopping.pad_token_id = stop_token_ids(tokenizer), tokenizer.pad_token_id
    return stopping


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
        libraries={name: version(name) for name in (*LIBRARIES, *(["pillow"] if IMAGE_FILES in trainer.train_dataset.column_names else []))},
    )


def _size(parameter: torch.nn.Parameter) -> int:
    # Under ZeRO-3 a parameter is empty on every rank but knows its whole size.
    return int(getattr(parameter, "ds_numel", parameter.numel()))
