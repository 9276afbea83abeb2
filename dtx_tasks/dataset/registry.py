"""LLaMA-Factory's dataset_info.json as Datasets, and what means something else here."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dtx_tasks.dataset.detect import columns_of_file
from dtx_tasks.dataset.folder import folder_mistake
from dtx_tasks.dataset.read import kind_of_file
from dtx_tasks.spec import OPTIONAL, OWN_COLUMNS, OWN_TAGS
from dtx_tasks.storage import list_names

if TYPE_CHECKING:
    from pathlib import Path

PARTS = {"prompt": "instruction", "query": "input", "response": "output"}
"""LLaMA-Factory's words for what has another one here; the others are the same."""

HUB = "hf_hub_url"
HUB_ID = re.compile(r"[^/@\s]+/[^/@\s]+")
UNREACHABLE = ("ms_hub_url", "om_hub_url", "script_url")
TEXTS = ("file_name", "cloud_file_name", HUB, "formatting", "split", "subset", "folder")
MAPPINGS = ("columns", "tags")
KNOWN = frozenset({"ranking", "num_samples", *TEXTS, *MAPPINGS, *UNREACHABLE})


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
    # A key without a value says nothing there either.
    entry = {key: value for key, value in entry.items() if value is not None} if isinstance(entry, dict) else entry
    refused = _refused(entry)
    if refused:
        return Imported(name, None, (refused,))
    path = folder / entry["file_name"] if entry.get("file_name") and not entry.get(HUB) else None
    seen = columns_of_file(path) if path else None
    row_format = _format(entry)
    columns, column_notes = _columns(entry, row_format, seen)
    tags, tag_notes = _tags(entry, row_format)
    kind = {"kind": "preferences"} if entry.get("ranking") else {"kind": "labels"} if entry.get("columns", {}).get("kto_tag") else {}
    dataset = {
        "name": name,
        "format": row_format,
        **kind,
        "train": os.path.relpath(path, out) if path else _address(entry),
        **({"columns": columns} if columns else {}),
        **({"tags": tags} if tags else {}),
        **({"max_samples": entry["num_samples"]} if entry.get("num_samples") else {}),
    }
    source_notes = _notes_of_hub(entry) if entry.get(HUB) else _notes_of_file(entry, path, is_read=seen is not None)
    return Imported(name, dataset, (*source_notes, *_notes(entry, row_format), *column_notes, *tag_notes))


def _address(entry: dict[str, Any]) -> str:
    if entry.get(HUB):
        return f"hf://datasets/{entry[HUB]}/{entry.get('folder', '').strip('/')}".rstrip("/")
    return str(entry["cloud_file_name"])


def _refused(entry: Any) -> str:
    """Why an entry can be no Dataset; empty where it can."""
    if not isinstance(entry, dict):
        return 'is no object: an entry looks like {"file_name": "rows.json"}.'
    return _wrong_types(entry) or _placeless(entry) or _unreadable(entry)


def _placeless(entry: dict[str, Any]) -> str:
    if entry.get(HUB):
        is_known = HUB_ID.fullmatch(entry[HUB])
        return "" if is_known else f"has a hf_hub_url that is no dataset of an owner (got {entry[HUB]!r}): write it as `OWNER/NAME`."
    if any(entry.get(key) for key in UNREACHABLE):
        return "lies where it cannot be reached from here: download its file and give it as `file_name`."
    return "" if entry.get("file_name") or entry.get("cloud_file_name") else "names no file."


def _unreadable(entry: dict[str, Any]) -> str:
    if entry.get("formatting", "alpaca") not in ("alpaca", "sharegpt", "openai"):
        return f"has a formatting that is not known (got {entry['formatting']!r})."
    if entry.get("ranking") and not {"chosen", "rejected"} <= set(entry.get("columns") or {}):
        return "is a ranking whose columns name no chosen and no rejected."
    return ""


def _wrong_types(entry: dict[str, Any]) -> str:
    """The first value that is of another type than LLaMA-Factory reads; empty where all are right."""
    for key in TEXTS:
        if not isinstance(entry.get(key, ""), str):
            return f"has a {key} that is no text (got {entry[key]!r})."
    for key in MAPPINGS:
        found = entry.get(key, {})
        if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
            return f"has {key} that are no object of texts (got {found!r})."
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


def _notes_of_hub(entry: dict[str, Any]) -> list[str]:
    """What the hub's names of parts and splits come to, which are not looked up there."""
    address = _address(entry)
    notes = [
        f"hf_hub_url: all files of {address} are read, by their newest commit; name a revision or some of them, such as {address}/train-*, where it has more."
    ]
    if entry.get("subset"):
        notes.append(f"subset: is not looked up on the hub (got {entry['subset']!r}); put the folder or the files of it into `train`.")
    if entry.get("split"):
        notes.append(f"split: is not looked up on the hub (got {entry['split']!r}); put the files of it into `train`, such as {address}/{entry['split']}-*.")
    return notes


def _notes_of_file(entry: dict[str, Any], path: Path | None, *, is_read: bool) -> list[str]:
    """What is wrong with the file of an entry, and what is said of it in vain."""
    notes = []
    if path:
        wrong = folder_mistake(list_names(str(path)), entry["file_name"]) if path.is_dir() else None
        if wrong:
            notes.append(f"file_name: {wrong.problem}. {wrong.remedy}")
        elif not is_read:
            said = "is not there, or cannot be read" if path.is_dir() or kind_of_file(path)[0] else "is of a kind that cannot be read"
            notes.append(f"file_name: {entry['file_name']!r} {said}.")
    if entry.get("split", "train") != "train":
        notes.append(f"split: has no meaning for a file (got {entry['split']!r}).")
    return notes + [f"{key}: has no meaning for a file." for key in ("subset", "folder") if entry.get(key)]


def _notes(entry: dict[str, Any], row_format: str) -> list[str]:
    """What means something else here, apart from where it lies, columns and tags."""
    notes = []
    if row_format == "text":
        notes.append("columns: names a prompt and no answer, which LLaMA-Factory pre-trains on; rows of plain text here.")
    if entry.get("num_samples"):
        notes.append("num_samples: LLaMA-Factory takes so many rows at random; `max_samples` takes the first.")
    if entry.get("formatting") == "openai":
        notes.append("formatting: openai adds 'detailed thinking off' to the system message in LLaMA-Factory; nothing is added here.")
    return notes + [f"{key}: is not a key that LLaMA-Factory knows." for key in sorted(set(entry) - KNOWN)]
