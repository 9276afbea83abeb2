"""Looks up everything that an experiment names, and collects every mistake on the way."""

from __future__ import annotations

from collections import ChainMap
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from dtx_tasks.catalog import DATASETS, GROUPS, LLMS, PARAMETERS, SCORINGS, content_of, digest_of_version
from dtx_tasks.dataset import leaked_rows
from dtx_tasks.errors import Mistake, SpecError, nearest
from dtx_tasks.plan import ResolvedInputs
from dtx_tasks.records import Layout, ResourceVersion
from dtx_tasks.resolve.files import Allowed, resolve_dataset, resolve_llm
from dtx_tasks.resolve.groups import chain_of, merged_values
from dtx_tasks.resolve.own import OwnFiles, files_of
from dtx_tasks.resolve.plugins import names_of_parameters, with_parameters
from dtx_tasks.resolve.references import Referred, referred
from dtx_tasks.settings import root
from dtx_tasks.spec import LLM, Dataset, HyperparameterGroup, Scoring
from dtx_tasks.spec.base import SpecModel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dtx_tasks.catalog import Catalog, Kind
    from dtx_tasks.records import DatasetSource, LLMSource
    from dtx_tasks.resolve.files import ResolvedDataset
    from dtx_tasks.spec import FinetuneExperiment, Hyperparameters

Resource = TypeVar("Resource", bound=SpecModel)


@dataclass(frozen=True)
class Origin:
    """Where an experiment came from, and so what its paths mean.

    Attributes:
        folder: What relative paths count from; None where there is no file, as for a request by REST.
        roots: Folders that paths may lead into; None means anywhere, as for the author's own shell.
    """

    folder: Path | None
    roots: tuple[Path | str, ...] | None = None


@dataclass
class _Lookup:
    experiment: FinetuneExperiment
    catalog: Catalog
    origin: Origin
    mistakes: list[Mistake] = field(default_factory=list)
    versions: dict[ResourceVersion, None] = field(default_factory=dict)
    """In the order in which they were found, each once."""

    def definitions(self, kind: type[Resource], referred: Referred, bundled: Mapping[str, Resource]) -> Iterator[tuple[str, str, Resource]]:
        """Key path, name and definition of each resource that is named; what is unknown becomes a mistake."""
        here = {item.name: item for _, item in referred if isinstance(item, kind)}  # type: ignore[attr-defined]
        seen: dict[str, SpecModel] = {}
        for path, item in referred:
            found = item if isinstance(item, kind) else here.get(str(item)) or bundled.get(str(item))
            if found is None:
                self.mistakes.append(Mistake(path, f"there is no {kind.__name__} of this name (got {item!r})", nearest(str(item), {*here, *bundled})))
                continue
            name: str = found.name  # type: ignore[attr-defined]
            if name in seen and seen[name] != found:
                self.mistakes.append(Mistake(path, f"{name!r} is defined twice, differently", "Rename one of the definitions."))
            if name not in seen:
                seen[name] = found
                yield path, name, found

    def own(self, kind: Kind, found: SpecModel) -> OwnFiles | None:
        """What knows the files of the user's own resource; None for one that is bundled or defined in place."""
        version = self.catalog.own(kind, _name(found)) if self.catalog.holds(kind, found) else None
        if version is None:
            return None
        return OwnFiles(version, _name(found) != version.name, Allowed(None, self.origin.roots), Layout(root(), self.experiment.team))

    def allowed(self, kind: Kind, found: SpecModel) -> Allowed:
        """What the paths of a definition count from, and where they may lead."""
        if self.catalog.holds(kind, found):
            return Allowed(self.catalog.folders.get((kind.name, _name(found))), None)
        return Allowed(self.origin.folder, self.origin.roots)

    def note(self, kind: Kind, found: SpecModel, files: Mapping[str, str] | None = None) -> None:
        """Notes which version of a named resource is used; a definition in place has none."""
        if not self.catalog.holds(kind, found):
            return
        own = self.catalog.own(kind, _name(found))
        digest = digest_of_version(kind, own.content if own else content_of(found), files or {})
        used = ResourceVersion(kind=kind.name, name=own.name if own else _name(found), version=own.number if own else None, digest=digest)
        self.versions[used] = None

    def note_chain(self, group: HyperparameterGroup, known: Mapping[str, HyperparameterGroup]) -> None:
        """Notes a group and all that it extends."""
        chain = chain_of(group, known)
        for link in () if isinstance(chain, Mistake) else chain:
            self.note(GROUPS, link)


def resolve(experiment: FinetuneExperiment, catalog: Catalog, origin: Origin) -> ResolvedInputs:
    """Looks up what an experiment names.

    Args:
        experiment: What the author wrote.
        catalog: The named resources.
        origin: What its paths count from, and where they may lead.

    Raises:
        SpecError: With every mistake: unknown names, files that are missing or out of bounds.
    """
    lookup = _Lookup(experiment, catalog, origin)
    llms, found = dict(_llms(lookup)), dict(_datasets(lookup))
    inputs = {
        "llms": llms,
        "datasets": {name: dataset.source for name, dataset in found.items()},
        "groups": dict(_groups(lookup)),
        "scoring": _scoring(lookup),
        "num_leaked_rows": _leakage(lookup, found),
    }
    _refuse_unscorable(lookup, inputs["datasets"])  # type: ignore[arg-type]
    _refuse_uneven(lookup, inputs["groups"])  # type: ignore[arg-type]
    if lookup.mistakes:
        raise SpecError("\n".join(mistake.text("the experiment") for mistake in lookup.mistakes), mistakes=lookup.mistakes)
    return ResolvedInputs(experiment=experiment, versions=tuple(lookup.versions), **inputs)


