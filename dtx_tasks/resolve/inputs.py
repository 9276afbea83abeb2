"""Looks up everything that an experiment names, and collects every mistake on the way."""

from __future__ import annotations

from collections import ChainMap
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from dtx_tasks.catalog import DATASETS, GROUPS, KINDS, LLMS, PARAMETERS, SCORINGS, content_of, digest_of_version
from dtx_tasks.catalog.backend import load_backend
from dtx_tasks.dataset import leaked_rows
from dtx_tasks.errors import Mistake, SpecError, nearest
from dtx_tasks.plan import Case, ResolvedInputs, advice, broken_resources, broken_rules, cells
from dtx_tasks.plan.architectures import blind, unsuited
from dtx_tasks.plan.continued import contradicted
from dtx_tasks.records import Layout, ResourceVersion
from dtx_tasks.resolve.files import Allowed, resolve_dataset
from dtx_tasks.resolve.groups import chain_of, difference_of, merged_values, namer_of
from dtx_tasks.resolve.leakage import near_leakage
from dtx_tasks.resolve.llm import resolve_llm
from dtx_tasks.resolve.moved import MOVED, Moved, Number
from dtx_tasks.resolve.own import OwnFiles, files_of
from dtx_tasks.resolve.plugins import names_of_parameters, with_parameters
from dtx_tasks.resolve.references import Referred, referred
from dtx_tasks.settings import root
from dtx_tasks.spec import LLM, REINFORCED, Dataset, HyperparameterGroup, Scoring
from dtx_tasks.spec.base import SpecModel
from dtx_tasks.template import TEMPLATES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dtx_tasks.catalog import Catalog, Kind
    from dtx_tasks.records import DatasetSource, Difference, LLMSource
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
    rewards: dict[str, LLMSource] = field(default_factory=dict)
    differences: dict[str, Difference] = field(default_factory=dict)
    versions: dict[ResourceVersion, None] = field(default_factory=dict)
    """In the order in which they were found, each once."""
    notes: list[str] = field(default_factory=list)

    def definitions(self, kind: type[Resource], referred: Referred, bundled: Mapping[str, Resource]) -> Iterator[tuple[str, str, Resource]]:
        """Key path, name and definition of each resource that is named; what is unknown becomes a mistake."""
        here = {item.name: item for _, item in referred if isinstance(item, kind)}  # type: ignore[attr-defined]
        seen: dict[str, SpecModel] = {}
        for path, item in referred:
            found = item if isinstance(item, kind) else here.get(str(item)) or bundled.get(str(item))
            if found is None:
                remedy = nearest(str(item), {*here, *bundled}, _listing_of(kind))
                self.mistakes.append(Mistake(path, f"there is no {kind.__name__} of this name (got {item!r})", remedy))
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
        return OwnFiles(version, _name(found) != version.name, self.allowed(kind, found), Layout(root(), self.experiment.team))

    def allowed(self, kind: Kind, found: SpecModel) -> Allowed:
        """What the paths of a definition count from, and where they may lead."""
        if not self.catalog.holds(kind, found):
            return Allowed(self.origin.folder, self.origin.roots)
        if self.catalog.own(kind, _name(found)):
            # What anybody of the team has saved leads no further than whoever asks may read.
            return Allowed(None, self.origin.roots)
        return Allowed(self.catalog.folders.get((kind.name, _name(found))), None)

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
    moved = dict(_moved(lookup))
    llms, found, groups = dict(_llms(lookup)), dict(_datasets(lookup, moved)), dict(_groups(lookup))
    datasets = {name: dataset.source for name, dataset in found.items()}
    inputs = {"llms": llms, "datasets": datasets, "groups": groups, "scoring": _scoring(lookup), "num_leaked_rows": _leakage(lookup, found)}
    if "val_size" not in moved:
        _refuse_unscorable(lookup, datasets)
    lookup.mistakes += broken_resources(experiment.resources)
    _refuse_uneven(lookup, groups)
    _refuse_endless(lookup, llms, groups)
    _refuse_unsuited(lookup, llms, groups)
    _refuse_blind(lookup, llms, datasets, groups)
    if lookup.mistakes:
        raise SpecError("\n".join(mistake.text("the experiment") for mistake in lookup.mistakes), mistakes=lookup.mistakes)
    notes = (*lookup.notes, *_doubts(found), *near_leakage(found))
    found_on_the_way = {"rewards": lookup.rewards, "differences": lookup.differences, "versions": tuple(lookup.versions)}
    return ResolvedInputs(experiment=experiment, notes=notes, **found_on_the_way, **inputs)


