"""How many optimiser steps a job takes, and of what."""

from typing import Any

import pytest

from dtx_tasks.plan.steps import amount_of, num_steps, with_rows
from dtx_tasks.spec import Hyperparameters
from tests.builders import make_dataset_source, make_experiment, make_job, make_plan


@pytest.mark.parametrize(
    ("values", "rows", "steps"),
    [
        ({"global_batch_size": 16, "num_train_epochs": 3}, 32, 6),
        ({"global_batch_size": 16, "num_train_epochs": 3}, 33, 9),
        ({"global_batch_size": 16, "num_train_epochs": 0.5}, 48, 2),
        ({"global_batch_size": 16, "num_train_epochs": 0.01}, 16, 1),
        ({"global_batch_size": 64, "num_train_epochs": 1}, 3, 1),
        ({"global_batch_size": 16, "num_train_epochs": 3}, 0, 1),
        ({"max_steps": 7, "num_train_epochs": 100}, 1000, 7),
        ({"stage": "grpo", "global_batch_size": 16, "num_generations": 4, "num_train_epochs": 1}, 100, 25),
        ({"stage": "rloo", "global_batch_size": 16, "num_generations": 8, "num_train_epochs": 2}, 7, 6),
        ({"stage": "grpo", "global_batch_size": 16, "num_generations": 2, "num_train_epochs": 0.1}, 8, 1),
    ],
)
def test_steps_follow_from_epochs_and_batch(values: dict[str, Any], rows: int, steps: int) -> None:
    """Whole batches an epoch, the last one as small as it comes; prompts that fill none are left out; max_steps overrules."""
    assert num_steps(Hyperparameters(**values), rows) == steps


def test_max_samples_limits_the_steps() -> None:
    """Only so many rows of the train split are learned."""
    known = {"datasets": {"rows": make_dataset_source(num_rows=100, max_samples=16)}, "groups": {"quick": Hyperparameters(num_train_epochs=1.0)}}
    assert make_plan(make_experiment(), **known).jobs[0].num_steps == 1


def test_steps_follow_the_rows_that_were_prepared() -> None:
    """Plugins may have left rows out; a number of steps that the author named stays."""
    assert with_rows(make_job(num_train_epochs=2.0, global_batch_size=4), 8).num_steps == 4
    assert with_rows(make_job(max_steps=7), 8).num_steps == 7
    job = make_job()
    assert with_rows(job, 20) == job


@pytest.mark.parametrize(
    ("values", "amount"),
    [
        ({}, (20, 10)),
        ({"cutoff_len": 8}, (20, 8)),
        ({"packing": True, "cutoff_len": 100}, (2, 100)),
        ({"packing": True, "cutoff_len": 8}, (20, 8)),
        ({"packing": True, "cutoff_len": 8, "stage": "pt"}, (25, 8)),
    ],
)
def test_packed_rows_are_guessed_to_be_as_many_blocks_as_their_tokens_fill(values: dict[str, Any], amount: tuple[int, int]) -> None:
    """Of 20 rows with some 10 tokens each; long texts are learned in pieces, long answers are cut."""
    assert amount_of(make_dataset_source(num_rows=20), Hyperparameters(**values)) == amount


def test_answers_of_the_model_itself_are_counted_as_tokens() -> None:
    """All answers to each prompt, each with its prompt."""
    job = make_job(dataset=make_dataset_source(num_rows=4, kind="prompts", validation=None, test=None), stage="rloo", max_steps=2, max_new_tokens=6)
    assert job.num_tokens == 2 * 16 * (10 + 6)