def _name(found: SpecModel) -> str:
    return str(found.name)  # type: ignore[attr-defined]


def _llms(lookup: _Lookup) -> Iterator[tuple[str, LLMSource]]:
    for path, name, llm in lookup.definitions(LLM, referred(lookup.experiment, "LLM"), lookup.catalog.llms):
        own = lookup.own(LLMS, llm)
        found = own.llm(llm) if own else resolve_llm(llm, lookup.allowed(LLMS, llm))
        if isinstance(found, Mistake):
            lookup.mistakes.append(Mistake(f"{path}{found.key_path}", found.problem, found.remedy))
        else:
            lookup.note(LLMS, llm, files_of(found))
            yield name, found


def _datasets(lookup: _Lookup) -> Iterator[tuple[str, ResolvedDataset]]:
    for path, name, dataset in lookup.definitions(Dataset, referred(lookup.experiment, "Dataset"), lookup.catalog.datasets):
        found = _dataset(lookup, dataset)
        if isinstance(found, list):
            lookup.mistakes += [Mistake(f"{path}{mistake.key_path}", mistake.problem, mistake.remedy) for mistake in found]
        else:
            lookup.note(DATASETS, dataset, files_of(found.source))
            for reference in names_of_parameters(dataset):
                lookup.note(PARAMETERS, lookup.catalog.parameters[reference])
            yield name, found


def _dataset(lookup: _Lookup, dataset: Dataset) -> ResolvedDataset | list[Mistake]:
    told = with_parameters(dataset, lookup.catalog.parameters)
    if isinstance(told, list):
        return told
    own = lookup.own(DATASETS, dataset)
    return own.dataset(told) if own else resolve_dataset(told, lookup.allowed(DATASETS, dataset))


def _groups(lookup: _Lookup) -> Iterator[tuple[str, Hyperparameters]]:
    items = referred(lookup.experiment, "HyperparameterGroup")
    named = {item.name: item for _, item in items if isinstance(item, HyperparameterGroup)}
    # Not one dictionary: the catalog also finds names with a version, over which it does not iterate.
    known = cast("Mapping[str, HyperparameterGroup]", ChainMap(named, lookup.catalog.groups))  # type: ignore[arg-type]
    for path, name, group in lookup.definitions(HyperparameterGroup, items, lookup.catalog.groups):
        values = merged_values(group, known)
        if isinstance(values, Mistake):
            lookup.mistakes.append(Mistake(f"{path}{values.key_path}", values.problem, values.remedy))
            continue
        lookup.note_chain(group, known)
        yield name, values


def _scoring(lookup: _Lookup) -> Scoring:
    for _, _, scoring in lookup.definitions(Scoring, referred(lookup.experiment, "Scoring"), lookup.catalog.scorings):
        lookup.note(SCORINGS, scoring)
        metric = lookup.experiment.selection.metric
        if metric not in scoring.metrics:
            remedy = f"Choose one of {', '.join(scoring.metrics)}, or add it to the metrics of the Scoring."
            lookup.mistakes.append(Mistake("selection.metric", f"the Scoring does not measure it (got {metric!r})", remedy))
        return scoring
    return Scoring()


def _leakage(lookup: _Lookup, datasets: dict[str, ResolvedDataset]) -> int:
    """Rows that are scored on and learned from: a score on them says nothing, but the author may know why it does not matter here."""
    # A Dataset with bad rows is not prepared: nothing of it is learned or scored on.
    found = leaked_rows({name: dataset.scans for name, dataset in datasets.items() if dataset.scans and not dataset.source.problem})
    if found and lookup.experiment.allow_leakage is None:
        problem = f"{len(found)} rows that are scored on are learned from too, the first is {found[0]}"
        remedy = "Remove them from the train split, or say why it does not matter here: `allow_leakage: REASON`."
        lookup.mistakes.append(Mistake("allow_leakage", problem, remedy))
    return len(found)


def _refuse_unscorable(lookup: _Lookup, datasets: dict[str, DatasetSource]) -> None:
    if datasets and not any(len(dataset.files) > 1 for dataset in datasets.values()):
        remedy = "Give at least one Dataset a `validation` or a `test` file."
        lookup.mistakes.append(Mistake("scoring", "there is no row to score on: every Dataset has only a train split", remedy))


def _refuse_uneven(lookup: _Lookup, groups: dict[str, Hyperparameters]) -> None:
    """Every process takes the same number of rows of a step: another batch would be another result."""
    processes = lookup.experiment.resources.num_processes
    for name, values in groups.items():
        if values.global_batch_size % processes:
            problem = f"must divide global_batch_size {values.global_batch_size} of {name!r} (got {processes})"
            lookup.mistakes.append(Mistake("resources.processes", problem, "Every process takes the same number of rows."))
