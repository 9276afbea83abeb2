"""The bundled resources: one YAML file each, below config/."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from dtx_tasks.errors import SpecError
from dtx_tasks.settings import bundled_folder
from dtx_tasks.spec import LLM, Dataset, HyperparameterGroup, Scoring, load_text, parse

if TYPE_CHECKING:
    from pathlib import Path

    from dtx_tasks.spec.base import SpecModel

Resource = TypeVar("Resource", bound="SpecModel")


@dataclass(frozen=True)
class Catalog:
    """Every named resource, and the folder that its relative paths count from."""

    llms: dict[str, LLM] = field(default_factory=dict)
    datasets: dict[str, Dataset] = field(default_factory=dict)
    groups: dict[str, HyperparameterGroup] = field(default_factory=dict)
    scorings: dict[str, Scoring] = field(default_factory=dict)
    folders: dict[tuple[str, str], Path] = field(default_factory=dict)
    """By kind and name."""


def config_folder() -> Path:
    """Where the bundled files are.

    Raises:
        SpecError: Nothing is there.
    """
    folder = bundled_folder("config")
    if not (folder / "hyperparameters").is_dir():
        raise SpecError(f"{folder} holds no configuration.", "Set DTX_CONFIG to a folder with hyperparameters/, models/ and datasets/.")
    return folder


def load_catalog(folder: Path) -> Catalog:
    """Reads every resource of a configuration folder.

    Raises:
        SpecError: A file has mistakes, or a name stands twice.
    """
    catalog = Catalog()
    _load(folder / "models", LLM, catalog.llms, catalog)
    _load(folder / "datasets", Dataset, catalog.datasets, catalog)
    _load(folder / "hyperparameters", HyperparameterGroup, catalog.groups, catalog)
    _load(folder / "scorings", Scoring, catalog.scorings, catalog)
    return catalog


def _load(folder: Path, kind: type[Resource], into: dict[str, Resource], catalog: Catalog) -> None:
    for path in sorted(folder.glob("*.yaml")):
        resource = parse(load_text(path.read_text(encoding="utf-8"), str(path)), kind)
        name = str(resource.name)  # type: ignore[attr-defined]
        if name in into:
            raise SpecError(f"{path}: name: {name!r} stands in another file of this folder too.", "Rename one of them.")
        into[name] = resource
        catalog.folders[(kind.__name__, name)] = path.parent
