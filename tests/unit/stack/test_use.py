"""Commands that share a stack, and which of them stops it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from dtx_tasks.stack import is_brief, start_briefly, status, stay_up, used
from dtx_tasks.stack.processes import COMPONENT_MARK, FOLDER_MARK, SUPERVISOR, born_s, marked_processes
from dtx_tasks.stack.state import write_state
from tests.running import until
from tests.unit.stack.test_state import make_state

SLEEP = "import time; time.sleep(60)"
STOPPED = ["Stopping Airflow and MLflow ...", "All is stopped; `dtx up` starts it again"]
STAYS = ["Airflow and MLflow stay up: another command in this folder uses them; `dtx down` stops them"]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Path]:
    """A folder in which a supervisor runs."""
    environment = os.environ | {FOLDER_MARK: str(tmp_path), COMPONENT_MARK: SUPERVISOR}
    with subprocess.Popen([sys.executable, "-c", SLEEP], env=environment) as supervisor:
        until(lambda: marked_processes(tmp_path), "the supervisor has begun")
        write_state(tmp_path, make_state(supervisor.pid, born_s(psutil.Process(supervisor.pid))))
        yield tmp_path
        supervisor.kill()


def test_the_last_command_stops_a_brief_stack(running: Path) -> None:
    """The one that ends first says that it stays up, whichever of them started it."""
    start_briefly(running)
    first, second = list[str](), list[str]()
    with used(running, second.append, stops=True):
        with used(running, first.append, stops=True):
            assert is_brief(running)
        assert (status(running) is not None, first, second) == (True, STAYS, [])
    assert (status(running), is_brief(running), second) == (None, False, STOPPED)


def test_a_stack_that_is_wanted_up_is_left_up(running: Path) -> None:
    """Also where `dtx up` came while a demo ran."""
    told = list[str]()
    start_briefly(running)
    with used(running, told.append, stops=True), used(running, told.append, stops=True):
        stay_up(running)
    assert (status(running) is not None, told) == (True, [])


def test_command_that_only_asks_stops_nothing(running: Path) -> None:
    """A demo that was killed leaves its stack: who watches a run of it must not end it."""
    start_briefly(running)
    with used(running):
        pass
    assert status(running) is not None


def test_interrupted_command_leaves_as_one_that_ends_does(running: Path) -> None:
    """And the interruption goes on to whoever started it."""
    start_briefly(running)
    told = list[str]()
    with pytest.raises(KeyboardInterrupt), used(running, told.append, stops=True):
        raise KeyboardInterrupt
    assert (status(running), told) == (None, STOPPED)


def test_killed_command_no_longer_counts(running: Path) -> None:
    """The kernel drops its lock: the next one that ends stops the stack."""
    start_briefly(running)
    code = f"from pathlib import Path; from dtx_tasks.stack import used\nwith used(Path({str(running)!r})): print('used', flush=True); {SLEEP}"
    with ExitStack() as mine:
        mine.enter_context(used(running, stops=True))
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "used\n"
            other.kill()
    assert status(running) is None


def test_commands_that_leave_where_nothing_runs_say_nothing(tmp_path: Path) -> None:
    """A start that was interrupted has ended what it started."""
    told = list[str]()
    with used(tmp_path, told.append, stops=True):
        start_briefly(tmp_path)
    assert told == []
