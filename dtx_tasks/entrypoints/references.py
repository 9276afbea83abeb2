"""Who refers to a named resource: experiments that were planned, files that run by the clock, other resources."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dtx_tasks.catalog import DATASETS, GROUPS, PARAMETERS, own_resources
from dtx_tasks.errors import SpecError
from dtx_tasks.records import ExperimentPlan, Layout, ResourceVersion, RunReference
from dtx_tasks.resolve import names_of
from dtx_tasks.settings import schedules_folder
from dtx_tasks.spec import FinetuneExperiment, load_text, parse
from dtx_tasks.storage import list_names, read_record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dtx_tasks.catalog import Kind


def users_of(kind: Kind, name: str, *, team: str, root: str) -> list[str]:
    """Everything that refers to one of the user's own resources, each as a person would look for it.

    Args:
        kind: What it is.
        name: Its name, without a version.
        team: Whose.
        root: The storage root.
    """
    return [*_plans(kind, name, Layout(root, team)), *_schedules(kind, name, team), *_groups(kind, name, team), *_datasets(kind, name, team)]


def _plans(kind: Kind, name: str, layout: Layout) -> Iterator[str]:
    folder = f"{layout.base}/experiments"
    for experiment in list_names(folder):
        for plan_id in list_names(f"{folder}/{experiment}"):
            place = f"{folder}/{experiment}/{plan_id}"
            labels = sorted({used.label for used in _used(place) if used.version and (used.kind, used.name) == (kind.name, name)})
            if labels:
                yield f"the experiment {experiment}, plan {plan_id}, which used {', '.join(labels)}: {place}"


def _used(place: str) -> Iterator[ResourceVersion]:
    """What a plan uses now, and what each of its runs used."""
    plan = read_record(f"{place}/plan.json", ExperimentPlan)
    yield from plan.versions if plan else ()
    for name in list_names(f"{place}/runs"):
        run = read_record(f"{place}/runs/{name}", RunReference)
        yield from run.versions if run else ()


def _schedules(kind: Kind, name: str, team: str) -> Iterator[str]:
    for path in sorted(schedules_folder().glob("*")):
        if path.suffix in (".yaml", ".yml", ".json") and _is_named_by(path, kind, name, team):
            yield f"the scheduled experiment {path}"


def _is_named_by(path: Path, kind: Kind, name: str, team: str) -> bool:
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    try:
        experiment = parse(load_text(text, str(path)), FinetuneExperiment)
    except SpecError:
        # Nobody can say what a file with mistakes means to name.
        return name in text
    return experiment.team == team and any(_is_of(reference, name) for reference in names_of(experiment, kind.name))


def _groups(kind: Kind, name: str, team: str) -> Iterator[str]:
    for version in own_resources(team).latest(GROUPS) if kind == GROUPS else ():
        if version.name != name and _is_of(str(version.content.get("extends", "")), name):
            yield f"the HyperparameterGroup {version.name}, which extends it"


def _datasets(kind: Kind, name: str, team: str) -> Iterator[str]:
    for version in own_resources(team).latest(DATASETS) if kind == PARAMETERS else ():
        if any(_is_of(str(plugin.get("parameters", "")), name) for plugin in version.content.get("plugins", ())):
            yield f"the Dataset {version.name}, whose plugin is told it"


def _is_of(reference: str, name: str) -> bool:
    """Whether a reference is a name, or one version of it."""
    return reference == name or (reference.startswith(f"{name}@") and reference.removeprefix(f"{name}@").isdecimal())
