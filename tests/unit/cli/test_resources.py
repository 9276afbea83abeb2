"""Commands for named resources, as a person and a script see them."""

import io
import json
import re
import sys
from pathlib import Path

import pytest
import yaml

from tests.builders import FakeData
from tests.plugins import Packages
from tests.unit.cli.command import dtx, stand_in

ROWS = "name: mine\ndescription: '1e-4'\ntrain: mine.train.jsonl\nvalidation: mine.validation.jsonl\ntest: mine.test.jsonl\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a configuration and the definition of a Dataset."""
    data = stand_in(tmp_path, monkeypatch)
    data.splits("mine")
    data.text("mine.yaml", ROWS)
    return tmp_path


def editor(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Makes $EDITOR a program that changes the text `it`."""
    script = FakeData(folder).text("editor.py", f"import pathlib, sys\npath = pathlib.Path(sys.argv[1])\nit = path.read_text()\n{code}\npath.write_text(it)\n")
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", f"{sys.executable} {script}")


def test_resource_is_created_listed_shown_edited_and_deleted(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """From a file, by its name."""
    assert dtx(monkeypatch, "dataset", "create", "mine.yaml", "--note", "the first") == 0
    assert re.fullmatch(r"Saved Dataset mine@1 \([0-9a-f]{16}\)\.\n", capsys.readouterr().out)
    FakeData(here).text("mine.yaml", f"{ROWS}max_samples: 2\n")
    assert dtx(monkeypatch, "dataset", "edit", "mine", "mine.yaml", "--based-on", "1") == 0
    assert dtx(monkeypatch, "dataset", "list") == 0
    assert re.search(r"mine +│ 2 +│ .*UTC │.*│ 1e-4", capsys.readouterr().out)
    assert dtx(monkeypatch, "dataset", "show", "mine") == 0
    out = capsys.readouterr().out
    assert out.startswith(f"Dataset mine@2\n\nname: mine\ndescription: '1e-4'\ntrain: {here}/mine.train.jsonl\n")
    assert "the first" in out
    assert dtx(monkeypatch, "dataset", "delete", "mine") == 0
    assert dtx(monkeypatch, "dataset", "show", "mine") == 2


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("plugin-parameters", "plugin: clean"),
        ("llm", "source: made:tiny-test"),
        ("hyperparameters", "extends: quick"),
        ("scoring", "max_new_tokens: 3"),
        ("dataset", ROWS.partition("\n")[2]),
    ],
)
def test_every_kind_has_the_same_commands(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], word: str, text: str) -> None:
    """From standard input, and to a program."""
    Packages(here / "packages", monkeypatch).add("clean", "raise RuntimeError('imported')\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(f"name: mine\n{text}\n".encode())))
    assert dtx(monkeypatch, word, "create", "-") == 0
    capsys.readouterr()
    assert dtx(monkeypatch, word, "list", "--json") == 0
    assert [item["number"] for item in json.loads(capsys.readouterr().out) if item["name"] == "mine"] == [1]
    assert dtx(monkeypatch, word, "show", "mine", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["is_bundled"], shown["number"], [version["digest"] for version in shown["versions"]]) == (False, 1, [shown["digest"]])


def test_shown_yaml_is_what_create_reads(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A bundled one becomes one's own, from any folder."""
    assert dtx(monkeypatch, "dataset", "show", "rows", "--yaml") == 0
    text = capsys.readouterr().out
    assert yaml.safe_load(text)["name"] == "rows"
    FakeData(here).text("elsewhere/copy.yaml", text.replace("name: rows", "name: copy"))
    assert dtx(monkeypatch, "dataset", "create", "elsewhere/copy.yaml") == 0


def test_bundled_one_is_shown_with_its_version(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Which is its content, and changes with it."""
    assert dtx(monkeypatch, "hyperparameters", "show", "quick") == 0
    assert re.match(r"HyperparameterGroup quick, bundled and read-only: version [0-9a-f]{16}\n\nname: quick\nmax_steps: 4\n", capsys.readouterr().out)
    assert dtx(monkeypatch, "hyperparameters", "show", "quick", "--json") == 0
    assert json.loads(capsys.readouterr().out)["is_bundled"] is True


def test_earlier_version_is_shown(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """As it was."""
    dtx(monkeypatch, "dataset", "create", "mine.yaml")
    FakeData(here).text("mine.yaml", f"{ROWS}max_samples: 2\n")
    dtx(monkeypatch, "dataset", "edit", "mine", "mine.yaml", "--based-on", "1")
    capsys.readouterr()
    assert dtx(monkeypatch, "dataset", "show", "mine", "--version", "1", "--yaml") == 0
    assert "max_samples" not in capsys.readouterr().out


def test_file_is_edited_only_from_a_version_that_is_named(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A file does not say what it was made from; another one's edit would be lost."""
    dtx(monkeypatch, "dataset", "create", "mine.yaml")
    assert dtx(monkeypatch, "dataset", "edit", "mine", "mine.yaml") == 2
    assert "if the file was made from that, add --based-on 1." in capsys.readouterr().err
    assert dtx(monkeypatch, "dataset", "edit", "mine", "mine.yaml", "--based-on", "1") == 0
    assert capsys.readouterr().out == "Dataset mine@1 says this already: nothing was saved.\n"


def test_editor_opens_the_latest_version(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """And what it leaves is the next one."""
    dtx(monkeypatch, "dataset", "create", "mine.yaml")
    editor(here, monkeypatch, "it += 'max_samples: 3\\n'")
    assert dtx(monkeypatch, "dataset", "edit", "mine") == 0
    assert "Saved Dataset mine@2" in capsys.readouterr().out


def test_text_of_an_editor_is_not_lost(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With a mistake in it, or when somebody else was faster; the command to go on is printed."""
    dtx(monkeypatch, "dataset", "create", "mine.yaml")
    editor(here, monkeypatch, "it += 'max_sample: 3\\n'")
    assert dtx(monkeypatch, "dataset", "edit", "mine") == 2
    err = capsys.readouterr().err
    found = re.search(r"Your text is kept\. Mend it, then: dtx (dataset edit mine (\S+) --based-on 1)\n", err)
    assert found, err
    Path(found[2]).write_text(Path(found[2]).read_text().replace("max_sample:", "max_samples:"))
    assert dtx(monkeypatch, *found[1].split()) == 0
    Path(found[2]).unlink()


@pytest.mark.parametrize("command", ["false", "no-such-program"])
def test_editor_that_fails_is_told(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str) -> None:
    """With what to set."""
    dtx(monkeypatch, "dataset", "create", "mine.yaml")
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", command)
    assert dtx(monkeypatch, "dataset", "edit", "mine") == 2
    assert f"The editor {command!r} failed: " in capsys.readouterr().err


def test_mistakes_are_told_with_their_lines(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """As for an experiment."""
    FakeData(here).text("mine.yaml", ROWS.replace("mine.test", "none"))
    assert dtx(monkeypatch, "dataset", "create", "mine.yaml") == 2
    assert capsys.readouterr().err.startswith("mine.yaml:5: test: is not there (got ")


def test_bad_rows_are_told(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Before a GPU is spent on them."""
    FakeData(here).text("mine.train.jsonl", "nonsense\n")
    assert dtx(monkeypatch, "dataset", "create", "mine.yaml") == 0
    assert "It has bad rows, and jobs with it will fail: " in capsys.readouterr().out


def test_resources_of_a_team_are_its_own(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Another team does not see them."""
    assert dtx(monkeypatch, "dataset", "create", "mine.yaml", "--team", "nlp") == 0
    assert dtx(monkeypatch, "dataset", "show", "mine", "--team", "nlp") == 0
    capsys.readouterr()
    assert dtx(monkeypatch, "dataset", "create", "mine.yaml", "--team", "../x y") == 2
    assert capsys.readouterr().err == "--team '../x y' is no name of a team. Use lower-case letters, digits and hyphens inside, at most 40.\n"
    assert dtx(monkeypatch, "dataset", "show", "mine") == 2


def test_plan_says_what_it_takes_from_the_catalog(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """And `dtx run` and Airflow write it down."""
    dtx(monkeypatch, "dataset", "create", "mine.yaml")
    FakeData(here).text("e.yaml", "name: x\nmatrix: {llms: [base], datasets: [mine], hyperparameters: [quick]}\n")
    assert dtx(monkeypatch, "plan", "e.yaml") == 0
    assert re.search(r"From the catalog: base@[0-9a-f]{8}, mine@1, quick@[0-9a-f]{8}\.", capsys.readouterr().out)


def test_listing_makes_no_database(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does showing; there is nothing to keep yet."""
    assert dtx(monkeypatch, "dataset", "list") == 0
    assert dtx(monkeypatch, "dataset", "show", "rows") == 0
    assert not (here / "home").exists()
