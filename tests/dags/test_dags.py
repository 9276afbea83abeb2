"""The DAGs as Airflow parses them: which there are, how they are built, and what a bad file does to the others."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dtx_tasks.catalog import config_folder, load_catalog
from dtx_tasks.records import slug
from dtx_tasks.spec import FinetuneExperiment, SpecDocument, parse
from dtx_tasks.spec.form import spec_of
from tests.builders import EXPERIMENT, FakeData

ROOT = Path(__file__).parents[2]
FORM_DAG = "finetune_experiment"
STAGES = ("fetch", "prepare", "finetune.train", "finetune.score", "score_base")


def parsed(home: Path, backend: str = "local") -> dict[str, Any]:
    """What Airflow makes of dags/, with the schedules of a home folder."""
    named = {"AIRFLOW_HOME": str(home / "airflow"), "DTX_HOME": str(home), "DTX_SCHEDULES": str(home / "schedules"), "DTX_BACKEND": backend}
    environment = {**os.environ, **named}
    command = [sys.executable, str(ROOT / "tests" / "dags" / "facts.py"), str(ROOT / "dags")]
    said = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    facts: dict[str, Any] = json.loads(said.splitlines()[-1])
    return facts


def scheduling(home: Path, files: dict[str, dict[str, Any]]) -> Path:
    """A home folder with experiments to run by the clock."""
    for name, changes in files.items():
        FakeData(home / "schedules").text(name, json.dumps({**EXPERIMENT, **changes}))
    return home


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """dags/ with a folder of schedules: two good files, one without a schedule, and some with mistakes."""
    files = {
        "a.yaml": {"name": "nightly", "schedule": "0 2 * * *", "team": "night"},
        "b.json": {"name": "每周", "schedule": "0 3 * * 1"},
        "c-unscheduled.yaml": {"name": "once"},
        "e-bad.yaml": {"nome": "bad"},
        "notes.txt": {"nome": "bad"},
    }
    return parsed(scheduling(tmp_path_factory.mktemp("home"), files))


@pytest.fixture(scope="module")
def form_dag(facts: dict[str, Any]) -> dict[str, Any]:
    """The DAG of requests."""
    dag: dict[str, Any] = facts["dags"][FORM_DAG]
    return dag


def told(facts: dict[str, Any], file: str) -> list[str]:
    """The lines of the import errors that name a file."""
    return [line for error in facts["errors"].values() for line in error.splitlines() if file in line]


def test_inventory_of_dag_files_is_closed() -> None:
    """A file in dags/ runs on every platform: a new one is listed here, with its tests."""
    found = {path.relative_to(ROOT / "dags").as_posix() for path in (ROOT / "dags").rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert found == {"finetune_experiment.py", "housekeeping.py", "scheduled_experiments.py"}


@pytest.mark.parametrize("name", ["finetune_experiment.py", "housekeeping.py", "scheduled_experiments.py"])
def test_dag_files_stay_thin(name: str) -> None:
    """Docstring, constants, one call; and the words that Airflow's parser looks for before it imports a file."""
    text = (ROOT / "dags" / name).read_text(encoding="utf-8")
    assert len(text.splitlines()) < 50
    assert "airflow" in text.lower()
    assert "dag" in text.lower()


def test_dag_of_requests_has_these_tasks(form_dag: dict[str, Any]) -> None:
    """Each with what it waits for: data goes down, never back up."""
    assert {task_id: task["upstream"] for task_id, task in form_dag["tasks"].items()} == {
        "plan": [],
        "list_datasets": ["plan"],
        "list_packs": ["plan"],
        "fetch": ["plan"],
        "prepare": ["fetch", "list_datasets"],
        "finetune.train": ["list_packs", "prepare"],
        "finetune.score": ["finetune.train", "list_packs"],
        "score_base": ["plan", "prepare"],
        "select": ["finetune.score", "score_base"],
        "register": ["select"],
        "report": ["register"],
    }


def test_one_failure_leaves_the_others_alone(form_dag: dict[str, Any]) -> None:
    """What must run whatever failed before it says so; what needs a result does not."""
    rules = {task_id: task["trigger_rule"] for task_id, task in form_dag["tasks"].items()}
    assert {task_id for task_id, rule in rules.items() if rule == "all_done"} == {"prepare", "finetune.train", "score_base", "select", "report"}
    assert set(rules.values()) == {"all_done", "all_success"}


