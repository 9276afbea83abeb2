"""The words of the spec are those of the libraries that read them."""

from __future__ import annotations

from typing import get_args

from transformers.trainer_utils import SchedulerType
from transformers.training_args import OptimizerNames
from trl import DPOConfig

from dtx_tasks.spec.choices import Optimizer, PreferenceLoss, Scheduler


def test_all_schedules_of_transformers_can_be_chosen() -> None:
    """And `greedy` or whatever it calls them next."""
    assert set(get_args(Scheduler)) == {each.value for each in SchedulerType}


def test_all_optimizers_of_transformers_can_be_chosen() -> None:
    """What runs where is said by the rules."""
    assert set(get_args(Optimizer)) == {each.value for each in OptimizerNames}


def test_losses_of_preferences_are_among_those_of_trl() -> None:
    """TRL documents them in the help of its option."""
    help_of = DPOConfig.__dataclass_fields__["loss_type"].metadata["help"]
    assert [loss for loss in get_args(PreferenceLoss) if f"'{loss}'" not in help_of] == []
