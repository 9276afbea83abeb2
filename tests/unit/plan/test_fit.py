"""Parts of a job that do not fit each other stop the plan, with what would fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dtx_tasks.errors import SpecError
from dtx_tasks.plan.rules import KINDS_OF_STAGES
from dtx_tasks.spec import Hyperparameters
from tests.builders import make_dataset_source, make_experiment, make_matrix, make_plan

if TYPE_CHECKING:
    from dtx_tasks.records import ExperimentPlan

REWARD = {"metrics": ("pairwise_accuracy",)}
LIKELY = {"metrics": ("perplexity",)}


def plan(kind: str, stage: str, scoring: dict[str, Any] | None = None, **data: Any) -> ExperimentPlan:
    """A plan of one job with a Dataset of a kind and a stage."""
    experiment = make_experiment(scoring={"metrics": scoring["metrics"]} if scoring else {})
    dataset, values = make_dataset_source("rows", kind=kind, **data), Hyperparameters(stage=stage, reward_model="r")  # type: ignore[arg-type]
    return make_plan(experiment, datasets={"rows": dataset}, groups={"quick": values})


@pytest.mark.parametrize(
    ("kind", "stage", "scoring"),
    [
        ("conversations", "sft", {}),
        ("conversations", "sft", LIKELY),
        ("text", "pt", LIKELY),
        ("preferences", "rm", REWARD),
        ("preferences", "dpo", {}),
        ("preferences", "orpo", {}),
        ("preferences", "simpo", {}),
        ("labels", "kto", {}),
    ],
)
def test_what_fits_is_planned(kind: str, stage: str, scoring: dict[str, Any]) -> None:
    """Every stage with rows that it learns from and scores that say something."""
    (job,) = plan(kind, stage, scoring).jobs
    assert (job.hyperparameters.stage, job.num_steps > 0) == (stage, True)


@pytest.mark.parametrize("stage", ["rloo", "grpo"])
def test_prompts_are_scored_on_another_dataset(stage: str) -> None:
    """They have no answers to compare with."""
    plan("prompts", stage, validation=None, test=None)
    with pytest.raises(
        SpecError, match=r"exact_match cannot be measured on rows of prompts \(the Dataset 'rows'\)\. Fitting: none: leave its validation and test out"
    ):
        plan("prompts", stage)


def test_too_few_prompts_for_a_step_stop_the_plan() -> None:
    """With what would do; what plugins make of rows is known later, and bad rows fail by themselves."""
    few: dict[str, Any] = {"num_rows": 3, "validation": None, "test": None}
    said = r"jobs: a step of 'quick' takes 4 prompts, and the Dataset 'rows' holds 3\. Use global_batch_size: 12 or less, or more prompts\.$"
    with pytest.raises(SpecError, match=said):
        plan("prompts", "grpo", **few)
    with pytest.raises(SpecError, match="holds 3"):
        plan("prompts", "rloo", **{**few, "num_rows": 30, "max_samples": 3})
    plan("prompts", "grpo", **{**few, "num_rows": 4})
    plan("prompts", "grpo", **few, problem="a bad row")


@pytest.mark.parametrize("stage", sorted(set(KINDS_OF_STAGES) - {"sft"}))
def test_rows_that_a_stage_does_not_learn_from_stop_the_plan(stage: str) -> None:
    """With the stage that does."""
    with pytest.raises(SpecError) as told:
        plan("conversations", stage)
    wanted = KINDS_OF_STAGES[stage][0]
    said = f"the experiment: jobs: {stage} of 'quick' learns from {wanted}, and the Dataset 'rows' holds conversations."
    assert str(told.value) == f"{said} Exclude the combination, or use stage: sft."


@pytest.mark.parametrize(
    ("kind", "stage", "scoring", "said"),
    [
        (
            "preferences",
            "rm",
            {},
            "exact_match cannot be measured of what 'quick' makes: a reward model writes nothing. Judge reward models by an experiment of their own",
        ),
        ("preferences", "dpo", REWARD, "pairwise_accuracy cannot be measured of what 'quick' makes: it is of reward models, and this is none."),
        ("text", "pt", {}, "exact_match cannot be measured on rows of text (the Dataset 'rows'). Fitting: perplexity."),
    ],
)
def test_scores_that_say_nothing_stop_the_plan(kind: str, stage: str, scoring: dict[str, Any], said: str) -> None:
    """Before a GPU is spent on jobs that cannot be compared."""
    with pytest.raises(SpecError) as told:
        plan(kind, stage, scoring)
    assert str(told.value).startswith(f"the experiment: scoring.metrics: {said}")


def test_each_mistake_is_told_once() -> None:
    """However many jobs share it."""
    groups = {name: Hyperparameters(stage="dpo") for name in ("a", "b")}
    with pytest.raises(SpecError) as told:
        make_plan(make_experiment(matrix=make_matrix(hyperparameters=list(groups), seeds=[1, 2])), groups=groups)
    assert len(told.value.mistakes) == len(groups)


def test_validation_loss_needs_validation_rows() -> None:
    """It would be measured on nothing, and nobody would be told."""
    experiment, values = make_experiment(), Hyperparameters(eval_steps=5)
    make_plan(experiment, groups={"quick": values})
    told = r"eval_steps of 'quick' measures the validation loss, and the Dataset 'rows' has no validation split\. Give it one"
    with pytest.raises(SpecError, match=told):
        return make_plan(experiment, datasets={"rows": make_dataset_source("rows", validation=None)}, groups={"quick": values})
