"""Plugins when an experiment is planned: looked up and checked, never run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dtx_tasks.catalog import load_catalog
from dtx_tasks.errors import SpecError
from dtx_tasks.plan import ResolvedInputs, make_plan
from dtx_tasks.resolve import Origin, resolve
from tests.builders import FakeData, make_experiment, make_matrix
from tests.plugins import Packages

PARAMETERS = {"properties": {"least": {"type": "integer", "default": 3}}}


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Packages:
    """A folder of packages, with a plugin that must not be imported."""
    made = Packages(tmp_path / "packages", monkeypatch)
    made.add("clean", "raise RuntimeError('imported')\n", parameters=PARAMETERS)
    return made


def found(folder: Path, *plugins: dict[str, Any], **changes: Any) -> ResolvedInputs:
    dataset = {"name": "mine", "train": "train.jsonl", "test": "test.jsonl", "plugins": plugins, **changes}
    catalog = load_catalog(FakeData(folder).config())
    return resolve(make_experiment(matrix=make_matrix(datasets=[dataset])), catalog, Origin(folder))


def rows(folder: Path) -> None:
    """Both files are the same; of the format only a plugin could make them."""
    for split in ("train", "test"):
        FakeData(folder).jsonl(f"{split}.jsonl", [{"q": "why?", "a": ["so", "x"]}] * 4)


def test_version_and_parameters_are_in_the_plan(tmp_path: Path, packages: Packages) -> None:
    """The defaults, too; rows are counted as they stand in the files, whatever their format."""
    rows(tmp_path)
    source = found(tmp_path, {"name": "clean"}).datasets["mine"]
    assert [plugin.model_dump() for plugin in source.plugins] == [{"name": "clean", "version": "1", "parameters": {"least": 3}}]
    assert (source.files["train"].num_rows, source.files["train"].num_characters, source.problem) == (4, 28, "")


def test_leakage_is_not_checked_and_the_plan_says_so(tmp_path: Path, packages: Packages) -> None:
    """Which rows there will be is known to nobody yet."""
    rows(tmp_path)
    plan = make_plan(found(tmp_path, {"name": "clean"}))
    assert plan.leakage == "Leakage from and into other Datasets is not checked for mine: plugins make its rows when they are prepared"


@pytest.mark.parametrize(
    ("portions", "counts"),
    [
        ({"test": 1}, {"train": 3, "test": 1}),
        ({"validation": 0.5, "test": 1}, {"train": 1, "validation": 2, "test": 1}),
        ({"test": {"subset": "dev"}, "columns": {"subset": "part"}}, {"train": 4, "test": 0}),
    ],
    ids=["a number", "a share", "a subset"],
)
def test_held_out_rows_are_estimated(tmp_path: Path, packages: Packages, portions: dict[str, Any], counts: dict[str, int]) -> None:
    """For the steps that the plan shows."""
    rows(tmp_path)
    files = found(tmp_path, {"name": "clean"}, **portions).datasets["mine"].files
    assert {split: file.num_rows for split, file in files.items()} == counts


def test_file_that_cannot_be_read_is_told_before(tmp_path: Path, packages: Packages) -> None:
    """No plugin can mend it."""
    rows(tmp_path)
    FakeData(tmp_path).text("train.jsonl", '{"q": \n')
    assert found(tmp_path, {"name": "clean"}).datasets["mine"].problem.startswith("train.jsonl:1: character 7: this is not JSON")


def test_what_is_wrong_with_plugins_is_told_at_once(tmp_path: Path, packages: Packages) -> None:
    """Each with its key path: missing ones, broken ones, wrong parameters."""
    rows(tmp_path)
    packages.add("bad", declared="bad: {version: 1.0}")
    with pytest.raises(SpecError) as caught:
        found(tmp_path, {"name": "clen"}, {"name": "bad"}, {"name": "clean", "parameters": {"last": 1, "least": "x"}})
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("the experiment: matrix.datasets[0].plugins[0].name: There is no plugin 'clen' in ")
    assert lines[1].startswith("the experiment: matrix.datasets[0].plugins[1].name: The plugin 'bad' is broken: ")
    assert lines[2:] == [
        "the experiment: matrix.datasets[0].plugins[2].parameters.last: is not a known parameter (got 1). Did you mean 'least'? Known: least.",
        "the experiment: matrix.datasets[0].plugins[2].parameters.least: must be a whole number (got 'x').",
    ]
