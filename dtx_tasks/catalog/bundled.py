"""The bundled resources: one YAML file each, below config/; LLMs of the hub by family."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from dtx_tasks.catalog.kinds import DATASETS, GROUPS, LLMS, PARAMETERS, SCORINGS
from dtx_tasks.catalog.names import MergedNames
from dtx_tasks.errors import SpecError
from dtx_tasks.settings import bundled_folder
from dtx_tasks.spec import LLM, Dataset, Family, HyperparameterGroup, PluginParameters, Scoring, load_text, parse

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dtx_tasks.catalog.kinds import Kind
    from dtx_tasks.catalog.version import Version
    from dtx_tasks.spec.base import SpecModel

Resource = TypeVar("Resource", bound="SpecModel")

FAMILIES = "models/families"


@dataclass(frozen=True)
class Catalog:
    """Every named resource, and the folder that the relative paths of a bundled one count from."""

    llms: Mapping[str, LLM] = field(default_factory=dict)
    datasets: Mapping[str, Dataset] = field(default_factory=dict)
    groups: Mapping[str, HyperparameterGroup] = field(default_factory=dict)
    scorings: Mapping[str, Scoring] = field(default_factory=dict)
    parameters: Mapping[str, PluginParameters] = field(default_factory=dict)
    folders: Mapping[tuple[str, str], Path] = field(default_factory=dict)
    """By kind and name."""

    def of(self, kind: Kind) -> Mapping[str, SpecModel]:
        """The resources of a kind, by name."""
        named: dict[str, Mapping[str, SpecModel]] = {
            "LLM": self.llms,
            "Dataset": self.datasets,
            "HyperparameterGroup": self.groups,
            "Scoring": self.scorings,
            "PluginParameters": self.parameters,
        }
        return named[kind.name]

    def holds(self, kind: Kind, spec: SpecModel) -> bool:
        """Whether a definition came from here; one in place may have the same name."""
        names = self.of(kind)
        return names.holds(spec) if isinstance(names, MergedNames) else names.get(spec.name) is spec  # type: ignore[attr-defined]

    def own(self, kind: Kind, reference: str) -> Version | None:
        """The version of the user's own that a reference means; None for a bundled resource and for what is unknown."""
        names = self.of(kind)
        return names.version(reference) if isinstance(names, MergedNames) else None


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
    folders: dict[tuple[str, str], Path] = {}
    return Catalog(
        llms=_load(folder / LLMS.folder, LLM, folders) | {llm.name: llm for family in load_families(folder) for llm in family.llms()},
        datasets=_load(folder / DATASETS.folder, Dataset, folders),
        groups=_load(folder / GROUPS.folder, HyperparameterGroup, folders),
        scorings=_load(folder / SCORINGS.folder, Scoring, folders),
        parameters=_load(folder / PARAMETERS.folder, PluginParameters, folders),
        folders=folders,
    )


def load_families(folder: Path) -> list[Family]:
    """The families of base models that a configuration folder knows, by file name.

    Raises:
        SpecError: A file has mistakes.
    """
    return [parse(load_text(path.read_text(encoding="utf-8"), str(path)), Family) for path in sorted((folder / FAMILIES).glob("*.yaml"))]


def _load(folder: Path, kind: type[Resource], folders: dict[tuple[str, str], Path]) -> dict[str, Resource]:
    found: dict[str, Resource] = {}
    for path in sorted(folder.glob("*.yaml")):
        resource = parse(load_text(path.read_text(encoding="utf-8"), str(path)), kind)
        name = str(resource.name)  # type: ignore[attr-defined]
        if name in found:
            raise SpecError(f"{path}: name: {name!r} stands in another file of this folder too.", "Rename one of them.")
        found[name] = resource
        folders[(kind.__name__, name)] = path.parent
    return found
