"""A hyperparameter group with everything it extends."""

from typing import Any

import pytest

from dtx_tasks.errors import Mistake
from dtx_tasks.records import Difference
from dtx_tasks.resolve.groups import difference_of, merged_values
from dtx_tasks.spec import HyperparameterGroup, Hyperparameters


def groups(**values: dict[str, Any]) -> dict[str, HyperparameterGroup]:
    return {name: HyperparameterGroup(name=name, **given) for name, given in values.items()}


def merged(name: str, **values: dict[str, Any]) -> Hyperparameters:
    known = groups(**values)
    found = merged_values(known[name], known)
    assert isinstance(found, Hyperparameters)
    return found


def told(name: str, **values: dict[str, Any]) -> str:
    known = groups(**values)
    found = merged_values(known[name], known)
    assert isinstance(found, Mistake)
    return found.text("e.yaml")


def test_group_without_values_is_the_defaults() -> None:
    """A name alone is enough."""
    assert merged("a", a={}) == Hyperparameters()


def test_nearer_values_count() -> None:
    """Its own, then its parent's, then those of the parent's parent."""
    first, second, third = {"lora_rank": 1, "max_steps": 1, "save_steps": 1}, {"lora_rank": 2, "max_steps": 2}, {"lora_rank": 3}
    found = merged("c", a=first, b={"extends": "a", **second}, c={"extends": "b", **third})
    assert (found.lora_rank, found.max_steps, found.save_steps) == (3, 2, 1)


def test_default_that_is_written_out_counts() -> None:
    """A child can take a parent's value back."""
    assert merged("b", a={"max_steps": 5}, b={"extends": "a", "max_steps": None}).max_steps is None


def test_unknown_parent_is_answered_with_the_nearest() -> None:
    """All groups are told."""
    said = "there is no HyperparameterGroup of this name (got 'qick'). Did you mean 'quick'? Known: a, quick."
    assert told("a", a={"extends": "qick"}, quick={}) == f"e.yaml: .extends: {said}"


@pytest.mark.parametrize("values", [{"a": {"extends": "a"}}, {"a": {"extends": "b"}, "b": {"extends": "a"}}])
def test_circle_is_told(values: dict[str, dict[str, Any]]) -> None:
    """A chain must end."""
    assert told("a", **values) == "e.yaml: .extends: goes in a circle through 'a'. End the chain in a group that extends nothing."


def test_circle_further_up_is_told() -> None:
    """Also where the group itself is no part of it."""
    assert "goes in a circle through 'b'" in told("a", a={"extends": "b"}, b={"extends": "c"}, c={"extends": "b"})


@pytest.mark.parametrize("parent", [{}, {"lora_rank": 4}])
def test_adapters_beside_full_training_are_told(parent: dict[str, Any]) -> None:
    """A value without effect is a mistake, inherited or not."""
    own = {} if parent else {"lora_rank": 4}
    said = "has no effect with finetuning_type: full. Remove it, or set finetuning_type: lora."
    assert told("a", a={"extends": "p", "finetuning_type": "full", **own}, p=parent) == f"e.yaml: .lora_rank: {said}"


@pytest.mark.parametrize(
    "values", [{"per_device_train_batch_size": 5}, {"per_device_train_batch_size": 32}, {"per_device_train_batch_size": 8, "global_batch_size": 12}]
)
def test_micro_batch_that_does_not_divide_is_told(values: dict[str, int]) -> None:
    """Accumulation takes whole steps."""
    total, micro = values.get("global_batch_size", 16), values["per_device_train_batch_size"]
    said = f"must divide global_batch_size {total} (got {micro}). Accumulation takes whole steps."
    assert told("a", a=values) == f"e.yaml: .per_device_train_batch_size: {said}"


@pytest.mark.parametrize("parent", [{}, {"mask_history": True}])
def test_mask_history_and_train_on_prompt_are_told(parent: dict[str, Any]) -> None:
    """As in LLaMA-Factory they contradict each other, inherited or not."""
    said = "does not go together with train_on_prompt: one learns less of a conversation, the other all of it. Remove one of them."
    own = {"train_on_prompt": True} | ({} if parent else {"mask_history": True})
    assert told("a", a={"extends": "p", **own}, p=parent) == f"e.yaml: .mask_history: {said}"


def test_either_of_them_may_be_taken_back() -> None:
    """A child that learns otherwise than its parent says so."""
    found = merged("b", a={"mask_history": True}, b={"extends": "a", "mask_history": False, "train_on_prompt": True})
    assert (found.mask_history, found.train_on_prompt) == (False, True)


def test_difference_is_to_the_group_that_is_extended() -> None:
    """Values that are only written again are none, and those of further groups are that one's own."""
    known = groups(a={"lora_rank": 4}, b={"extends": "a", "learning_rate": 0.01}, c={"extends": "b", "learning_rate": 0.02, "lora_rank": 4, "max_steps": 5})
    assert difference_of(known["c"], known) == Difference(extends="b", before={"learning_rate": 0.01, "max_steps": None})
    assert difference_of(known["a"], known) is None
