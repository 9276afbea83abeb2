"""Advice: what can be trained, and is seldom meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dtx_tasks.spec import Hyperparameters
from dtx_tasks.spec.hyperparameters import Advised

if TYPE_CHECKING:
    from collections.abc import Iterator


def advice(values: Hyperparameters) -> Iterator[str]:
    """What is possible but outside of the advised range.

    Args:
        values: The hyperparameters of a group.
    """
    for name in sorted(values.model_fields_set):
        value = getattr(values, name)
        for advised in Hyperparameters.model_fields[name].metadata:
            if isinstance(advised, Advised) and value is not None and not advised.holds(value):
                yield f"{name}: {value} is outside of what is advised ({advised})"
