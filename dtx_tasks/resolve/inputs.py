"""Looks up everything that an experiment names, and collects every mistake on the way."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from dtx_tasks.dataset import leaked_rows
from dtx_tasks.errors import Mistake, SpecError, nearest
from dtx_tasks.plan import ResolvedInputs
from dtx_tasks.resolve.files import Allowed, resolve_dataset, resolve_llm
from dtx_tasks.resolve.groups import merged_values
from dtx_tasks.spec import Dataset, Scoring
from dtx_tasks.spec.base import SpecModel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dtx_tasks.catalog import Catalog
    from dtx_tasks.records import DatasetSource, LLMSource
    from dtx_tasks.resolve.files import ResolvedDataset
    from dtx_tasks.spec import FinetuneExperiment, HyperparameterGroup, Hyperparameters

Resource = TypeVar("Resource", bound=SpecModel)
Referred = list[tuple[str, "str | SpecModel"]]


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

    def allowed(self, kind: str, name: str, is_bundled: bool) -> Allowed:
        """What the paths of a definition count from, and where they may lead."""
        if is_bundled:
            return Allowed(self.catalog.folders.get((kind, name)), None)
        return Allowed(self.origin.folder, self.origin.roots)


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
    return ResolvedInputs(experiment=experiment, **inputs)


def _referred(experiment: FinetuneExperiment, axis: str, key: str) -> Referred:
    """Everything on one axis of the experiment, with its key path."""
    matrix = experiment.matrix
    items = [(f"matrix.{axis}[{index}]", item) for index, item in enumerate(getattr(matrix, axis) if matrix else ())]
    items += [(f"matrix.include[{index}].{key}", getattr(entry, key)) for index, entry in enumerate(matrix.include if matrix else ())]
    return items + [(f"jobs[{index}].{key}", getattr(entry, key)) for index, entry in enumerate(experiment.jobs)]


def _llms(lookup: _Lookup) -> Iterator[tuple[str, LLMSource]]:
    from dtx_tasks.spec import LLM

    for path, name, llm in lookup.definitions(LLM, _referred(lookup.experiment, "llms", "llm"), lookup.catalog.llms):
        found = resolve_llm(llm, lookup.allowed("LLM", name, lookup.catalog.llms.get(name) is llm))
        if isinstance(found, Mistake):
            lookup.mistakes.append(Mistake(f"{path}{found.key_path}", found.problem, found.remedy))
        else:
            yield name, found


def _datasets(lookup: _Lookup) -> Iterator[tuple[str, ResolvedDataset]]:
    for path, name, dataset in lookup.definitions(Dataset, _referred(lookup.experiment, "datasets", "dataset"), lookup.catalog.datasets):
        found = resolve_dataset(dataset, lookup.allowed("Dataset", name, lookup.catalog.datasets.get(name) is dataset))
        if isinstance(found, list):
            lookup.mistakes += [Mistake(f"{path}{mistake.key_path}", mistake.problem, mistake.remedy) for mistake in found]
        else:
            yield name, found


def _groups(lookup: _Lookup) -> Iterator[tuple[str, Hyperparameters]]:
    from dtx_tasks.spec import HyperparameterGroup

    referred = _referred(lookup.experiment, "hyperparameters", "hyperparameters")
    named = {item.name: item for _, item in referred if isinstance(item, HyperparameterGroup)}
    known: dict[str, HyperparameterGroup] = {**lookup.catalog.groups, **named}
    for path, name, group in lookup.definitions(HyperparameterGroup, referred, lookup.catalog.groups):
        values = merged_values(group, known)
        if isinstance(values, Mistake):
            lookup.mistakes.append(Mistake(f"{path}{values.key_path}", values.problem, values.remedy))
        else:
            yield name, values


def _scoring(lookup: _Lookup) -> Scoring:
    referred: Referred = [("scoring", lookup.experiment.scoring)]
    for _, _, scoring in lookup.definitions(Scoring, referred, lookup.catalog.scorings):
        metric = lookup.experiment.selection.metric
        if metric not in scoring.metrics:
            remedy = f"Choose one of {', '.join(scoring.metrics)}, or add it to the metrics of the Scoring."
            lookup.mistakes.append(Mistake("selection.metric", f"the Scoring does not measure it (got {metric!r})", remedy))
        return scoring
    return Scoring()


def _leakage(lookup: _Lookup, datasets: dict[str, ResolvedDataset]) -> int:
    """Rows that are scored on and learned from: a score on them says nothing, but the author may know why it does not matter here."""
    # A Dataset with bad rows is not prepared: nothing of it is learned or scored on.
    found = leaked_rows({name: dataset.scans for name, dataset in datasets.items() if not dataset.source.problem})
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
