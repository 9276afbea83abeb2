"""The `dtx` command as a person and a script see it: words, and exit codes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from dtx_tasks.entrypoints.documents import note_run
from dtx_tasks.select import select
from dtx_tasks.spec import experiment_schema
from tests.builders import FakeData, Store, make_experiment, make_plan
from tests.unit.cli.command import dtx, stand_in
from tests.unit.stack.test_rest import Answer, airflow, run

TEXT = "name: x\nmatrix: {llms: [base], datasets: [rows], hyperparameters: [quick, slow]}\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a configuration, an empty store and an experiment."""
    stand_in(tmp_path, monkeypatch)
    (tmp_path / "e.yaml").write_text(TEXT)
    return tmp_path


def test_starter_is_valid(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The file that is written names the schema beside it."""
    assert dtx(monkeypatch, "init", "new/exp.yaml", "--name", "mine") == 0
    assert "Next: dtx plan new/exp.yaml" in capsys.readouterr().out.replace("\n", " ")
    assert (here / "new" / "exp.yaml").read_text().startswith("# yaml-language-server: $schema=experiment.schema.json\n")
    assert (here / "new" / "experiment.schema.json").read_text() == experiment_schema()


@pytest.mark.parametrize("name", ["mine", "123", "no: such", "{{name}}", "识别", "[a]", "#1", 'say "hi"'])
def test_starter_has_the_name_that_was_given(here: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Whatever YAML would make of it."""
    assert dtx(monkeypatch, "init", "--name", name) == 0
    assert yaml.safe_load((here / "experiment.yaml").read_text())["name"] == name


def test_starter_replaces_nothing(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An author's work is not lost."""
    assert dtx(monkeypatch, "init", "e.yaml") == 2
    assert capsys.readouterr().err == "e.yaml exists already. Choose another name, or remove it first.\n"
    assert (here / "e.yaml").read_text() == TEXT


def test_schema_is_printed(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """As it is, for a file."""
    assert dtx(monkeypatch, "schema") == 0
    assert capsys.readouterr().out == experiment_schema()


def test_valid_file_is_told(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With the number of its jobs."""
    assert dtx(monkeypatch, "validate", "e.yaml") == 0
    assert capsys.readouterr().out.startswith("e.yaml: valid: 2 jobs, plan ")


@pytest.mark.parametrize("command", ["validate", "plan"])
def test_what_an_author_should_know_is_told(command: str, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the validation split went, and that a row to score on is almost learned from."""
    words = " ".join(f"word{number}" for number in range(200))
    data = FakeData(here)
    data.jsonl("d.jsonl", [{"instruction": text, "output": "yes"} for text in ("a", "b", "c", words)])
    data.jsonl("t.jsonl", [{"instruction": f"{words} more", "output": "yes"}])
    spec = {"llms": ["base"], "datasets": [{"name": "d", "train": "d.jsonl", "test": "t.jsonl"}], "hyperparameters": [{"name": "g", "val_size": 0.25}]}
    (here / "e.yaml").write_text(yaml.safe_dump({"name": "x", "matrix": spec}))
    assert dtx(monkeypatch, command, "e.yaml") == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "val_size 0.25 of the hyperparameters is moved to the Datasets: each holds it out as its validation split." in out
    assert "1 rows to score on are almost the same as some that are learned from, most of all t.jsonl:1 and d.jsonl:4 (similarity about 0.9" in out


@pytest.mark.parametrize("command", ["validate", "plan"])
def test_what_a_job_changes_of_its_group_is_told(command: str, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With the value that the group has; the same stands in the document of the job."""
    own = {"name": "higher", "extends": "quick", "learning_rate": 0.01, "max_steps": 4}
    (here / "e.yaml").write_text(yaml.safe_dump({"name": "x", "matrix": {"llms": ["base"], "datasets": ["rows"], "hyperparameters": ["quick", own]}}))
    assert dtx(monkeypatch, command, "e.yaml") == 0
    assert "higher is quick with learning_rate: 0.01 (there 0.0001)." in " ".join(capsys.readouterr().out.split())
    assert dtx(monkeypatch, "plan", "e.yaml", "--json") == 0
    jobs = [pack["jobs"][0] for pack in json.loads(capsys.readouterr().out)["packs"]]
    assert [job["difference"] for job in jobs] == [None, {"extends": "quick", "before": {"learning_rate": 0.0001}}]


def test_unknown_hyperparameter_is_answered_with_the_nearest(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Where it stands."""
    (here / "e.yaml").write_text(TEXT.replace("slow", "{name: higher, extends: quick, lerning_rate: 0.1}"))
    assert dtx(monkeypatch, "validate", "e.yaml") == 2
    said = capsys.readouterr().err
    assert said.startswith("e.yaml:2: matrix.hyperparameters[1].lerning_rate: is not a known key (got 0.1). Did you mean 'learning_rate'?")


def test_mistakes_are_told_on_stderr(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """All of them, each on its line, with the exit code of wrong input."""
    (here / "e.yaml").write_text(TEXT.replace("quick", "quik") + "parallelism: 0\nteem: x\n")
    assert dtx(monkeypatch, "validate", "e.yaml") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split(": ")[:2] for line in err.splitlines()] == [["e.yaml:3", "parallelism"], ["e.yaml:4", "teem"]]


def test_markup_in_a_mistake_is_text(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Brackets are the author's, not rich's."""
    (here / "e.yaml").write_text(f"{TEXT}'[bold]x[/bold]': 1\n")
    assert dtx(monkeypatch, "validate", "e.yaml") == 2
    assert "[bold]x[/bold]: is not a known key" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "told"), [("none.yaml", "none.yaml: cannot be read: No such file or directory.\n"), ("config", "config: cannot be read: Is a directory.\n")]
)
def test_file_that_cannot_be_read_is_told(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], file: str, told: str) -> None:
    """As wrong input."""
    assert dtx(monkeypatch, "validate", file) == 2
    assert capsys.readouterr().err == told


def test_file_of_another_encoding_is_told(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With the place of the first bad byte."""
    (here / "e.yaml").write_bytes("name: 你好\n".encode("gb18030"))
    assert dtx(monkeypatch, "validate", "e.yaml") == 2
    assert capsys.readouterr().err == "e.yaml: is not UTF-8 text (byte 6). Save it as UTF-8.\n"


def test_plan_is_a_table(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Jobs, ids, steps, and what is left to do."""
    assert dtx(monkeypatch, "plan", "e.yaml") == 0
    out = capsys.readouterr().out
    assert "base / rows / quick" in out
    assert "2 jobs in 2 packs, 2 to train and 0 reused; 1 base to compare with." in out


def test_plan_is_json_for_programs(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The document itself."""
    assert dtx(monkeypatch, "plan", "e.yaml", "--json") == 0
    assert [pack["jobs"][0]["num_steps"] for pack in json.loads(capsys.readouterr().out)["packs"]] == [4, 8]


def test_planning_writes_nothing(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even a folder."""
    assert dtx(monkeypatch, "plan", "e.yaml") == 0
    assert not (here / "home").exists()


@pytest.mark.parametrize("command", [["submit", "e.yaml"], ["watch"], ["cancel"], ["logs", "plan"], ["status"]])
def test_command_without_an_airflow_says_so(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    """With how to start one, and its own exit code."""
    assert dtx(monkeypatch, *command) == 5
    assert "Start it with `dtx up`" in "".join(capsys.readouterr())


def test_unknown_backend_is_told_before_anything_is_started(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With those that there are."""
    monkeypatch.setenv("DTX_CONFIG", str(Path(__file__).parents[3] / "config"))
    monkeypatch.setenv("DTX_BACKEND", "kubernets")
    assert dtx(monkeypatch, "up") == 2
    assert "Did you mean 'kubernetes'?" in capsys.readouterr().err
    assert not (here / "home").exists()


@pytest.mark.parametrize("command", [["nonsense"], ["plan"], ["plan", "e.yaml", "--nonsense"], ["plan", "e.yaml", "more"]])
def test_wrong_usage_has_its_exit_code(here: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    """The same as that of wrong input."""
    assert dtx(monkeypatch, *command) == 2


def test_leaderboard_of_nothing_is_told(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty store has no verdict."""
    assert dtx(monkeypatch, "leaderboard") == 2
    assert capsys.readouterr().err == f"Nothing has run yet in {here / 'home' / 'store'}. `dtx submit FILE` starts one.\n"


def test_leaderboard_of_a_run_is_printed(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """By the run's id, or by the experiment's name; as JSON too."""
    store = Store(here / "home" / "store", make_plan(make_experiment(name="mine")))
    note_run(store.plan, str(store.root), "finetune_experiment", "run-1")
    assert dtx(monkeypatch, "leaderboard", "run-1") == 3
    assert capsys.readouterr().err == "run-1 has no verdict yet. `dtx watch` shows how far it is.\n"
    store.finish()
    select(store.plan, store.layout)
    assert dtx(monkeypatch, "leaderboard", "mine") == 0
    assert "Leaderboard by exact_match on 2 validation rows" in capsys.readouterr().out
    assert dtx(monkeypatch, "leaderboard", "run-1", "--json") == 0
    assert json.loads(capsys.readouterr().out)["best_name"] == "base (base)"


INTERRUPTED = """
import time
from dtx_tasks.cli import app, main

@app.command()
def wait() -> None:
    print("ready", flush=True)
    time.sleep(600)

main()
"""


def test_ctrl_c_has_its_exit_code() -> None:
    """Cancelled is neither failed nor a bug."""
    process = subprocess.Popen([sys.executable, "-c", INTERRUPTED, "wait"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors.strip()) == (4, "Interrupted.")


def test_interrupted_watch_says_that_the_run_goes_on(here: Path) -> None:
    """Nobody may think that Ctrl-C has cancelled it."""
    environment = {name: value for name, value in os.environ.items() if name not in ("DTX_AIRFLOW_USERNAME", "DTX_AIRFLOW_PASSWORD")}

    def answer(method: str, path: str, body: dict[str, Any], token: str) -> Answer:
        return 200, {"task_instances": [], "total_entries": 0} if path.count("taskInstances") else run("r")

    with airflow(answer) as client:
        environment |= {"DTX_AIRFLOW_URL": client.base_url, "DTX_AIRFLOW_TOKEN": "t"}
        command = [sys.executable, "-u", "-c", "from dtx_tasks.cli import main; main()", "watch", "r"]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watching:
            assert watching.stdout is not None
            assert watching.stdout.readline()
            watching.send_signal(signal.SIGTERM)
            _, errors = watching.communicate(timeout=60)
    goes_on = "Stopped watching: r goes on while Airflow runs, and from where it was after `dtx up`."
    assert (watching.returncode, errors) == (4, f"{goes_on} `dtx watch r` shows it again, `dtx cancel r` ends it.\n")
