"""The embedded stack for real: Airflow's and MLflow's processes, a DAG, and what kills them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import psutil
import pytest

from dtx_tasks.stack import StackError, StackState, down, status, up
from dtx_tasks.stack.processes import marked_processes
from dtx_tasks.stack.rest import Airflow, TaskInstance

pytestmark = pytest.mark.embedded

DAG_ID = "sleep"
DAG_FILE = '''
"""Sleeps in a child process that leaves its task's session, as a training does."""

import os
import subprocess
import sys
from pathlib import Path

from airflow.sdk import DAG, BaseOperator, task


class Sleep(BaseOperator):
    template_fields = ("seconds",)

    def __init__(self, *, seconds, **arguments):
        super().__init__(**arguments)
        self.seconds = seconds

    def execute(self, context):
        ti, conf = context["ti"], context["dag_run"].conf
        code = f"import time; time.sleep({float(self.seconds)})"
        self.child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
        self.notes = Path(conf["notes"])
        (self.notes / f"started-{ti.map_index}-{ti.try_number}").write_text(f"{os.getpid()} {self.child.pid}")
        if self.child.wait() != 0:
            raise RuntimeError("the child was stopped")
        print("slept well")
        return os.environ["MLFLOW_TRACKING_URI"]

    def on_kill(self):
        (self.notes / "killed").touch()
        self.child.terminate()


with DAG("sleep", schedule=None):

    @task
    def durations(dag_run=None):
        return dag_run.conf["seconds"]

    Sleep.partial(task_id="sleep").expand(seconds=durations())
