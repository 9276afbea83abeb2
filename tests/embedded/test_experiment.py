"""Experiments through a real Airflow: scheduler, executor, REST and the `dtx` command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dtx_tasks import stack
from dtx_tasks.stack.rest import Airflow
from tests.recipes.world import processes_of, write_data
from tests.running import DTX, dtx, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dtx_tasks.stack import StackState

pytestmark = [pytest.mark.embedded, pytest.mark.process]

DAG_ID = "finetune_experiment"
LEARNS = {"name": "learns", "finetuning_type": "full", "global_batch_size": 4, "learning_rate": 4e-3, "max_steps": 200, "logging_steps": 5}
LONG = {"name": "long", "global_batch_size": 4, "learning_rate": 1e-3, "max_steps": 1500, "logging_steps": 5, "save_steps": 50, "lora_rank": 4}
NAME = "intents {{name}} {% x %} 试"


class Place:
    """A folder with a running stack, and experiments in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / ".dtx" / "store"
        self.environment = {"DTX_HOME": str(folder / ".dtx"), "DTX_RETRY_DELAY_S": "2"}

    def dtx(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs the command to its end."""
        return dtx(*arguments, cwd=self.folder, **self.environment)

    def state(self) -> StackState:
        """What runs."""
        state = stack.status(self.folder / ".dtx")
        assert state is not None
        return state

    def airflow(self) -> Airflow:
        """A client of the running Airflow."""
        state = self.state()
        return Airflow(state.airflow_url, username=state.username, password=state.password)

    def experiment(self, name: str, groups: list[dict[str, Any]], datasets: list[dict[str, str]] | None = None) -> str:
        """Writes an experiment's file; its path."""
        matrix = {"llms": [{"name": "tiny", "source": "made:tiny-test"}], "datasets": datasets or [write_data(self.folder)], "hyperparameters": groups}
        path = self.folder / f"{abs(hash(name))}.json"
        path.write_text(json.dumps({"kind": "FinetuneExperiment", "name": name, "matrix": matrix, "scoring": {"max_new_tokens": 4}}))
        return str(path)

    def submit(self, path: str) -> str:
        """Starts an experiment; the run's id."""
        done = self.dtx("submit", path, "--json")
        assert done.returncode == 0, done.stderr
        return str(json.loads(done.stdout)["run_id"])

    def trainers(self) -> list[Any]:
        """Training processes of this place."""
        return [process for process in processes_of(str(self.root)) if "dtx_tasks.train" in process.cmdline()]

    def attempts(self) -> dict[str, dict[str, Any]]:
        """Every attempt at every job, by path."""
        return {str(path): json.loads(path.read_text()) for path in sorted(self.root.glob("default/jobs/*/attempts/*.json"))}

    def jobs(self) -> set[str]:
        """Every job that was ever begun."""
        return {path.name for path in self.root.glob("default/jobs/*")}

    def last_step(self, known: set[str]) -> int:
        """The furthest step that the training of any other job told of."""
        lines = [line for name in self.jobs() - known for path in self.root.glob(f"default/jobs/{name}/events.jsonl") for line in path.read_text().splitlines()]
        return max([0, *(json.loads(line)["step"] for line in lines)])

    def started(self, before: int) -> bool:
        """Whether a training has begun and told of progress since there were so many attempts."""
        return len(self.attempts()) > before and bool(self.trainers())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A running stack, in a path with a space."""
    made = Place(tmp_path_factory.mktemp("a place"))
    (made.folder / ".dtx" / "schedules").mkdir(parents=True)
    up = made.dtx("up")
    assert up.returncode == 0, up.stderr
    yield made
    assert made.dtx("down").returncode == 0
    assert processes_of(str(made.folder)) == []


def bad_data(folder: Path) -> dict[str, str]:
    """A Dataset whose second row has no answer."""
    (folder / "bad.jsonl").write_text('{"instruction": "a", "output": "b"}\n{"instruction": "a"}\n')
    return {"name": "bad", "train": "bad.jsonl"}


def test_one_bad_dataset_leaves_the_other_trained_judged_and_registered(place: Place) -> None:
    """The good Dataset's job is trained, scored, chosen and registered; the bad one's is listed with file and line; braces in a name stay."""
    path = place.experiment(NAME, [LEARNS], [write_data(place.folder), bad_data(place.folder)])
    done = place.dtx("submit", path, "--wait", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    verdict = said["verdict"]
    assert (verdict["best_name"], verdict["num_jobs"], verdict["num_scored_jobs"]) == ("tiny / words / learns", 2, 1)
    assert "bad.jsonl:2: output: the column is missing" in verdict["candidates"][-1]["unscored_reason"]
    assert said["registered"].endswith("version 1 @candidate")
    assert NAME in Path(said["report"]).read_text(encoding="utf-8")
    with place.airflow() as airflow:
        tasks = airflow.task_instances(DAG_ID, said["run_id"])
    assert {task.name for task in tasks if task.task_id == "finetune.train"} == {pack.stem for pack in place.root.glob("default/experiments/*/*/packs/*.json")}


def test_the_same_experiment_again_starts_no_process(place: Place) -> None:
    """Every job is reused: nothing is trained, fetched, prepared or scored anew, and nothing is registered twice."""
    before = place.attempts()
    path = place.experiment("another name", [LEARNS])
    done = place.dtx("submit", path, "--wait")
    assert done.returncode == 0, done.stderr
    assert "Every job was reused: 1 of 1 job reused, 0 trained." in done.stdout
    again = place.dtx("submit", path, "--wait", "--json")
    run_id = json.loads(again.stdout)["run_id"]
    with place.airflow() as airflow:
        mapped = [task for task in airflow.task_instances(DAG_ID, run_id) if task.map_index >= 0]
        logs = ["\n".join(airflow.log(DAG_ID, run_id, task.task_id, task.map_index)) for task in mapped]
    assert len(mapped) == 5
    assert ["Every record is there already" in log for log in logs] == [True] * 5
    assert json.loads(again.stdout)["registered"].endswith("version 1 @candidate")
    assert place.attempts() == before


def test_an_experiment_in_which_everything_fails_says_why(place: Place) -> None:
    """Exit code 3, the run is failed, and the reason of every failure is told."""
    spec = json.loads(Path(place.experiment("all bad", [LEARNS], [bad_data(place.folder)])).read_text())
    spec["matrix"]["datasets"][0]["validation"] = "bad.jsonl"
    path = place.folder / "all-bad.json"
    path.write_text(json.dumps(spec))
    done = place.dtx("submit", str(path), "--wait")
    assert done.returncode == 3
    assert "bad.jsonl:2: output: the column is missing" in done.stderr
    assert "No base could be scored" in done.stderr


@pytest.mark.parametrize(
    ("conf", "reason"),
    [
        ({"name": "half a request"}, "the experiment names no job"),
        ({"name": "x", "matrix": {"llms": ["tiny-bilingual"], "datasets": ["shop-zh"], "hyperparameters": ["lora-quik"]}}, "Did you mean 'lora-quick'?"),
        ({"spec_uri": "/etc/passwd"}, "lies outside the folders that requests may read"),
        (
            {"name": "x", "matrix": {"llms": ["tiny-bilingual"], "datasets": [{"name": "d", "train": "/etc/passwd"}], "hyperparameters": ["lora-quick"]}},
            "lies outside the folders that requests may read",
        ),
    ],
)
def test_a_request_with_mistakes_fails_at_once_with_the_reason(place: Place, conf: dict[str, Any], reason: str) -> None:
    """What comes by REST gets no values from the form, may not read the machine's files, and its mistakes are told in the task's log."""
    with place.airflow() as airflow:
        run_id = airflow.trigger(DAG_ID, conf)
        until(lambda: airflow.dag_run(DAG_ID, run_id).finished, "the run has ended")
        assert airflow.dag_run(DAG_ID, run_id).state == "failed"
        assert reason in "\n".join(airflow.log(DAG_ID, run_id, "plan"))


@pytest.mark.parametrize(("victim", "learning_rate"), [("scheduler", 1e-3), ("task", 1.5e-3)])
def test_what_runs_a_training_is_killed_and_the_run_goes_on(place: Place, victim: str, learning_rate: float) -> None:
    """The training ends with the scheduler or with its Airflow task; the next attempt continues from its last checkpoint."""
    known = place.jobs()
    run_id = place.submit(place.experiment(f"survives {victim}", [{**LONG, "learning_rate": learning_rate}]))
    until(lambda: place.last_step(known) > 250 and place.trainers(), "training has written checkpoints")
    trainers = place.trainers()
    os.kill(pid_of(place, victim), signal.SIGKILL)
    until(lambda: not any(process.is_running() for process in trainers), "the training has ended", 60)
    with place.airflow() as airflow:
        until(lambda: airflow.dag_run(DAG_ID, run_id).finished, "the run has ended", 300)
        assert airflow.dag_run(DAG_ID, run_id).state == "success"
    (job,) = place.jobs() - known
    assert [attempt["started_from_step"] >= 200 for path, attempt in place.attempts().items() if job in path] == [False, True]


def pid_of(place: Place, victim: str) -> int:
    """The scheduler, or the process of the Airflow task that is training."""
    if victim == "task":
        (entrypoint,) = [process for process in processes_of(str(place.root)) if "dtx_tasks.entrypoints" in process.cmdline()]
        return int(entrypoint.ppid())
    scheduler = place.state().component("scheduler")
    assert scheduler is not None
    assert scheduler.pid is not None
    return scheduler.pid


def test_a_cancelled_run_leaves_no_process(place: Place) -> None:
    """`dtx cancel` stops training, and whoever watches the run is told so by the exit code 4."""
    before = len(place.attempts())
    run_id = place.submit(place.experiment("cancelled", [{**LONG, "learning_rate": 2e-3, "max_steps": 20000}]))
    until(lambda: place.started(before), "training has begun")
    assert place.dtx("cancel", run_id).returncode == 0
    until(lambda: not place.trainers(), "no training process is left", 90)
    watched = place.dtx("watch", run_id)
    assert (watched.returncode, watched.stderr.strip()) == (4, f"{run_id} was cancelled.")


def test_two_experiments_at_once_train_a_shared_job_once(place: Place) -> None:
    """Both have a verdict; the job that they share was begun once."""
    before = len(place.attempts())
    shared = {**LEARNS, "learning_rate": 3e-3, "max_steps": 100}
    runs = [place.submit(place.experiment(name, [shared])) for name in ("the one", "the other")]
    with place.airflow() as airflow:
        until(lambda: all(airflow.dag_run(DAG_ID, run_id).finished for run_id in runs), "both runs have ended", 300)
        assert [airflow.dag_run(DAG_ID, run_id).state for run_id in runs] == ["success", "success"]
    assert len(place.attempts()) == before + 1


def test_scheduled_experiments_have_a_dag_each_and_a_bad_file_hides_no_other(place: Place) -> None:
    """A file with `schedule:` in the configured folder is a DAG; one with mistakes is an import error that names it."""
    folder = place.folder / ".dtx" / "schedules"
    spec = json.loads(Path(place.experiment("nightly", [LEARNS])).read_text())
    (folder / "broken.yaml").write_text("kind: FinetuneExperiment\nname: broken\nschedul: '0 2 * * *'\n")
    (folder / "nightly.json").write_text(json.dumps({**spec, "schedule": "0 2 * * *"}))
    with place.airflow() as airflow:
        airflow.wait_for_dag("scheduled_nightly", 120)
        until(airflow.import_errors, "the import error is told", 60)
        (text,) = airflow.import_errors().values()
    assert "broken.yaml:3: schedul: is not a known key" in text


def test_ctrl_c_leaves_no_process_behind(place: Place) -> None:
    """`dtx run` in a terminal, interrupted: exit code 4, and nothing of it runs on."""
    path = place.experiment("interrupted", [{**LONG, "learning_rate": 5e-4, "max_steps": 20000}])
    environment = {**os.environ, "DTX_HOME": str(place.folder / "alone")}
    running = subprocess.Popen(
        [DTX, "run", path], cwd=place.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    until(lambda: [process for process in processes_of(str(place.folder / "alone")) if "dtx_tasks.train" in process.cmdline()], "training has begun")
    time.sleep(1)
    os.killpg(running.pid, signal.SIGINT)
    _, errors = running.communicate(timeout=120)
    assert (running.returncode, errors.strip().splitlines()[-1]) == (4, "Stopped. What is finished is kept: the same command goes on from there.")
    until(lambda: not processes_of(str(place.folder / "alone")), "no process is left", 10)
