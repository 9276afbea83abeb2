"""The model card: what a checkpoint is, for people and for the hub's metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING

from huggingface_hub import ModelCardData

from dtx_tasks.plan.architectures import known
from dtx_tasks.plan.identity import learned_values
from dtx_tasks.spec import ADAPTERS

if TYPE_CHECKING:
    from dtx_tasks.records import FinetuneJob
    from dtx_tasks.train.outcome import Outcome


def model_card(job: FinetuneJob, outcome: Outcome) -> str:
    """The README.md of a checkpoint.

    Args:
        job: What was trained.
        outcome: What came of it.
    """
    method, stage = job.hyperparameters.finetuning_type, job.hyperparameters.stage
    is_adapter = method in ADAPTERS
    metadata = ModelCardData(
        base_model=job.llm.name,
        library_name="peft" if is_adapter else "transformers",
        pipeline_tag=_task(job),
        tags=["dtx", stage, method],
    )
    made = f"An adapter ({method}) on" if is_adapter else f"A fine-tune ({method}) of"
    if job.llm.adapter:
        made = f"An adapter ({method}), trained further from"
    values = {**learned_values(job.hyperparameters), "seed": job.seed}
    rows = "\n".join(f"| {key} | {value} |" for key, value in values.items())
    return f"""---
{metadata.to_yaml()}
---

# {job.name}

{made} **{job.llm.name}** (`{job.llm.revision}`), trained on the Dataset **{job.dataset_name}**.

{_steps(outcome.num_steps)}, {outcome.num_trained_tokens} tokens, final training loss {outcome.final_loss:.4f};{_measured(outcome)}
{outcome.num_trained_parameters} of {outcome.num_parameters} parameters were trained. Job `{job.job_id}`.

{f"The hyperparameter group {job.changes}." if job.changes else f"The hyperparameter group is {job.group_name}."}

| hyperparameter | value |
| --- | --- |
{rows}

The chat template that it was trained with is in the tokenizer's files: serve it with the same one.
"""


def _task(job: FinetuneJob) -> str:
    """What the hub calls that which the model does."""
    if job.hyperparameters.stage == "rm":
        return "text-classification"
    return "image-text-to-text" if job.llm.architecture in known()["sees"] - known()["writes"] else "text-generation"


def _steps(number: int) -> str:
    return "1 step" if number == 1 else f"{number} steps"


def _measured(outcome: Outcome) -> str:
    if outcome.validation_loss is None:
        return ""
    told = f"\nvalidation loss {outcome.validation_loss:.4f}"
    return f"{told}, the lowest: these are the weights of step {outcome.best_step};" if outcome.best_step else f"{told};"
