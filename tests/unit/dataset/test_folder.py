"""Folders whose files are read one after the other as one."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from dtx_tasks.dataset import Part, RowFile, SplitRows, check_dataset, folder_mistake, labelled
from dtx_tasks.spec import Columns, Tags, reading_of
from tests.builders import FakeData

READING = reading_of("alpaca", None, Columns(), Tags())


def row(instruction: str, output: str = "b") -> dict[str, str]:
    return {"instruction": instruction, "output": output}


def read(folder: Path) -> tuple[list[str], list[str]]:
    """The questions in their order, and what is said of the rest."""
    file = RowFile(folder, labelled(folder, "data/"), READING)
    return [row.asked[-1]["content"] for row in file], [str(finding) for kept in file.findings.shown.values() for finding in kept]


def test_files_are_read_by_name(tmp_path: Path) -> None:
    """Whatever was written first; hidden files are none."""
    data = FakeData(tmp_path)
    data.jsonl("part-2.jsonl", [row("c")])
    data.text("part-1.jsonl.gz", gzip.compress(json.dumps(row("b")).encode()))
    data.jsonl("part-0.jsonl", [row("a")])
    data.text(".gitattributes", "x")
    assert read(tmp_path) == (["a", "b", "c"], [])


def test_finding_names_the_file_and_its_line(tmp_path: Path) -> None:
    """Not the folder, and not a line counted through; what is said of all rows names the folder."""
    data = FakeData(tmp_path)
    data.jsonl("a.jsonl", [row("a"), {**row("b"), "system": "s"}])
    data.text("b.jsonl", f"{json.dumps(row('c'))}\n{json.dumps(row('d', ''))}\nnonsense\n")
    _, said = read(tmp_path)
    assert [text.split(": ")[0] for text in said] == ["data/b.jsonl:2", "data/b.jsonl:3", "data:1"]


def test_column_need_not_be_in_every_file(tmp_path: Path) -> None:
    """It is one split: what no row of it has is a mistake, what one file lacks is none."""
    FakeData(tmp_path).jsonl("a.jsonl", [row("a")])
    FakeData(tmp_path).jsonl("b.jsonl", [{**row("b"), "who": "s"}])
    reading = reading_of("alpaca", None, Columns(system="who"), Tags())
    file = RowFile(tmp_path, labelled(tmp_path, "data"), reading)
    assert (len(list(file)), file.findings.counts) == (2, {})


def test_repeated_and_leaked_rows_are_found_across_files(tmp_path: Path) -> None:
    """With the file of each."""
    data = FakeData(tmp_path)
    words = " ".join(f"word{number}" for number in range(200))
    data.jsonl("train/a.jsonl", [row("a"), row(words)])
    data.jsonl("train/b.jsonl", [row("c"), row("a"), row(f"{words} more")])
    data.jsonl("test.jsonl", [row("c"), row(f"{words} yet")])
    train = Part(tmp_path / "train", labelled(tmp_path / "train", "train"))
    report = check_dataset("rows", {"train": train, "test": Part(tmp_path / "test.jsonl", "test.jsonl")}, READING, 42)
    said = {finding.code: f"{finding.file}:{finding.line}: {finding.message}" for kept in report.findings.shown.values() for finding in kept}
    assert said["duplicate"] == "train/b.jsonl:2: is the same as that of line 1 of a.jsonl"
    assert said["leakage"] == "test.jsonl:1: is learned from too, in train/b.jsonl:1"
    assert said["near_duplicate"].startswith("train/b.jsonl:3: is almost the same as that of line 2 of a.jsonl (")
    assert said["near_leakage"].startswith("test.jsonl:2: is almost the same as one that is learned from, train/")
    assert report.as_dict()["splits"]["train"]["file"] == "train"


def test_rows_are_held_out_of_a_folder(tmp_path: Path) -> None:
    """As of a file: where they stand does not matter."""
    for name in ("a", "b"):
        FakeData(tmp_path).jsonl(f"{name}.jsonl", 5)
    label = labelled(tmp_path, "data")
    rows = SplitRows({"train": Part(tmp_path, label), "test": Part(tmp_path, label, 4)}, READING, 42)
    assert {split: len(scan.ids) for split, scan in rows.scan().items()} == {"train": 6, "test": 4}
    assert (len(list(rows.rows("train"))), len(list(rows.rows("test")))) == (6, 4)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ([], "is an empty folder (got 'data'). Put files of rows into it: .jsonl, .json, .csv, .parquet."),
        (
            ["a.jsonl", "README.md"],
            "is a folder with something in it that is no file of rows: 'README.md' (got 'data'). Give the rows a folder of their own, or name them: data/*.jsonl.",
        ),
        (["sub"], "is a folder with something in it that is no file of rows: 'sub' (got 'data'). Name the files of rows, or the folder that they are in."),
        (
            ["test-0.parquet", "train-0.parquet", "train-1.parquet"],
            "is a folder with rows of several splits: 'train-0.parquet' beside 'test-0.parquet' (got 'data'). Name those of one split: data/train-*.",
        ),
        (
            ["eval.jsonl", "validation.jsonl"],
            "is a folder with rows of several splits: 'eval.jsonl' beside 'validation.jsonl' (got 'data'). Name those of one split: data/eval.*.",
        ),
        (
            ["a.jsonl.gz", "a.csv"],
            "is a folder with files of several kinds: .csv, .jsonl (got 'data'). Give each kind a folder of its own, or make them one kind: the same rows may be in it twice.",
        ),
    ],
)
def test_folder_that_cannot_be_read_as_one_is_told(names: list[str], told: str) -> None:
    """Rather than read in part."""
    found = folder_mistake(names, "data")
    assert found is not None
    assert f"{found.problem}. {found.remedy}" == told