def test_stages_are_mapped_operators(form_dag: dict[str, Any]) -> None:
    """One for each document."""
    mapped = {task_id for task_id, task in form_dag["tasks"].items() if task["is_mapped"]}
    assert mapped == {task_id for task_id, task in form_dag["tasks"].items() if task["operator"] == "StageOperator"} == set(STAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_nothing_but_a_uri_is_rendered(form_dag: dict[str, Any], stage: str) -> None:
    """User text never passes through Jinja."""
    assert form_dag["tasks"][stage]["template_fields"] == ["document_uri"]
    assert form_dag["native"] is False


@pytest.mark.parametrize("stage", STAGES)
def test_name_in_the_grid_comes_from_the_document(form_dag: dict[str, Any], stage: str) -> None:
    """Not from the context: that is gone when a deferred task resumes."""
    assert form_dag["tasks"][stage]["map_index_template"] == "{{ task.document_name }}"


@pytest.mark.parametrize("stage", STAGES)
def test_stages_are_tried_again_more_often_than_any_budget(form_dag: dict[str, Any], stage: str) -> None:
    """The stages themselves refuse earlier."""
    assert form_dag["tasks"][stage]["retries"] == 24


def test_dag_of_requests_never_runs_by_itself(form_dag: dict[str, Any]) -> None:
    """Only when somebody asks."""
    assert (form_dag["schedule"], form_dag["catchup"]) == (None, False)


def test_form_is_a_valid_spec(form_dag: dict[str, Any]) -> None:
    """Whoever presses the button without a change runs an experiment."""
    spec = spec_of(form_dag["defaults"])
    assert isinstance(spec, dict)
    assert parse(SpecDocument("the form", spec), FinetuneExperiment).name == "shop-intents"


def test_form_names_what_exists(form_dag: dict[str, Any]) -> None:
    """Its example values are in the catalog, and its choices are all of it."""
    catalog, form = load_catalog(config_folder()), form_dag["defaults"]
    for axis, known in (("llms", catalog.llms), ("datasets", catalog.datasets), ("hyperparameters", catalog.groups)):
        assert set(form[axis]) <= set(known)
        assert form_dag["params"][axis]["examples"] == sorted(known)


def test_scheduled_files_are_dags(facts: dict[str, Any]) -> None:
    """The good ones, whatever the bad ones; a name in any script has an id."""
    found = {name: dag["schedule"] for name, dag in facts["dags"].items() if name != FORM_DAG}
    assert found == {"scheduled_nightly": "0 2 * * *", f"scheduled_{slug('每周')}": "0 3 * * 1"}


def test_scheduled_dag_is_the_same_flow(facts: dict[str, Any]) -> None:
    """With its team's tag, without a form, and without runs of the past."""
    dag = facts["dags"]["scheduled_nightly"]
    assert (dag["tasks"].keys(), dag["tags"]) == (facts["dags"][FORM_DAG]["tasks"].keys(), ["dtx", "night"])
    assert (dag["params"], dag["catchup"]) == ({}, False)


def test_bad_file_is_an_import_error(facts: dict[str, Any]) -> None:
    """With its name, its line and what would be right."""
    assert any("e-bad.yaml:1: nome: is not a known key (got 'bad'). Did you mean 'name'?" in line for line in told(facts, "e-bad.yaml"))


def test_files_without_a_schedule_are_left_alone(facts: dict[str, Any]) -> None:
    """They are run on request, and a text file is none of ours."""
    assert told(facts, "c-unscheduled.yaml") == told(facts, "notes.txt") == []


@pytest.fixture(scope="module")
def quarrel(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """dags/ with two files of one name, and one whose schedule is none."""
    files = {
        "a.yaml": {"name": "nightly", "schedule": "0 2 * * *"},
        "b-twice.yaml": {"name": "nightly", "schedule": "0 4 * * *"},
        "c-cron.yaml": {"name": "cron", "schedule": "every night"},
    }
    return parsed(scheduling(tmp_path_factory.mktemp("quarrel"), files))


def test_bad_schedule_leaves_the_others_alone(quarrel: dict[str, Any]) -> None:
    """Airflow refuses that one DAG, and says why."""
    assert set(quarrel["dags"]) == {FORM_DAG, "scheduled_nightly"}
    assert quarrel["errors"] != {}


def test_first_of_two_files_keeps_its_dag(quarrel: dict[str, Any]) -> None:
    """The second one is refused, and does not run in its place."""
    assert quarrel["dags"]["scheduled_nightly"]["schedule"] == "0 2 * * *"


def test_every_mistake_is_told(quarrel: dict[str, Any]) -> None:
    """A name that stands twice, and a schedule that is none."""
    assert told(quarrel, "b-twice.yaml: name: another file of this folder has it too.")
    assert told(quarrel, "columns has to be specified")


@pytest.fixture(scope="module")
def pod_facts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The same dags/ where stages are pods."""
    return parsed(tmp_path_factory.mktemp("pods"), "kubernetes")


@pytest.mark.parametrize("stage", STAGES)
def test_stages_are_pods_by_configuration_alone(pod_facts: dict[str, Any], form_dag: dict[str, Any], stage: str) -> None:
    """The same graph; and of all that a pod has, Jinja sees the document's URI only."""
    task, local = pod_facts["dags"][FORM_DAG]["tasks"][stage], form_dag["tasks"][stage]
    assert (task["operator"], local["operator"]) == ("PodStageOperator", "StageOperator")
    assert task["template_fields"] == ["document_uri"]
    assert {key: task[key] for key in task if key != "operator"} == {key: local[key] for key in local if key != "operator"}


def test_stages_take_their_places_in_the_pool_of_the_backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing else does: planning and the verdict must not wait for a GPU."""
    config = shutil.copytree(ROOT / "config", tmp_path / "config")
    with (config / "backends/local.yaml").open("a") as file:
        file.write("airflow_pool: gpus\n")
    monkeypatch.setenv("DTX_CONFIG", str(config))
    tasks = parsed(tmp_path)["dags"][FORM_DAG]["tasks"]
    assert {task_id for task_id, task in tasks.items() if task["pool"] == "gpus"} == set(STAGES)


def test_orphans_are_looked_for_where_there_are_pods(pod_facts: dict[str, Any], facts: dict[str, Any]) -> None:
    """Every ten minutes; a laptop has no such DAG."""
    assert pod_facts["errors"] == {}
    assert pod_facts["dags"]["housekeeping"]["schedule"] == "0:10:00"
    assert "housekeeping" not in facts["dags"]
