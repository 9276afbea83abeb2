"""Identities: content hashes of what changes the result, and of nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dtx_tasks.plan.architectures import SEEING
from dtx_tasks.records import EncodeOptions, digest_of
from dtx_tasks.spec import Hyperparameters, follows_validation, idle, rows_compared
from dtx_tasks.spec.hyperparameters import WITHOUT_EFFECT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dtx_tasks.records import DatasetSource, LLMSource
    from dtx_tasks.spec import FinetuneExperiment, Scoring

CODE_VERSIONS = {"fetch": 2, "prepare": 2, "train": 2, "score": 2, "select": 1, "register": 1}
"""Raised by hand when a stage's code changes its result: everything it made is then made again."""


def prepared_id(llm: LLMSource, dataset: DatasetSource, options: EncodeOptions) -> str:
    """Of a PreparedDataset: rows, mapping, tokenizer, template, length and what is learned of a row."""
    switched_on = [name for name, value in options if value is True]
    return digest_of(["prepared", CODE_VERSIONS["prepare"], llm.revision, llm.template, dataset.digest, options.cutoff_len, *switched_on, *_sight(llm)])


def encode_options(values: Hyperparameters) -> EncodeOptions:
    """The hyperparameters that a row is prepared by."""
    return EncodeOptions(**values.model_dump(include=set(EncodeOptions.model_fields)))


def job_id(llm: LLMSource, dataset: DatasetSource, values: Hyperparameters, seed: int, reward: LLMSource | None = None) -> str:
    """Of a FinetuneJob: base revision, the rows it learns from and how they are written, hyperparameters, seed, and the reward model by what it is.

    The rows of the other splits stay out, so that a corrected test row costs no training; those of validation count where their loss decides.
    """
    base = [llm.kind, llm.revision, llm.template, *_sight(llm)]
    measured = [dataset.validation_digest] if follows_validation(values) else []
    return digest_of(["job", CODE_VERSIONS["train"], base, dataset.train_digest, _chosen(values, reward), seed, *measured])


def _sight(llm: LLMSource) -> list[str]:
    """What is prepared for a model that sees, and what it is trained to, holds its processor: earlier code left it out."""
    return ["processor"] if llm.architecture in SEEING else []


def _chosen(values: Hyperparameters, reward: LLMSource | None) -> dict[str, Any]:
    """Those that are not at their default: one that is added later changes no identity, and a changed default must raise the code version."""
    defaults = Hyperparameters().model_dump(mode="json")
    named = {key: value for key, value in learned_values(values).items() if value != defaults[key]}
    return named | ({"reward_model": reward.revision} if reward else {})


def learned_values(values: Hyperparameters) -> dict[str, Any]:
    """The hyperparameters that change what is learned."""
    unused = WITHOUT_EFFECT.union(idle(values), ["num_train_epochs"] if values.max_steps is not None else [])
    if follows_validation(values):
        unused -= {"eval_steps"}
    named = {key: value for key, value in values.model_dump(mode="json").items() if key not in unused}
    if values.stage == "kto":
        named["per_device_train_batch_size"] = rows_compared(values)
    return named | ({"lora_alpha": lora_alpha(values)} if "lora_alpha" in named else {})


def lora_alpha(values: Hyperparameters) -> int:
    """The adapters' scale: twice the rank where the author named none."""
    return values.lora_alpha if values.lora_alpha is not None else 2 * values.lora_rank


def scoring_id(scoring: Scoring, datasets: Iterable[DatasetSource]) -> str:
    """Of a way to score on certain rows."""
    judged = scoring.model_dump(mode="json", exclude={"name", "description", "batch_size"})
    return digest_of(["scoring", CODE_VERSIONS["score"], judged, sorted({dataset.scored_digest for dataset in datasets})])


def plan_id(experiment: FinetuneExperiment, checkpoint_ids: Iterable[str], scoring: str) -> str:
    """Of a plan: the same jobs judged in the same way, to the same end."""
    end = [experiment.name, experiment.team, experiment.selection.model_dump(mode="json"), experiment.registered_name]
    return digest_of(["plan", end, sorted(checkpoint_ids), scoring])
