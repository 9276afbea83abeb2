"""Freezing: all weights stay as they are but those of some layers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dtx_tasks.errors import SpecError, nearest

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from dtx_tasks.spec import Hyperparameters

LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.(\d+)\.")
"""How the layers of decoders are numbered in the names of their weights."""


def freeze(model: PreTrainedModel, values: Hyperparameters) -> None:
    """Leaves only the named modules of the last (or first) layers to be trained, and the extra ones.

    Args:
        model: It is changed.
        values: Which layers and which modules.

    Raises:
        SpecError: The model has fewer layers, or no module of a name.
    """
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    layers = _layers(names, values.freeze_trainable_layers)
    extra = _listed(values.freeze_extra_modules)
    if values.stage == "rm":
        # The head is new: it must be learned whatever else is.
        extra += ["score"]
    wanted = [name for name in names if _layer(name) in layers and _is_named(name, values.freeze_trainable_modules)]
    wanted += [name for name in names if _layer(name) is None and any(part in extra for part in name.split("."))]
    _refuse_unknown(names, [*_listed(values.freeze_extra_modules), *_modules(values)])
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in wanted)


def _layers(names: list[str], number: int) -> set[int]:
    known = sorted({layer for name in names if (layer := _layer(name)) is not None})
    if number == 0 or abs(number) > len(known):
        raise SpecError(
            f"freeze_trainable_layers: {number} does not fit: the model has {len(known)} layers.", "Name 1 to that many; negative for the first ones."
        )
    return set(known[-number:] if number > 0 else known[:-number])


def _layer(name: str) -> int | None:
    found = LAYER.search(name)
    return int(found[1]) if found else None


def _modules(values: Hyperparameters) -> list[str]:
    return [] if values.freeze_trainable_modules == "all" else _listed(values.freeze_trainable_modules)


def _is_named(name: str, modules: str) -> bool:
    return modules == "all" or any(part in _listed(modules) for part in name.split("."))


def _listed(names: str | None) -> list[str]:
    return [name.strip() for name in names.split(",")] if names else []


def _refuse_unknown(names: list[str], wanted: list[str]) -> None:
    known = {part for name in names for part in name.split(".") if not part.isdigit()}
    for name in wanted:
        if name not in known:
            raise SpecError(f"The model has no module {name!r} to train.", nearest(name, known))
