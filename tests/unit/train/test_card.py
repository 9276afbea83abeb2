"""The model card says what a checkpoint is."""

from __future__ import annotations

import pytest

from dtx_tasks.records import Difference
from dtx_tasks.train.card import model_card
from dtx_tasks.train.outcome import Outcome
from tests.builders import make_job, make_llm_source


def test_card_tells_the_group_with_its_changes_and_every_value() -> None:
    """The difference to the group that it extends, and the full set below."""
    job = make_job(learning_rate=0.01).model_copy(update={"difference": Difference(extends="lora", before={"learning_rate": 0.0001})})
    card = model_card(job, Outcome(num_steps=4))
    assert "The hyperparameter group quick is lora with learning_rate: 0.01 (there 0.0001).\n\n| hyperparameter | value |" in card
    assert "| learning_rate | 0.01 |" in card
    assert "| lora_rank | 8 |" in card


def test_card_says_what_was_trained_further() -> None:
    """The adapter is not a new one."""
    llm = make_llm_source("tuned").model_copy(update={"adapter": {"lora_rank": 4}})
    card = model_card(make_job(llm=llm), Outcome(num_steps=4))
    assert "An adapter (lora), trained further from **tuned** (`" in card
    assert "| lora_rank | 4 |" in card


@pytest.mark.parametrize(("architecture", "task"), [("llava", "image-text-to-text"), ("qwen2", "text-generation"), ("", "text-generation")])
def test_card_names_the_task_of_the_hub(architecture: str, task: str) -> None:
    """A model that sees is found among those that see."""
    llm = make_llm_source("base").model_copy(update={"architecture": architecture})
    assert f"pipeline_tag: {task}\n" in model_card(make_job(llm=llm), Outcome(num_steps=4))


def test_card_names_a_group_that_extends_nothing() -> None:
    """There is nothing to compare it with."""
    assert "The hyperparameter group is quick.\n" in model_card(make_job(), Outcome(num_steps=4))
