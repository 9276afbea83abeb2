"""The example package: built, installed, planned with and run, as a user's own would be."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dtx_tasks.entrypoints.documents import write_plan
from dtx_tasks.records import ExperimentPlan, Layout, PreparedDataset
from dtx_tasks.storage import read_record
from tests.recipes.world import QUICK
from tests.running import dtx

REPOSITORY = Path(__file__).parents[3]
LONG, SHORT = "a long enough answer", "short"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which the example is installed; nothing is downloaded for it."""
    folder = tmp_path_factory.mktemp("example")
    # Building leaves files beside the source.
    shutil.copytree(REPOSITORY / "tests/example_plugin", folder / "source")
    uv = shutil.which("uv") or REPOSITORY / ".uv/bin/uv"
    options = ["--offline", "--no-deps", "--no-build-isolation", "--python", sys.executable, "--target", folder / "installed"]
    built = subprocess.run([uv, "pip", "install", *options, folder / "source"], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return {"PYTHONPATH": f"{folder / 'installed'}{os.pathsep}{REPOSITORY}", "DTX_HOME": str(folder / "home")}


def spec_on(folder: Path, *, test: str = "test.jsonl", allow_leakage: str | None = None, **parameters: Any) -> Path:
    """An experiment whose train file has an answer that is too short."""
    rows = [{"instruction": "a", "output": f" {LONG} "}, {"instruction": "b", "output": SHORT}, {"instruction": "c", "output": LONG}]
    for split, found in {"train": rows, "test": [{"instruction": "d", "output": LONG}]}.items():
        (folder / f"{split}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in found))
    plugin = {"name": "drop-short", "parameters": parameters}
    dataset = {"name": "rows", "train": "train.jsonl", "test": test, "plugins": [plugin]}
    matrix = {"llms": [{"name": "tiny", "source": "made:tiny-test"}], "datasets": [dataset], "hyperparameters": [QUICK]}
    (folder / "e.json").write_text(json.dumps({"name": "with a plugin", "matrix": matrix, "allow_leakage": allow_leakage}))
    return folder / "e.json"


PLAN_AND_LOOK = """
import sys
from pathlib import Path
from dtx_tasks.cli.experiment import read_spec
from dtx_tasks.entrypoints.planning import plan_document
print(plan_document(*read_spec(Path(sys.argv[1]))).model_dump_json())
assert not [name for name in sys.modules if name.startswith("dtx_example_plugin")]
"""


def planned(spec: Path, environment: dict[str, str]) -> ExperimentPlan:
    """The plan, made by a process that has not imported the plugin."""
    command = [sys.executable, "-c", PLAN_AND_LOOK, str(spec)]
    made = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return ExperimentPlan.model_validate_json(made.stdout)


def stage(name: str, uri: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs a stage as Airflow does: as a process of its own."""
    command = [sys.executable, "-m", "dtx_tasks.entrypoints", name, "--document", uri, "--run-key", "round"]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)


def test_example_is_listed(tmp_path: Path, environment: dict[str, str]) -> None:
    """With its version and its parameters."""
    out = dtx("plugin", "list", cwd=tmp_path, COLUMNS="200", **environment).stdout
    assert [cell.strip() for cell in out.splitlines()[4].split("│")[1:4]] == ["drop-short", "1.0", "min_characters, column"]


def test_planning_reads_the_example_and_preparing_runs_it(tmp_path: Path, environment: dict[str, str]) -> None:
    """Short answers are gone, the others are trimmed; where the package is missing, preparing says so."""
    plan = planned(spec_on(tmp_path), environment)
    assert plan.datasets[0].files["train"].num_rows == 3
    assert plan.datasets[0].plugins[0].parameters == {"min_characters": 10, "column": "output"}
    uris = write_plan(plan, str(tmp_path / "store"))
    assert stage("fetch", uris.bases[0], environment).returncode == 0

    without = stage("prepare", uris.prepare[0], {"PYTHONPATH": str(REPOSITORY)})
    assert (without.returncode, "There is no plugin 'drop-short' in " in without.stdout + without.stderr) == (78, True)

    assert stage("prepare", uris.prepare[0], environment).returncode == 0
    record = read_record(f"{Layout(str(tmp_path / 'store'), plan.team).prepared(plan.prepared[0].prepared_id)}/prepared.json", PreparedDataset)
    assert record is not None
    assert (record.train.num_rows, record.num_scored_rows, record.plugins) == (2, {"test": 1}, plan.datasets[0].plugins)


def test_rows_that_a_plugin_lets_leak_stop_preparing(tmp_path: Path, environment: dict[str, str]) -> None:
    """Unless the experiment gives a reason: both splits are one file here."""
    for reason, exit_code in ((None, 65), ("to keep the test short", 0)):
        spec = spec_on(tmp_path, test="train.jsonl", allow_leakage=reason)
        uris = write_plan(planned(spec, environment), str(tmp_path / "store"))
        assert stage("fetch", uris.bases[0], environment).returncode == 0
        ended = stage("prepare", uris.prepare[0], environment)
        assert ended.returncode == exit_code, ended.stderr
        assert ("2 rows that are scored on are learned from too" in ended.stdout + ended.stderr) is (reason is None)


def test_plan_says_what_it_cannot_know(tmp_path: Path, environment: dict[str, str]) -> None:
    """Numbers of rows, and leakage."""
    out = dtx("plan", str(spec_on(tmp_path)), cwd=tmp_path, COLUMNS="200", **environment).stdout
    assert "rows is counted before its plugins run: drop-short 1.0." in out
    assert "Leakage from and into other Datasets is not checked for rows: plugins make its rows when they are prepared." in out


def test_wrong_parameter_stops_the_plan_with_its_line(tmp_path: Path, environment: dict[str, str]) -> None:
    """And the nearest name."""
    found = dtx("validate", str(spec_on(tmp_path, min_caracters=3)), cwd=tmp_path, **environment)
    said = "matrix.datasets[0].plugins[0].parameters.min_caracters: is not a known parameter (got 3). Did you mean 'min_characters'?"
    assert (found.returncode, said in found.stderr) == (2, True)


def test_rows_of_a_plugin_are_checked_and_shown(tmp_path: Path, environment: dict[str, str]) -> None:
    """`dtx dataset` runs plugins: it is a person's own shell. Leakage among the rows that come out is found here."""
    spec_on(tmp_path)
    definition = {"name": "rows", "train": "train.jsonl", "test": "train.jsonl", "plugins": [{"name": "drop-short"}]}
    (tmp_path / "rows.yaml").write_text(json.dumps(definition))
    report = json.loads(dtx("dataset", "check", "rows.yaml", "--json", cwd=tmp_path, **environment).stdout)
    counts = {code["code"]: code["count"] for code in report["findings"]}
    assert (report["splits"]["train"]["num_rows"], counts["leakage"]) == (2, 2)
    shown = dtx("dataset", "preview", "rows.yaml", cwd=tmp_path, **environment).stdout
    assert (shown.count(f"assistant: {LONG}"), SHORT in shown) == (2, False)
