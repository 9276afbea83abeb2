"""The bundled hyperparameter groups: each can be trained as it is, and every stage and method has one to begin with."""

from __future__ import annotations

import re

import pytest

from dtx_tasks.catalog import config_folder, load_catalog
from dtx_tasks.plan import Case, advice, broken_rules
from dtx_tasks.plan.methods import METHODS, trained
from dtx_tasks.resolve import merged_values
from dtx_tasks.spec import REINFORCED, Hyperparameters, Resources, Target

GROUPS = load_catalog(config_folder()).groups
TOYS = ("lora-quick", "lora-timid", "full-quick")
"""Made for the example's model of 0.9 M parameters, which takes other learning rates than are advised."""

STARTERS = sorted(set(GROUPS) - set(TOYS))
GPU = Target(accelerator="cuda", count=8, memory_gib=80, compute_capability=8.0)


def values_of(name: str) -> Hyperparameters:
    """What a group comes to; the reward model is the one thing that only its user can name."""
    group = GROUPS[name]
    values = merged_values(group, GROUPS)
    assert isinstance(values, Hyperparameters), values
    return Hyperparameters(**{**values.model_dump(exclude_unset=True), "reward_model": "models/reward"}) if values.stage in REINFORCED else values


@pytest.mark.parametrize("name", sorted(GROUPS))
def test_group_breaks_no_rule_on_gpus(name: str) -> None:
    """Whatever it extends."""
    assert [mistake.problem for mistake in broken_rules(Case(values_of(name), Resources(), GPU))] == []


@pytest.mark.parametrize("name", STARTERS)
def test_group_follows_the_advice(name: str) -> None:
    """Whoever begins with one is not warned of it."""
    assert list(advice(values_of(name))) == []


@pytest.mark.parametrize("name", STARTERS)
def test_group_says_in_both_languages_what_it_is_for(name: str) -> None:
    """And more than its name does."""
    said = GROUPS[name].description
    assert len(said) > 40
    assert re.search("[\u4e00-\u9fff]", said)


@pytest.mark.parametrize("stage", sorted({stage for stage, _ in trained()}))
def test_stage_has_a_group_for_small_and_for_large_models(stage: str) -> None:
    """The large ones take few rows at a time."""
    rows = {values_of(name).per_device_train_batch_size for name in STARTERS if values_of(name).stage == stage}
    assert None in rows
    assert len(rows) > 1


@pytest.mark.parametrize("method", METHODS)
def test_method_has_a_group(method: str) -> None:
    """Each that some stage is trained by."""
    wanted = Hyperparameters(**METHODS[method]).model_dump(include={"finetuning_type", *METHODS[method]})
    assert any(wanted.items() <= values_of(name).model_dump().items() for name in STARTERS)