def _doubts(datasets: Mapping[str, ResolvedDataset]) -> Iterator[str]:
    """What is suspicious about the rows of each Dataset; it stops nothing."""
    for name, dataset in datasets.items():
        if dataset.doubts:
            said = ", ".join(f"{count} {code}" for code, count in sorted(dataset.doubts.items()))
            yield f"The rows of {name} have warnings ({said}): `dtx dataset check` shows where"


def _listing_of(model: type[SpecModel]) -> str:
    return next(kind.listing for kind in KINDS if kind.model is model)


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


def _datasets(lookup: _Lookup, moved: Mapping[str, Number | None]) -> Iterator[tuple[str, ResolvedDataset]]:
    """Every Dataset, with what is moved to it from the hyperparameters."""
    for path, name, dataset in lookup.definitions(Dataset, referred(lookup.experiment, "Dataset"), lookup.catalog.datasets):
        validation = moved.get("val_size")
        if validation is not None and dataset.validation is not None:
            problem = f"{name!r} has a validation split of its own, and the hyperparameters hold another one out of it: val_size {validation}"
            lookup.mistakes.append(Mistake(path, problem, "Remove val_size from the hyperparameters, or `validation` from the Dataset."))
            continue
        found = _dataset(lookup, dataset, moved)
        if isinstance(found, list):
            lookup.mistakes += [Mistake(f"{path}{mistake.key_path}", mistake.problem, mistake.remedy) for mistake in found]
        else:
            lookup.note(DATASETS, dataset, files_of(found.source))
            for reference in names_of_parameters(dataset):
                lookup.note(PARAMETERS, lookup.catalog.parameters[reference])
            yield name, found


def _dataset(lookup: _Lookup, dataset: Dataset, moved: Mapping[str, Number | None]) -> ResolvedDataset | list[Mistake]:
    told = with_parameters(dataset, lookup.catalog.parameters)
    if isinstance(told, list):
        return told
    changed = told.model_copy(update={key.of_dataset: key.beside(getattr(told, key.of_dataset), value) for key in MOVED if (value := moved.get(key.of_group))})
    own = lookup.own(DATASETS, dataset)
    return own.dataset(changed) if own else resolve_dataset(changed, lookup.allowed(DATASETS, dataset))


def _moved(lookup: _Lookup) -> Iterator[tuple[str, Number | None]]:
    """What the hyperparameters say of every Dataset: all groups the same, or nothing, or a mistake, of which no value is left."""
    known, groups = _known_groups(lookup), dict[str, tuple[str, HyperparameterGroup]]()
    for path, item in referred(lookup.experiment, "HyperparameterGroup"):
        group = item if isinstance(item, HyperparameterGroup) else known.get(str(item))
        if group:
            groups.setdefault(group.name, (path, group))
    for key in MOVED:
        said = {name: (path, getattr(namer_of(key.of_group, group, known), key.of_group)) for name, (path, group) in groups.items()}
        wanted = {value for _, value in said.values()} - {None}
        if wanted:
            yield key.of_group, _agreed(lookup, key, said)


def _agreed(lookup: _Lookup, key: Moved, said: Mapping[str, tuple[str, Number | None]]) -> Number | None:
    """What all groups say, which is noted; or None, and a mistake.

    Args:
        lookup: Where both are put.
        key: Of what.
        said: By name of a group where it is named first, and what it says; one of them at least says something.
    """
    path, value = next((path, value) for path, value in said.values() if value is not None)
    if any(other != value for _, other in said.values()):
        all_of_them = ", ".join(f"{name!r} {'none' if value is None else value}" for name, (_, value) in said.items())
        lookup.mistakes.append(Mistake(f"{path}.{key.of_group}", f"differs among the hyperparameter groups: {all_of_them}", key.remedy))
        return None
    lookup.notes.append(f"{key.of_group} {value} of the hyperparameters is moved to the Datasets: {key.note}")
    return value


def _known_groups(lookup: _Lookup) -> Mapping[str, HyperparameterGroup]:
    here = {item.name: item for _, item in referred(lookup.experiment, "HyperparameterGroup") if isinstance(item, HyperparameterGroup)}
    # Not one dictionary: the catalog also finds names with a version, over which it does not iterate.
    return cast("Mapping[str, HyperparameterGroup]", ChainMap(here, lookup.catalog.groups))  # type: ignore[arg-type]


