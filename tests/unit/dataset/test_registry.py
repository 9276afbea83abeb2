"""LLaMA-Factory's registry as Datasets, and what is said about it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from dtx_tasks.dataset import Imported, imported
from tests.builders import FakeData

if TYPE_CHECKING:
    from pathlib import Path

TURNS = {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}], "tools": "[]", "system": "s"}


def entry_of(folder: Path, entry: dict[str, Any], row: dict[str, Any] | None = None) -> Imported:
    FakeData(folder).jsonl("rows.jsonl", [row or {"instruction": "a", "input": "b", "output": "c"}])
    return imported("rows", {"file_name": "rows.jsonl", **entry}, folder, folder / "out")


def test_plain_entry(tmp_path: Path) -> None:
    """The path counts from where the definition is written."""
    assert entry_of(tmp_path, {}) == Imported("rows", {"name": "rows", "format": "alpaca", "train": "../rows.jsonl"}, ())


def test_column_that_naming_others_unsets_is_left_out_and_said(tmp_path: Path) -> None:
    """LLaMA-Factory's trap: `input` is in the file and not read."""
    found = entry_of(tmp_path, {"columns": {"prompt": "instruction", "response": "output"}})
    assert found.dataset is not None
    assert found.dataset["columns"] == {"input": False}
    said = "input: LLaMA-Factory does not read the column 'input' (naming some columns unsets the others there); written as `input: false`."
    assert found.notes == (f"{said} Remove that line to have it read.",)


def test_column_that_no_row_has_needs_no_word(tmp_path: Path) -> None:
    """There is no difference then."""
    found = entry_of(tmp_path, {"columns": {"prompt": "q", "response": "a"}}, {"q": "a", "a": "b"})
    assert found == Imported("rows", {"name": "rows", "format": "alpaca", "train": "../rows.jsonl", "columns": {"instruction": "q", "output": "a"}}, ())


def test_columns_that_are_read_here_by_default_are_left_out(tmp_path: Path) -> None:
    """LLaMA-Factory reads tools and system only where they are named."""
    found = entry_of(tmp_path, {"formatting": "sharegpt", "columns": {"messages": "conversations", "tools": "tools"}}, TURNS)
    assert found.dataset is not None
    assert found.dataset["columns"] == {"system": False}
    assert entry_of(tmp_path, {"formatting": "sharegpt"}, TURNS).dataset["columns"] == {"system": False, "tools": False}  # type: ignore[index]


def test_tags_and_labels(tmp_path: Path) -> None:
    """Words under our names; those that LLaMA-Factory unsets are said."""
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    row = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "label": True}
    found = entry_of(tmp_path, {"formatting": "sharegpt", "columns": {"messages": "messages", "kto_tag": "label"}, "tags": tags}, row)
    assert found.dataset is not None
    assert found.dataset["kind"] == "labels"
    assert found.dataset["tags"] == {"role": "role", "content": "content", "user": "user", "assistant": "assistant"}
    assert found.notes[0].startswith("tags: turns of function_call, observation, system are read as such here; LLaMA-Factory refuses them")


def test_prompt_alone_is_plain_text(tmp_path: Path) -> None:
    """What LLaMA-Factory pre-trains on."""
    found = entry_of(tmp_path, {"columns": {"prompt": "body"}}, {"body": "a"})
    assert found.dataset is not None
    assert (found.dataset["format"], found.dataset["columns"]) == ("text", {"text": "body"})


@pytest.mark.parametrize(
    ("entry", "note"),
    [
        ({"num_samples": 5}, "num_samples: LLaMA-Factory takes so many rows at random; `max_samples` takes the first."),
        ({"formatting": "openai"}, "formatting: openai adds 'detailed thinking off' to the system message in LLaMA-Factory; nothing is added here."),
        ({"split": "test"}, "split: has no meaning for a file (got 'test')."),
        ({"folder": "a"}, "folder: has no meaning for a file."),
        ({"colums": {}}, "colums: is not a key that LLaMA-Factory knows."),
        ({"file_name": "other.jsonl"}, "file_name: 'other.jsonl' is not there, or cannot be read."),
    ],
)
def test_differences_are_said(tmp_path: Path, entry: dict[str, Any], note: str) -> None:
    """Whoever imports a registry should know before training."""
    assert note in entry_of(tmp_path, entry).notes


def test_key_without_a_value_says_nothing(tmp_path: Path) -> None:
    """As in LLaMA-Factory."""
    nothing = dict.fromkeys(("columns", "tags", "split", "num_samples", "hf_hub_url", "ranking"))
    assert entry_of(tmp_path, nothing) == entry_of(tmp_path, {})


def test_dataset_of_the_hub_is_its_address(tmp_path: Path) -> None:
    """Which is what LLaMA-Factory takes where a file is named too; its names for parts are told, since nobody looks them up."""
    entry = {"hf_hub_url": "ann/shop", "file_name": "a.json", "folder": "data", "subset": "en", "split": "test"}
    found = imported("rows", entry, tmp_path, tmp_path)
    assert found.dataset == {"name": "rows", "format": "alpaca", "train": "hf://datasets/ann/shop/data"}
    assert [note.split(":")[0] for note in found.notes] == ["hf_hub_url", "subset", "split"]
    assert "put the files of it into `train`, such as hf://datasets/ann/shop/data/test-*." in found.notes[2]
    assert imported("rows", {"hf_hub_url": "ann/shop"}, tmp_path, tmp_path).dataset["train"] == "hf://datasets/ann/shop"  # type: ignore[index]


def test_folder_is_imported_as_one_split(tmp_path: Path) -> None:
    """One that cannot be read so is told."""
    FakeData(tmp_path).jsonl("data/a.jsonl", [{"instruction": "a", "output": "b"}])
    assert imported("rows", {"file_name": "data"}, tmp_path, tmp_path) == Imported("rows", {"name": "rows", "format": "alpaca", "train": "data"}, ())
    FakeData(tmp_path).text("data/b.csv", "instruction,output\na,b\n")
    (note,) = imported("rows", {"file_name": "data"}, tmp_path, tmp_path).notes
    assert note.startswith("file_name: is a folder with files of several kinds: .csv, .jsonl (got 'data'). ")


@pytest.mark.parametrize(
    ("entry", "note"),
    [
        ([], "is no object"),
        ({"ms_hub_url": "a/b"}, "lies where it cannot be reached from here"),
        ({"hf_hub_url": "squad"}, "has a hf_hub_url that is no dataset of an owner (got 'squad'): write it as `OWNER/NAME`."),
        ({"file_name": ["a.json"]}, "has a file_name that is no text (got ['a.json'])."),
        ({"file_name": "a.json", "columns": ["prompt"]}, "has columns that are no object of texts (got ['prompt'])."),
        ({"file_name": "a.json", "tags": {"user_tag": 1}}, "has tags that are no object of texts (got {'user_tag': 1})."),
        ({"columns": {}}, "names no file."),
        ({"file_name": "a", "formatting": "csv"}, "has a formatting that is not known (got 'csv')."),
        ({"file_name": "a", "ranking": True}, "is a ranking whose columns name no chosen and no rejected."),
    ],
)
def test_entry_that_can_be_no_dataset_is_told(tmp_path: Path, entry: Any, note: str) -> None:
    """And the others are made."""
    found = imported("rows", json.loads(json.dumps(entry)), tmp_path, tmp_path)
    assert found.dataset is None
    assert found.notes[0].startswith(note)
