"""Plugins run over the rows of a file."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from dtx_tasks.dataset import Part, RowFile, SplitRows
from dtx_tasks.errors import DataError, SpecError
from dtx_tasks.extension import rewriter
from dtx_tasks.spec import Columns, Tags, reading_of
from tests.builders import FakeData
from tests.plugins import Packages, make_use

if TYPE_CHECKING:
    from pathlib import Path

    from dtx_tasks.records import PluginSource

READING = reading_of("alpaca", None, Columns(), Tags())
ROWS = [{"instruction": f"q{number}", "output": f"a{number}"} for number in range(4)]


def rewritten(folder: Path, *plugins: PluginSource, rows: list[dict[str, Any]] = ROWS) -> RowFile:
    return RowFile(FakeData(folder).jsonl("a.jsonl", rows), "a.jsonl", READING, rewriter(plugins))


def told(folder: Path, *plugins: PluginSource) -> list[str]:
    file = rewritten(folder, *plugins)
    list(file)
    return [str(finding) for finding in file.findings.of("error")]


def test_rows_are_left_out_multiplied_and_changed(tmp_path: Path, packages: Packages) -> None:
    """What comes out has the line of the row that it was made of."""
    code = "def run(rows, parameters):\n    for row in rows:\n        for _ in range(int(row['output'][1])):\n            yield {**row, 'output': parameters['word']}\n"
    packages.add("repeat", code)
    rows = list(rewritten(tmp_path, make_use("repeat", word="yes")))
    assert [(row.line, row.answer) for row in rows] == [(2, "yes"), (3, "yes"), (3, "yes"), (4, "yes"), (4, "yes"), (4, "yes")]


def test_plugins_run_in_the_order_in_which_they_stand(tmp_path: Path, packages: Packages) -> None:
    """Each takes what the one before has made."""
    code = "def run(rows, parameters):\n    return [{**row, 'output': row['output'] + parameters['word']} for row in rows]\n"
    packages.add("append", code)
    rows = list(rewritten(tmp_path, make_use("append", word="x"), make_use("append", word="y"), rows=ROWS[:1]))
    assert [row.answer for row in rows] == ["a0xy"]


def test_columns_may_be_made_of_others(tmp_path: Path, packages: Packages) -> None:
    """A plugin comes before the format: rows of a layout of one's own become rows of a known one."""
    packages.add("ours", "def run(rows, parameters):\n    for row in rows:\n        yield {'instruction': row['q'], 'output': row['a']}\n")
    rows = list(rewritten(tmp_path, make_use("ours"), rows=[{"q": "why?", "a": "so."}]))
    assert (rows[0].messages[0]["content"], rows[0].answer) == ("why?", "so.")


def test_what_comes_out_is_checked_like_any_row(tmp_path: Path, packages: Packages) -> None:
    """With the line that it came from."""
    packages.add("empty", "def run(rows, parameters):\n    for row in rows:\n        yield row | ({'output': ''} if row['output'] == 'a2' else {})\n")
    assert told(tmp_path, make_use("empty")) == ["a.jsonl:3: output: is empty. Write the text or remove the row."]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("yield {**row, 'x': row['y']}", "a.jsonl:1: plugin bad: stopped with KeyError: 'y'. Mend the row, or the plugin."),
        ("yield row['output']", "a.jsonl:1: plugin bad: made a str, which is no row. It must yield dicts as the file holds them."),
        ("yield {1: 2}", "a.jsonl:1: plugin bad: made a dict with keys that are no text, which is no row. It must yield dicts as the file holds them."),
        ("if False: yield row", "a.jsonl:1: plugin bad: left none of 4 rows. Change its parameters, or leave it out."),
        ("pass", "a.jsonl:4: plugin bad: gave a NoneType in place of rows. A plugin is a generator, or returns a list of rows."),
    ],
    ids=["an error", "no dict", "no text", "nothing", "no generator"],
)
def test_failing_plugin_is_told_by_its_name_and_the_line(tmp_path: Path, packages: Packages, body: str, said: str) -> None:
    """As a finding beside all others, and with nothing of its traceback but the last line."""
    name = f"bad-{sha256(body.encode()).hexdigest()[:8]}"
    packages.add(name, f"def run(rows, parameters):\n    for row in rows:\n        {body}\n")
    assert told(tmp_path, make_use(name)) == [said.replace("plugin bad", f"plugin {name}")]


