"""Hands the author's own files over to the platform: a request may name only what the platform can read."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dtx_tasks.entrypoints.documents import hand_over_rows
from dtx_tasks.entrypoints.uploads import store
from dtx_tasks.errors import Mistake, SpecError
from dtx_tasks.records import Layout
from dtx_tasks.resolve import Allowed
from dtx_tasks.spec import SPLITS
from dtx_tasks.storage import hand_over_images, is_remote

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dtx_tasks.records import ExperimentPlan, FileSource


def hand_over(data: dict[str, Any], plan: ExperimentPlan, folder: Path, root: str) -> dict[str, Any]:
    """Uploads the files that a spec defines in place, and names the uploads instead; and the files of the user's own named resources.

    Those keep their names: whoever plans the experiment finds the files of that version by their digests.

    Args:
        data: The spec as it was read; it is not changed.
        plan: What it comes to: its paths are checked already.
        folder: What relative paths count from.
        root: The platform's storage root.

    Returns:
        The spec as the platform is to read it.
    """
    layout, changed = Layout(root, plan.team), deepcopy(data)
    planned = {(dataset.name, split): file for dataset in plan.datasets for split, file in dataset.files.items()}
    for definition in _definitions(changed, "datasets", "dataset"):
        for split in SPLITS:
            # A split may be a part of the train file in place of a path.
            if isinstance(definition.get(split), str) and not is_remote(definition[split]):
                file = planned.get((definition["name"], split))
                definition[split] = _handed_over(file, layout) if file and file.images else store(_here(definition[split], folder), layout)
    bases = {document.llm.source: document.llm.base for document in plan.fetched}
    for definition in _definitions(changed, "llms", "llm"):
        _hand_over_llm(definition, bases, folder, layout)
    for definition in _definitions(changed, "hyperparameters", "hyperparameters"):
        written = definition.get("reward_model")
        if written and "://" not in written:
            definition["reward_model"] = store((folder / Path(written).expanduser()).resolve(), layout)
    _hand_over_own(plan, layout)
    return changed


def _handed_over(file: FileSource, layout: Layout) -> str:
    """The URI of rows that the platform finds with their images."""
    uri = hand_over_rows(file, layout)
    if file.images:
        hand_over_images(file.images, uri, layout)
    return uri


def _hand_over_llm(definition: dict[str, Any], bases: Mapping[str, str | None], folder: Path, layout: Layout) -> None:
    """A model's folder, and with an adapter that of its base: its own file names it as it is called here."""
    source = definition["source"]
    if not source.startswith("made:") and "://" not in source:
        source = str((folder / Path(source).expanduser()).resolve())
        definition["source"] = store(Path(source), layout)
    base = bases.get(source)
    if base and "://" not in base:
        definition["base"] = store(Path(base), layout)


def _hand_over_own(plan: ExperimentPlan, layout: Layout) -> None:
    own = {(used.kind, name) for used in plan.versions if used.version for name in (used.name, used.label)}
    for dataset in plan.datasets:
        for file in dataset.files.values() if ("Dataset", dataset.name) in own else ():
            # What is held out lies in the train file.
            if file.portion is None and not is_remote(file.path):
                _handed_over(file, layout)
    for llm in (document.llm for document in plan.fetched):
        if ("LLM", llm.name) in own and llm.kind == "local" and not is_remote(llm.source):
            store(Path(llm.source), layout)


def _definitions(data: dict[str, Any], axis: str, key: str) -> Iterator[dict[str, Any]]:
    """Every definition in place; names of the catalog are known to the platform."""
    matrix = data.get("matrix") or {}
    found = [*matrix.get(axis, ()), *(entry[key] for entry in (*matrix.get("include", ()), *data.get("jobs", ())))]
    return (item for item in found if isinstance(item, dict))


def _here(written: str, folder: Path) -> Path:
    """Rows on the author's machine, or from the web or the hub that it can reach."""
    found = Allowed(folder, None).find_rows(written)
    if isinstance(found, Mistake):
        raise SpecError(f"{written}: {found.problem}.", found.remedy)
    return found[0]
