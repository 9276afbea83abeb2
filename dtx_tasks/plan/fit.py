"""Whether the parts of a job fit each other: rows that its stage learns from, and scores that say something of what it makes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dtx_tasks.errors import Mistake
from dtx_tasks.plan.rules import KINDS_OF_STAGES
from dtx_tasks.plan.steps import num_train_rows, prompts_a_step
from dtx_tasks.spec import GENERATED, REINFORCED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dtx_tasks.records import DatasetSource
    from dtx_tasks.spec import Hyperparameters, Kind, Metric, Scoring

METRICS_OF_KINDS: dict[Kind, tuple[Metric, ...]] = {
    "conversations": (*GENERATED, "perplexity"),
    "preferences": (*GENERATED, "perplexity", "pairwise_accuracy"),
    "labels": (*GENERATED, "perplexity"),
    "text": ("perplexity",),
    "prompts": (),
}
"""What can be measured on the rows of a Dataset: answers need a question and a reference, pairs need both answers."""


def unfit(jobs: Iterable[tuple[str, Hyperparameters, DatasetSource]], scoring: Scoring) -> Iterator[Mistake]:
    """What does not fit, each once.

    Args:
        jobs: The group of hyperparameters by name, its values and the Dataset of each job.
        scoring: How all of them are judged.
    """
    told: set[tuple[str, str]] = set()
    for group, values, dataset in jobs:
        mistake = (
            _wrong_kind(group, values, dataset)
            or _too_few(group, values, dataset)
            or _unmeasured(group, values, dataset)
            or _wrong_metric(group, values, dataset, scoring)
        )
        if mistake and (mistake.key_path, mistake.problem) not in told:
            told.add((mistake.key_path, mistake.problem))
            yield mistake


def _wrong_kind(group: str, values: Hyperparameters, dataset: DatasetSource) -> Mistake | None:
    wanted = KINDS_OF_STAGES.get(values.stage, ())
    if not wanted or dataset.kind in wanted:
        return None
    stages = [stage for stage, kinds in KINDS_OF_STAGES.items() if dataset.kind in kinds]
    problem = f"{values.stage} of {group!r} learns from {' or '.join(wanted)}, and the Dataset {dataset.name!r} holds {dataset.kind}"
    return Mistake("jobs", problem, f"Exclude the combination, or use stage: {' or '.join(stages)}.")


def _too_few(group: str, values: Hyperparameters, dataset: DatasetSource) -> Mistake | None:
    # Bad rows fail when they are prepared, and what plugins make of rows is known then.
    if values.stage not in REINFORCED or dataset.problem or dataset.plugins:
        return None
    num_rows, wanted = num_train_rows(dataset), prompts_a_step(values)
    if num_rows >= wanted:
        return None
    problem = f"a step of {group!r} takes {wanted} prompts, and the Dataset {dataset.name!r} holds {num_rows}"
    return Mistake("jobs", problem, f"Use global_batch_size: {num_rows * values.num_generations} or less, or more prompts.")


def _unmeasured(group: str, values: Hyperparameters, dataset: DatasetSource) -> Mistake | None:
    if not values.eval_steps or "validation" in dataset.files:
        return None
    problem = f"eval_steps of {group!r} measures the validation loss, and the Dataset {dataset.name!r} has no validation split"
    return Mistake("jobs", problem, "Give it one (`validation: 0.1` holds out a share), or leave eval_steps out.")


def _wrong_metric(group: str, values: Hyperparameters, dataset: DatasetSource, scoring: Scoring) -> Mistake | None:
    by_reward = values.stage == "rm"
    for metric in scoring.metrics:
        if (metric == "pairwise_accuracy") is not by_reward:
            said = "a reward model writes nothing" if by_reward else "it is of reward models, and this is none"
            remedy = "Judge reward models by an experiment of their own, with metrics: [pairwise_accuracy] and selection: {metric: pairwise_accuracy}."
            return Mistake("scoring.metrics", f"{metric} cannot be measured of what {group!r} makes: {said}", remedy)
        if len(dataset.files) > 1 and metric not in METRICS_OF_KINDS[dataset.kind]:
            fitting = ", ".join(METRICS_OF_KINDS[dataset.kind]) or "none: leave its validation and test out and score on another Dataset"
            return Mistake("scoring.metrics", f"{metric} cannot be measured on rows of {dataset.kind} (the Dataset {dataset.name!r})", f"Fitting: {fitting}.")
    return None
