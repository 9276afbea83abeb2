"""A hyperparameter group and everything it extends, as one set of values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dtx_tasks.catalog import GROUPS
from dtx_tasks.errors import Mistake, nearest
from dtx_tasks.records import Difference
from dtx_tasks.spec import Hyperparameters, idle_mistakes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dtx_tasks.spec import HyperparameterGroup


def merged_values(group: HyperparameterGroup, known: Mapping[str, HyperparameterGroup]) -> Hyperparameters | Mistake:
    """The values of a group: its own, then those it extends, then the defaults.

    Args:
        group: The group.
        known: Every group, by name.

    Returns:
        The values, or what is wrong with the chain of `extends` or with the values together.
    """
    chain = chain_of(group, known)
    if isinstance(chain, Mistake):
        return chain
    named = _named(chain)
    return _refused(named) or Hyperparameters.model_validate(named)


def chain_of(group: HyperparameterGroup, known: Mapping[str, HyperparameterGroup]) -> list[HyperparameterGroup] | Mistake:
    """A group and everything that it extends, nearest first.

    Args:
        group: The group.
        known: Every group, by name.
    """
    chain = [group]
    while (parent := chain[-1].extends) is not None:
        if parent not in known:
            return Mistake(".extends", f"there is no HyperparameterGroup of this name (got {parent!r})", nearest(parent, known, GROUPS.listing))
        if any(parent == link.name for link in chain):
            return Mistake(".extends", f"goes in a circle through {parent!r}", "End the chain in a group that extends nothing.")
        chain.append(known[parent])
    return chain


def namer_of(key: str, group: HyperparameterGroup, known: Mapping[str, HyperparameterGroup]) -> HyperparameterGroup:
    """The group that a value comes from: this one, or the nearest that it extends; this one where none names it.

    Args:
        key: A hyperparameter.
        group: One whose chain of `extends` is right.
        known: Every group, by name.
    """
    chain = chain_of(group, known)
    links = () if isinstance(chain, Mistake) else chain
    return next((link for link in links if key in link.model_fields_set), group)


def difference_of(group: HyperparameterGroup, known: Mapping[str, HyperparameterGroup]) -> Difference | None:
    """What a group changes of the one that it extends; None where it extends nothing.

    Args:
        group: One whose chain of `extends` is right.
        known: Every group, by name.
    """
    chain = chain_of(group, known)
    if isinstance(chain, Mistake) or len(chain) < 2:
        return None
    values, before = (Hyperparameters.model_validate(_named(links)).model_dump(mode="json") for links in (chain, chain[1:]))
    return Difference(extends=chain[1].name, before={name: value for name, value in before.items() if value != values[name]})


def _named(chain: list[HyperparameterGroup]) -> dict[str, object]:
    return {name: value for link in reversed(chain) for name, value in link.own_values().items()}


def _refused(named: dict[str, object]) -> Mistake | None:
    values = Hyperparameters.model_validate(named)
    idle = next(iter(idle_mistakes(values, named.keys())), None)
    if idle:
        return idle
    if values.mask_history and values.train_on_prompt:
        said = "does not go together with train_on_prompt: one learns less of a conversation, the other all of it"
        return Mistake(".mask_history", said, "Remove one of them.")
    micro, total = values.per_device_train_batch_size, values.global_batch_size
    if micro and total % micro:
        return Mistake(".per_device_train_batch_size", f"must divide global_batch_size {total} (got {micro})", "Accumulation takes whole steps.")
    return None
