"""Everything that an experiment names, and where."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dtx_tasks.resolve.plugins import names_of_parameters
from dtx_tasks.spec import Dataset

if TYPE_CHECKING:
    from dtx_tasks.records import ResourceKind
    from dtx_tasks.spec import FinetuneExperiment
    from dtx_tasks.spec.base import SpecModel

Referred = list[tuple[str, "str | SpecModel"]]

AXES: dict[ResourceKind, tuple[str, str]] = {
    "LLM": ("llms", "llm"),
    "Dataset": ("datasets", "dataset"),
    "HyperparameterGroup": ("hyperparameters", "hyperparameters"),
}
"""By kind the key in the matrix, and in an entry."""


def referred(experiment: FinetuneExperiment, kind: ResourceKind) -> Referred:
    """Every name and definition of a kind, with its key path.

    Args:
        experiment: What the author wrote.
        kind: Of what.
    """
    if kind == "Scoring":
        return [("scoring", experiment.scoring)]
    axis, key = AXES[kind]
    matrix = experiment.matrix
    items = [(f"matrix.{axis}[{index}]", item) for index, item in enumerate(getattr(matrix, axis) if matrix else ())]
    items += [(f"matrix.include[{index}].{key}", getattr(entry, key)) for index, entry in enumerate(matrix.include if matrix else ())]
    return items + [(f"jobs[{index}].{key}", getattr(entry, key)) for index, entry in enumerate(experiment.jobs)]


def names_of(experiment: FinetuneExperiment, kind: ResourceKind) -> set[str]:
    """The names of a kind that an experiment leaves to the catalog, with their versions where it gives them.

    Args:
        experiment: What the author wrote.
        kind: Of what.
    """
    if kind == "PluginParameters":
        datasets = [item for _, item in referred(experiment, "Dataset") if isinstance(item, Dataset)]
        return {name for dataset in datasets for name in names_of_parameters(dataset)}
    items = [item for _, item in referred(experiment, kind)]
    defined = {item.name for item in items if not isinstance(item, str)}  # type: ignore[attr-defined]
    extended = {str(item.extends) for item in items if getattr(item, "extends", None)}  # type: ignore[union-attr]
    return ({item for item in items if isinstance(item, str)} | extended) - defined
