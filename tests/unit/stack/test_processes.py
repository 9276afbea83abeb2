"""Finding and ending the processes of a stack."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from dtx_tasks.stack import down
from dtx_tasks.stack.processes import COMPONENT_MARK, FOLDER_MARK, end_processes, marked_processes, tree
from tests.running import until

SLEEP = "import time; time.sleep(60)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); {SLEEP}"


@contextmanager
def process(folder: Path, component: str = "scheduler", code: str = SLEEP) -> Iterator[subprocess.Popen[str]]:
    environment = os.environ | {FOLDER_MARK: str(folder), COMPONENT_MARK: component}
    command = [sys.executable, "-c", code]
    started = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


def test_marked_process_is_found(tmp_path: Path) -> None:
    """A process is found by the folder in its environment."""
    with process(tmp_path) as marked:
        assert [found.pid for found in marked_processes(tmp_path)] == [marked.pid]


def test_only_the_exact_folder_is_found(tmp_path: Path) -> None:
    """A folder whose path begins in the same way belongs to somebody else."""
    with process(tmp_path / "stack-2"):
        assert marked_processes(tmp_path / "stack") == []


def test_only_the_component_is_found(tmp_path: Path) -> None:
    """What one component left behind is ended without the others."""
    with process(tmp_path, "scheduler") as scheduler, process(tmp_path, "mlflow"):
        assert [found.pid for found in marked_processes(tmp_path, "scheduler")] == [scheduler.pid]


def test_grandchild_in_another_session_is_found(tmp_path: Path) -> None:
    """A training that opens a session of its own, and loses its parent, still carries the mark."""
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEP!r}], start_new_session=True)"
    with process(tmp_path, code=code) as parent:
        parent.wait()
        assert len(marked_processes(tmp_path)) == 1
        assert end_processes(lambda: marked_processes(tmp_path), grace_s=5) == 1
        assert marked_processes(tmp_path) == []


def test_stubborn_process_is_killed(tmp_path: Path) -> None:
    """A process that ignores SIGTERM is killed after the grace."""
    with process(tmp_path, code=STUBBORN) as stubborn:
        assert stubborn.stdout is not None
        stubborn.stdout.readline()
        end_processes(lambda: marked_processes(tmp_path), grace_s=0.3)
        assert stubborn.wait() == -signal.SIGKILL


def test_ending_nothing_ends_nothing(tmp_path: Path) -> None:
    """Where no process is left, none is reported."""
    assert end_processes(lambda: marked_processes(tmp_path), grace_s=5) == 0


def test_tree_of_a_process_that_is_gone_is_empty() -> None:
    """A process may end between being listed and being looked at."""
    assert tree(2**22 + 1) == []


def test_down_ends_leftovers_without_a_supervisor(tmp_path: Path) -> None:
    """What a killed supervisor left behind is found and ended."""
    with process(tmp_path) as leftover:
        # Its mark is there once it runs its own program.
        until(lambda: marked_processes(tmp_path), "the leftover has begun")
        assert down(tmp_path)
        assert not psutil.pid_exists(leftover.pid) or leftover.poll() is not None


def test_down_without_a_stack_says_so(tmp_path: Path) -> None:
    """Stopping what does not run is no mistake, and makes no folder."""
    assert not down(tmp_path)
    assert not down(tmp_path / "missing")
    assert not (tmp_path / "missing").exists()


def test_down_waits_for_the_lock(tmp_path: Path) -> None:
    """Of two commands that work on one folder, the second waits for the first."""
    with (tmp_path / "stack.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = threading.Thread(target=down, args=(tmp_path,))
        waiting.start()
        time.sleep(0.3)
        assert waiting.is_alive()
        fcntl.flock(lock, fcntl.LOCK_UN)
        waiting.join(timeout=10)
        assert not waiting.is_alive()