'''


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    root = tmp_path_factory.mktemp("a clone")
    for name in ("dags", "plugins"):
        (root / name).mkdir()
    (root / "dags" / "sleep.py").write_text(DAG_FILE)
    return root / ".dtx", root / "dags", root / "plugins"


@pytest.fixture(scope="module")
def folder(folders: tuple[Path, Path, Path]) -> Iterator[Path]:
    """A running stack, in a path with a space."""
    folder, dags_folder, plugins_folder = folders
    try:
        up(folder, dags_folder=dags_folder, plugins_folder=plugins_folder, parallelism=2)
        yield folder
    finally:
        down(folder)


@pytest.fixture
def airflow(folder: Path) -> Iterator[Airflow]:
    state = running(folder)
    with Airflow(state.airflow_url, username=state.username, password=state.password) as client:
        client.wait_for_dag(DAG_ID)
        yield client


def running(folder: Path) -> StackState:
    state = status(folder)
    assert state is not None
    return state


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float = 90) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s"
        time.sleep(0.2)


def start_sleeping(airflow: Airflow, notes: Path, *seconds: float) -> str:
    """Trigger a run and return its id once the first task sleeps."""
    run_id = airflow.trigger(DAG_ID, {"seconds": seconds, "notes": str(notes)}, f"run-{uuid4()}")
    wait_for(lambda: any(notes.glob("started-*")), "a task starts")
    return run_id


def wait_for_end(airflow: Airflow, run_id: str) -> str:
    wait_for(lambda: airflow.dag_run(DAG_ID, run_id).finished, "the run ends")
    return airflow.dag_run(DAG_ID, run_id).state


def sleeps(airflow: Airflow, run_id: str) -> list[TaskInstance]:
    return [task for task in airflow.task_instances(DAG_ID, run_id) if task.task_id == "sleep"]


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_every_component_is_healthy(folder: Path) -> None:
    """What `up` returned works: each component answers its own check."""
    state = running(folder)
    assert state.healthy
    assert {component.name for component in state.components} == {"api-server", "scheduler", "dag-processor", "mlflow"}


def test_second_up_returns_the_same_stack(folders: tuple[Path, Path, Path], folder: Path) -> None:
    """A stack that runs is returned at once, with the same processes."""
    _, dags_folder, plugins_folder = folders
    started_at = time.monotonic()
    again = up(folder, dags_folder=dags_folder, plugins_folder=plugins_folder, parallelism=2)
    assert again == running(folder)
    assert time.monotonic() - started_at < 5


def test_other_settings_are_refused(folders: tuple[Path, Path, Path], folder: Path) -> None:
    """A stack that runs with other settings is not passed off as the one that was asked for."""
    _, dags_folder, plugins_folder = folders
    with pytest.raises(StackError, match=r"runs with other settings than these.*Run `dtx down`"):
        up(folder, dags_folder=dags_folder, plugins_folder=plugins_folder, parallelism=7)


def test_login_is_required(folder: Path) -> None:
    """Without a token nothing is shown, not even on the same machine."""
    assert httpx.get(f"{running(folder).airflow_url}/api/v2/dags").status_code == 401


def test_mlflow_answers_under_its_name_only(folder: Path) -> None:
    """Requests under another name, as in a DNS rebinding attack, are refused."""
    url = f"{running(folder).mlflow_url}/api/2.0/mlflow/experiments/search?max_results=1"
    assert httpx.get(url).status_code == 200
    assert httpx.get(url, headers={"Host": "evil.example"}).status_code == 403


def test_only_our_ports_listen_and_only_here(folder: Path) -> None:
    """The stack opens its two ports on 127.0.0.1 and nothing else."""
    connections = [c for process in marked_processes(folder) for c in process.net_connections("inet")]
    listening = {(c.laddr.ip, c.laddr.port) for c in connections if c.status == psutil.CONN_LISTEN}
    urls = [httpx.URL(url) for url in (running(folder).airflow_url, running(folder).mlflow_url)]
    assert listening == {(url.host, url.port) for url in urls}


def test_run_ends_with_log_and_result(folder: Path, airflow: Airflow, tmp_path: Path) -> None:
    """A triggered run ends; each element of the mapped task has its state, log and result."""
    run_id = start_sleeping(airflow, tmp_path, 0, 0, 0)
    assert wait_for_end(airflow, run_id) == "success"
    assert [(task.map_index, task.state, task.try_number) for task in sleeps(airflow, run_id)] == [
        (0, "success", 1),
        (1, "success", 1),
        (2, "success", 1),
    ]
    assert any("slept well" in line for line in airflow.log(DAG_ID, run_id, "sleep", map_index=1))
    assert airflow.xcom(DAG_ID, run_id, "sleep", map_index=2) == running(folder).mlflow_url


def test_trigger_twice_is_one_run(airflow: Airflow, tmp_path: Path) -> None:
    """An id that is there already names the run that is there."""
    run_id = start_sleeping(airflow, tmp_path, 0)
    assert airflow.trigger(DAG_ID, {"seconds": [], "notes": ""}, run_id) == run_id
    assert wait_for_end(airflow, run_id) == "success"


def test_cancel_stops_the_task_and_what_it_started(airflow: Airflow, tmp_path: Path) -> None:
    """A cancelled run kills its processes, through the operator's own on_kill."""
    run_id = start_sleeping(airflow, tmp_path, 300)
    pids = [int(pid) for pid in (tmp_path / "started-0-1").read_text().split()]
    airflow.cancel(DAG_ID, run_id)
    wait_for(lambda: all(is_gone(pid) for pid in pids), "the processes end", timeout_s=20)
    assert (tmp_path / "killed").exists()
    assert airflow.dag_run(DAG_ID, run_id).state == "failed"
    assert sleeps(airflow, run_id)[0].state == "failed"


def test_killed_scheduler_leaves_nothing_and_the_run_goes_on(folder: Path, airflow: Airflow, tmp_path: Path) -> None:
    """After SIGKILL no process of the old tree is left; a new scheduler runs the task again."""
    run_id = start_sleeping(airflow, tmp_path, 12)
    before = running(folder).component("scheduler")
    tree = marked_processes(folder, "scheduler")
    child_pid = int((tmp_path / "started-0-1").read_text().split()[1])
    assert before is not None
    assert before.pid is not None
    assert child_pid in {process.pid for process in tree}
    os.kill(before.pid, signal.SIGKILL)
    wait_for(lambda: not any(process.is_running() for process in tree), "the old tree ends", timeout_s=5)
    assert wait_for_end(airflow, run_id) == "success"
    assert [task.try_number for task in sleeps(airflow, run_id)] == [2]
    after = running(folder).component("scheduler")
    assert after is not None
    assert after.healthy
    assert after.num_restarts == 1


def test_killed_api_server_does_not_fail_a_task(folder: Path, airflow: Airflow, tmp_path: Path) -> None:
    """A task that runs while the API server is started again ends well, at its first try."""
    run_id = start_sleeping(airflow, tmp_path, 12)
    api_server = running(folder).component("api-server")
    assert api_server is not None
    assert api_server.pid is not None
    os.kill(api_server.pid, signal.SIGKILL)
    wait_for(lambda: status(folder) is not None and running(folder).healthy, "the API server is back")
    assert wait_for_end(airflow, run_id) == "success"
    assert [task.try_number for task in sleeps(airflow, run_id)] == [1]


def test_down_leaves_no_process(folder: Path, airflow: Airflow, tmp_path: Path) -> None:
    """After `down` no process of the stack is left, not even a task that was running."""
    start_sleeping(airflow, tmp_path, 300)
    processes = marked_processes(folder)
    assert down(folder)
    assert [process for process in processes if process.is_running() and not is_gone(process.pid)] == []
    assert status(folder) is None
    assert not down(folder)


def test_interrupted_up_leaves_no_process(folders: tuple[Path, Path, Path], folder: Path) -> None:
    """Ctrl-C while the stack starts ends all that has been started."""
    _, dags_folder, plugins_folder = folders
    code = (
        "from pathlib import Path; from dtx_tasks.stack import up; "
        f"up(Path({str(folder)!r}), dags_folder=Path({str(dags_folder)!r}), "
        f"plugins_folder=Path({str(plugins_folder)!r}), on_event=print)"
    )
    command = [sys.executable, "-u", "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as starting:
        wait_for(lambda: any("scheduler" in p.cmdline() for p in marked_processes(folder)), "the start begins")
        starting.send_signal(signal.SIGINT)
        starting.communicate()
    assert marked_processes(folder) == []
    assert status(folder) is None


def test_start_that_fails_is_explained(folders: tuple[Path, Path, Path], folder: Path) -> None:
    """A component that cannot start is named, with the end of its log and where the log is."""
    _, dags_folder, plugins_folder = folders
    with pytest.raises(StackError, match=r"scheduler does not work(.|\n)*scheduler\.log(.|\n)*NoSuchExecutor"):
        up(
            folder,
            dags_folder=dags_folder,
            plugins_folder=plugins_folder,
            config_env={"AIRFLOW__CORE__EXECUTOR": "NoSuchExecutor"},
        )
    assert marked_processes(folder) == []