def _groups(lookup: _Lookup) -> Iterator[tuple[str, Hyperparameters]]:
    items, known = referred(lookup.experiment, "HyperparameterGroup"), _known_groups(lookup)
    resources, target = lookup.experiment.resources, load_backend().target
    for path, name, group in lookup.definitions(HyperparameterGroup, items, lookup.catalog.groups):
        values = merged_values(group, known)
        if isinstance(values, Mistake):
            lookup.mistakes.append(Mistake(f"{path}{values.key_path}", values.problem, values.remedy))
            continue
        lookup.mistakes += [Mistake(f"{path}{found.key_path}", found.problem, found.remedy) for found in broken_rules(Case(values, resources, target))]
        lookup.notes += [f"{name}: {sentence}" for sentence in advice(values)]
        lookup.note_chain(group, known)
        _note_reward(lookup, path, group, known, values)
        difference = difference_of(group, known)
        if difference:
            lookup.differences[name] = difference
        yield name, values


def _note_reward(lookup: _Lookup, path: str, group: HyperparameterGroup, known: Mapping[str, HyperparameterGroup], values: Hyperparameters) -> None:
    """Finds the reward model of a group that learns by one; its path means what it does in the group that names it."""
    if values.stage not in REINFORCED or values.reward_model is None:
        return
    namer = namer_of("reward_model", group, known)
    found = resolve_llm(LLM(name=f"reward of {group.name}"[:100].rstrip(), source=values.reward_model), lookup.allowed(GROUPS, namer))
    if isinstance(found, Mistake):
        lookup.mistakes.append(Mistake(f"{path}.reward_model", found.problem, found.remedy))
    elif not found.is_reward:
        problem = f"is no reward model: neither a model ForSequenceClassification nor an adapter of task_type SEQ_CLS (got {values.reward_model!r})"
        lookup.mistakes.append(Mistake(f"{path}.reward_model", problem, "Name the folder of one that stage: rm made."))
    else:
        lookup.rewards[group.name] = found


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


def _refuse_endless(lookup: _Lookup, llms: dict[str, LLMSource], groups: dict[str, Hyperparameters]) -> None:
    """Whatever is learned behind an answer that has no end mark, the model learns to write behind its answers."""
    if lookup.mistakes:
        return
    for llm, group in dict.fromkeys((cell.llm, cell.hyperparameters) for cell in cells(lookup.experiment)):
        template = TEMPLATES.get(llms[llm].template)
        if groups[group].train_on_prompt and template and not template.can_train_on_prompt:
            problem = f"train_on_prompt of {group!r} does not fit {llm!r}: its template {llms[llm].template} has no mark where an earlier answer ends"
            lookup.mistakes.append(Mistake("", problem, "Remove train_on_prompt, or choose another `template` of the LLM."))


def _refuse_unsuited(lookup: _Lookup, llms: dict[str, LLMSource], groups: dict[str, Hyperparameters]) -> None:
    """What a model cannot do, by its head, its architecture, or the adapter that is trained further."""
    if lookup.mistakes:
        return
    for llm, group in dict.fromkeys((cell.llm, cell.hyperparameters) for cell in cells(lookup.experiment)):
        if llms[llm].is_reward and groups[group].stage != "rm":
            problem = f"{group!r} does not fit {llm!r}: it is a reward model, which rates answers and writes none, and {groups[group].stage} learns to write"
            lookup.mistakes.append(Mistake("", problem, "Start from a model that writes, or use stage: rm."))
            continue
        reason = unsuited(llms[llm].architecture, groups[group]) or contradicted(llms[llm], groups[group], lookup.experiment.resources)
        if reason:
            lookup.mistakes.append(Mistake("", f"{group!r} does not fit {llm!r}: {reason[0]}", reason[1]))


def _refuse_blind(lookup: _Lookup, llms: dict[str, LLMSource], datasets: dict[str, DatasetSource], groups: dict[str, Hyperparameters]) -> None:
    """Everything of a plan is scored on the same rows: where one Dataset has images, every model must see them."""
    name = next((name for name, dataset in datasets.items() if dataset.has_images), None)
    if lookup.mistakes or name is None:
        return
    resources = lookup.experiment.resources
    if resources.fsdp or resources.deepspeed == "zero3":
        problem = f"{resources.strategy} does not fit {name!r}, whose rows have images: a process whose rows have none would not ask for the weights that see"
        lookup.mistakes.append(Mistake("resources", problem, "Use deepspeed: zero2, or leave it out."))
    for llm, group in dict.fromkeys((cell.llm, cell.hyperparameters) for cell in cells(lookup.experiment)):
        template = TEMPLATES.get(llms[llm].template)
        reason = blind(llms[llm].architecture, groups[group])
        if reason is None and (template is None or template.image is None):
            able = ", ".join(sorted(known for known, template in TEMPLATES.items() if template.image is not None))
            reason = f"its template {llms[llm].template} has no place for images", f"Set `template` of the LLM to one of: {able}."
        if reason:
            lookup.mistakes.append(Mistake("", f"{group!r} on {llm!r} does not fit {name!r}, whose rows have images: {reason[0]}", reason[1]))