def test_plugin_cannot_change_what_it_was_told(tmp_path: Path, packages: Packages) -> None:
    """The next file, and the record, have the same parameters."""
    packages.add("greedy", "def run(rows, parameters):\n    parameters['words'].append(1)\n    yield from rows\n")
    use = make_use("greedy", words=[])
    list(rewritten(tmp_path, use))
    assert use.parameters == {"words": []}


def test_other_version_is_refused_with_both(packages: Packages) -> None:
    """What was planned is what runs."""
    packages.add("clean", version="1.1")
    with pytest.raises(SpecError, match=r"The plugin 'clean' has version 1.1 here, and the experiment was planned with version 1.0. Install the same version"):
        rewriter([make_use("clean", "1.0")])


def test_missing_plugin_is_told_where_rows_are_prepared() -> None:
    """A trainer's image may lack what Airflow has."""
    with pytest.raises(SpecError, match=r"There is no plugin 'gone' in .*where rows are prepared"):
        rewriter([make_use("gone")])


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("explodes", "raise RuntimeError('no GPU')\n", "it cannot be imported: RuntimeError: no GPU."),
        ("other-name", "def ran(rows, parameters): ...\n", "it cannot be imported: AttributeError: module 'of_other_name.plugin' has no attribute 'run'"),
        ("number", "run = 3\n", "its entry point leads to an object of the type int. It must lead to a function of rows and parameters."),
    ],
)
def test_plugin_that_cannot_be_loaded_is_told(packages: Packages, name: str, code: str, said: str) -> None:
    """By its name."""
    packages.add(name, code)
    with pytest.raises(SpecError) as caught:
        rewriter([make_use(name)])
    assert str(caught.value).startswith(f"The plugin {name!r} is broken: {said}")


def test_rows_are_split_after_plugins_have_run(tmp_path: Path, packages: Packages) -> None:
    """Equal rows that a plugin makes are in one split."""
    packages.add(
        "same", "def run(rows, parameters):\n    for row in rows:\n        yield {**row, 'instruction': str(int(row['instruction'][1:]) % 2), 'output': 'a'}\n"
    )
    path = FakeData(tmp_path).jsonl("a.jsonl", [{"instruction": f"q{number}", "output": "a"} for number in range(10)])
    rows = SplitRows({"train": Part(path, "a"), "test": Part(path, "a", 3)}, READING, 42, rewriter([make_use("same")]))
    rows.scan()
    questions = {split: {row.messages[0]["content"] for row in rows.rows(split)} for split in ("train", "test")}
    assert (len(questions["train"]), len(questions["test"]), questions["train"] & questions["test"]) == (1, 1, set())


def test_plugin_that_does_not_repeat_itself_is_refused(tmp_path: Path, packages: Packages) -> None:
    """What was checked would not be what is learned."""
    code = "from itertools import count\nNUMBERS = count()\n\ndef run(rows, parameters):\n    for row in rows:\n        yield {**row, 'output': str(next(NUMBERS))}\n"
    packages.add("chance", code)
    path = FakeData(tmp_path).jsonl("a.jsonl", ROWS)
    rows = SplitRows({"train": Part(path, "a.jsonl")}, READING, 42, rewriter([make_use("chance")]))
    rows.scan()
    with pytest.raises(DataError, match=r"a.jsonl:1: the plugins gave other rows when they ran again. The same file must give the same rows"):
        list(rows.rows("train"))
