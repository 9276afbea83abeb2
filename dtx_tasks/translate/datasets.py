"""LLaMA-Factory's names of datasets as Datasets, by the dataset_info.json that lists them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from dtx_tasks.dataset import Imported, imported
from dtx_tasks.errors import nearest
from dtx_tasks.translate.draft import assumed, impossible, translated

if TYPE_CHECKING:
    from pathlib import Path

    from dtx_tasks.translate.draft import Draft, Said

REGISTRY = "dataset_info.json"
READ_ALIKE = ("format", "kind", "columns", "tags")
"""What a Dataset says once for all of its splits."""


def dataset(draft: Draft, value: Any) -> Said:
    """Several of them are learned together there, and by a job each here."""
    listed = _names(value)
    _define(draft)
    said = f"datasets: {', '.join(listed)}"
    if len(listed) > 1:
        return impossible(f"{said}: a job each, since they are not learned together. To mix them, put their rows into one folder of files in one format.")
    return translated(said)


def dataset_dir(draft: Draft, value: Any) -> Said:
    """Where the registry is."""
    folder = _folder(draft)
    if folder is None:
        return impossible(f"there is no {REGISTRY} in {value!r} here, so that Datasets are named and not defined. Save them by `dtx dataset create`.")
    return translated(f"Datasets are defined by {draft.ground.path_for(folder / REGISTRY)}")


def eval_dataset(draft: Draft, value: Any) -> Said:
    """The validation split of the one Dataset, if both are read alike."""
    listed = _names(value)
    _define(draft)
    if not draft.datasets:
        return impossible("there is no dataset to learn from beside it.")
    train, other = draft.datasets[0], _imported(draft, listed[0]).dataset if len(listed) == 1 and _folder(draft) else None
    if len(draft.datasets) > 1 or not isinstance(train, dict) or other is None:
        return impossible("one file validates one Dataset that is defined here. Write `validation: FILE` into each Dataset.")
    if [train.get(key) for key in READ_ALIKE] != [other.get(key) for key in READ_ALIKE]:
        return impossible(f"{listed[0]} is read in another way than {train['name']}: all splits of a Dataset have one format and the same columns. Rewrite it.")
    train["validation"] = other["train"]
    return translated(f"datasets: validation: {other['train']}")


def _names(value: Any) -> list[str]:
    return [name.strip() for name in (value.split(",") if isinstance(value, str) else map(str, value or ())) if name.strip()]


def _define(draft: Draft) -> None:
    """The Datasets of the file, once: several keys are about them, in whatever order."""
    if not draft.datasets:
        draft.datasets = [_defined(draft, name) for name in _names(draft.written.get("dataset"))]


def _folder(draft: Draft) -> Path | None:
    """The folder with the registry; `data` where the file names none."""
    found = draft.ground.find(str(draft.written.get("dataset_dir", "data")))
    return found if found and (found / REGISTRY).is_file() else None


def _defined(draft: Draft, name: str) -> str | dict[str, Any]:
    """The definition of a name, or the name alone where nothing defines it."""
    folder = _folder(draft)
    if folder is None:
        draft.told.append((name, assumed(f"a Dataset of this name is in the catalog: there is no {REGISTRY} here that defines it.")))
        return name
    found = _imported(draft, name)
    draft.told += [(name, assumed(note) if found.dataset else impossible(note)) for note in found.notes]
    if found.dataset is None:
        return name
    kind = {"kind": "prompts"} if draft.written.get("stage") == "ppo" else {}
    return {**found.dataset, **kind}


def _imported(draft: Draft, name: str) -> Imported:
    folder = _folder(draft)
    registry = json.loads((folder / REGISTRY).read_text(encoding="utf-8-sig")) if folder else {}
    if folder is None or name not in registry:
        return Imported(name, None, (f"is not in {REGISTRY}. {nearest(name, registry)}".rstrip(),))
    return imported(name, registry[name], folder, draft.ground.out)
