"""LLaMA-Factory's dataset_info.json as Datasets, and what means something else here."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from dtx_tasks.dataset.detect import columns_of_file
from dtx_tasks.dataset.read import kind_of_file
from dtx_tasks.spec import OPTIONAL, OWN_COLUMNS, OWN_TAGS

if TYPE_CHECKING:
    from pathlib import Path

PARTS = {"prompt": "instruction", "query": "input", "response": "output"}
"""LLaMA-Factory's words for what has another one here; the others are the same."""

NOT_FILES = ("hf_hub_url", "ms_hub_url", "om_hub_url", "script_url")
KNOWN = frozenset({"file_name", "cloud_file_name", "formatting", "ranking", "columns", "tags", "num_samples", "split", "subset", "folder", *NOT_FILES})


@dataclass(frozen=True)
class Imported:
    """One entry.

    Attributes:
        name: Of the entry.
        dataset: The definition of a Dataset; None where there can be none.
        notes: What means something else here, or why there is no Dataset.
    """

    name: str
    dataset: dict[str, Any] | None
    notes: tuple[str, ...]


def imported(name: str, entry: Any, folder: Path, out: Path) -> Imported:
    """One entry of a dataset_info.json as the definition of a Dataset.

    Args:
        name: The key of the entry.
        entry: Its value.
        folder: What the entry's file counts from: that of dataset_info.json.
        out: Where the definition will be, and what its path counts from.
    """
    refused = _refused(entry)
    if refused:
        return Imported(name, None, (refused,))
    written = entry.get("file_name") or entry["cloud_file_name"]
    seen = columns_of_file(folder / written) if "file_name" in entry else None
    row_format = _format(entry)
    columns, column_notes = _columns(entry, row_format, seen)
    tags, tag_notes = _tags(entry, row_format)
    kind = {"kind": "preferences"} if entry.get("ranking") else {"kind": "labels"} if entry.get("columns", {}).get("kto_tag") else {}
    dataset = {
        "name": name,
        "format": row_format,
        **kind,
        "train": os.path.relpath(folder / written, out) if "file_name" in entry else written,
        **({"columns": columns} if columns else {}),
        **({"tags": tags} if tags else {}),
        **({"max_samples": entry["num_samples"]} if entry.get("num_samples") else {}),
    }
    return Imported(name, dataset, (*_notes(entry, row_format, seen, written), *column_notes, *tag_notes))


def _refused(entry: Any) -> str:
    """Why an entry can be no Dataset; empty where it can."""
    if not isinstance(entry, dict):
        return 'is no object: an entry looks like {"file_name": "rows.json"}.'
    if any(entry.get(key) for key in NOT_FILES):
        return "lies on a hub, which cannot be reached yet: download its file and give it as `file_name`."
    if not (entry.get("file_name") or entry.get("cloud_file_name")):
        return "names no file."
    if entry.get("formatting", "alpaca") not in ("alpaca", "sharegpt", "openai"):
        return f"has a formatting that is not known (got {entry['formatting']!r})."
    if entry.get("ranking") and not {"chosen", "rejected"} <= set(entry.get("columns") or {}):
        return "is a ranking whose columns name no chosen and no rejected."
    return ""


def _format(entry: dict[str, Any]) -> str:
    columns = entry.get("columns") or {}
    is_text = "prompt" in columns and not {"response", "chosen", "kto_tag"} & set(columns)
    formatting = entry.get("formatting", "alpaca")
    return "text" if formatting == "alpaca" and is_text else str(formatting)


def _columns(entry: dict[str, Any], row_format: str, seen: set[str] | None) -> tuple[dict[str, Any], list[str]]:
    """The feature map that reads the same columns, with what had to be said for it."""
    own: dict[str, str | None] = OWN_COLUMNS[row_format]  # type: ignore[index]
    written = entry.get("columns")
    read = _read(written, row_format)
    columns: dict[str, Any] = {part: column for part, column in read.items() if column != own.get(part)}
    notes = []
    for part, column in own.items():
        if column is None or part in read or (seen is not None and column not in seen):
            continue
        why = "naming some columns unsets the others there" if written else "it reads none by default"
        if part in OPTIONAL:
            columns[part] = False
            notes.append(f"{part}: LLaMA-Factory does not read the column {column!r} ({why}); written as `{part}: false`. Remove that line to have it read.")
        elif not entry.get("ranking"):
            notes.append(f"{part}: LLaMA-Factory reads nothing for it ({why}); here the column {column!r} is read.")
    return columns, notes


def _read(written: dict[str, str] | None, row_format: str) -> dict[str, str]:
    """The columns that LLaMA-Factory reads, by our names for the parts."""
    if row_format == "text":
        return {"text": (written or {})["prompt"]}
    if written:
        return {PARTS.get(part, part): column for part, column in written.items()}
    return {"instruction": "instruction", "input": "input", "output": "output"} if row_format == "alpaca" else {"messages": "conversations"}


def _tags(entry: dict[str, Any], row_format: str) -> tuple[dict[str, str], list[str]]:
    own: dict[str, str] = OWN_TAGS.get(row_format, {})  # type: ignore[call-overload]
    written = {key.removesuffix("_tag"): word for key, word in (entry.get("tags") or {}).items()}
    unset = sorted(own[part] for part in own if part not in written) if written else []
    notes = [f"tags: turns of {', '.join(unset)} are read as such here; LLaMA-Factory refuses them, since naming some tags unsets the others."] if unset else []
    return {part: word for part, word in written.items() if own.get(part) != word}, notes


def _notes(entry: dict[str, Any], row_format: str, seen: set[str] | None, written: str) -> list[str]:
    """What means something else here, apart from columns and tags."""
    notes = []
    if seen is None and entry.get("file_name"):
        said = "is not there, or cannot be read" if kind_of_file(PurePath(written))[0] else "is a folder or of a kind that cannot be read: name one file"
        notes.append(f"file_name: {written!r} {said}.")
    if row_format == "text":
        notes.append("columns: names a prompt and no answer, which LLaMA-Factory pre-trains on; rows of plain text here.")
    if entry.get("num_samples"):
        notes.append("num_samples: LLaMA-Factory takes so many rows at random; `max_samples` takes the first.")
    if entry.get("formatting") == "openai":
        notes.append("formatting: openai adds 'detailed thinking off' to the system message in LLaMA-Factory; nothing is added here.")
    if entry.get("split", "train") != "train":
        notes.append(f"split: has no meaning for a file (got {entry['split']!r}).")
    notes += [f"{key}: has no meaning for a file." for key in ("subset", "folder") if entry.get(key)]
    return notes + [f"{key}: is not a key that LLaMA-Factory knows." for key in sorted(set(entry) - KNOWN)]
