"""The process that starts the components of a stack, restarts those that die, and ends them all.

Run as `python -m dtx_tasks.stack.supervisor <folder>`, it detaches at once. What runs is in
`<folder>/stack.json`, rewritten at every change.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import FrameType

import psutil

from dtx_tasks.stack import components
from dtx_tasks.stack.components import Command
from dtx_tasks.stack.credentials import ensure_credentials
from dtx_tasks.stack.environment import USERNAME, mlflow_url
from dtx_tasks.stack.ports import HOST
from dtx_tasks.stack.processes import (
    COMPONENT_MARK,
    GRACE_S,
    born_s,
    end_processes,
    marked_processes,
    tree,
)
from dtx_tasks.stack.state import Component, Settings, StackError, StackState, read_settings, write_state
from dtx_tasks.tether import adopt_orphans, end_with_parent, reap_orphans

POLL_S = 0.2
# Restarts of one component within a minute: at once, then after 1, 2, 4 and 8 seconds, then never.
MAX_RESTARTS_PER_MINUTE = 5
_WINDOW_S = 60.0


class Watched:
    """One component: its process, and what the supervisor decided about it."""

    def __init__(self, command: Command) -> None:
        self.command = command
        self.component = Component(command.name)
        self.process: subprocess.Popen[bytes] | None = None
        self._next_start_s = time.monotonic()
        self._deaths_s: list[float] = []

    @property
    def is_due(self) -> bool:
        """Whether it should be started now."""
        is_waiting = self.process is None and not self.component.gave_up
        return is_waiting and time.monotonic() >= self._next_start_s

    def start(self) -> None:
        """Start the process in a session of its own, its output appended to its log."""
        command = self.command
        command.cwd.mkdir(parents=True, exist_ok=True)
        with command.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                command.argv,
                cwd=command.cwd,
                env=command.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=partial(end_with_parent, signal.SIGTERM, os.getpid()),  # noqa: PLW1509 - there are no threads
            )
        num_restarts = len(self._deaths_s)
        _say(f"{command.name}: started as process {self.process.pid}")
        self.component = replace(self.component, pid=self.process.pid, started_at=_now(), num_restarts=num_restarts, problem="")

    def bury(self, exit_code: int) -> None:
        """Record that the process ended, and when the next one is due, if ever."""
        self.process = None
        now = time.monotonic()
        self._deaths_s.append(now)
        num_recent = sum(now - death < _WINDOW_S for death in self._deaths_s)
        self._next_start_s = now + (0 if num_recent == 1 else 2.0 ** (num_recent - 2))
        gave_up = num_recent > MAX_RESTARTS_PER_MINUTE
        problem = f"it {_describe_exit(exit_code)}" + (f", {num_recent} times within a minute, and is not started again" if gave_up else "")
        _say(f"{self.command.name}: {problem}")
        self.component = replace(self.component, pid=None, problem=problem, gave_up=gave_up)


class Supervisor:
    """Keeps the components of one folder running until it is told to stop."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self._folder = folder
        self._settings = settings
        self._is_stopping = False
        self._watched: list[Watched] = []
        self._database: Watched | None = None
        self._state = self._first_state()

    def run(self) -> None:
        """Start everything and watch over it until SIGTERM or SIGINT; then end everything."""
        adopt_orphans()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._request_stop)
        try:
            self._prepare()
            while not self._is_stopping:
                self._step()
                time.sleep(POLL_S)
        finally:
            self._stop_all()

    def _prepare(self) -> None:
        """Line up what can start now: MLflow, and Airflow or the set-up of its database."""
        mlflow = components.mlflow_command(self._folder, self._settings)
        self._watched = [Watched(mlflow)] if mlflow else []
        if components.is_database_ready(self._folder, self._settings):
            self._watch_airflow()
        else:
            self._database = Watched(components.database_command(self._folder, self._settings))
            self._watched.append(self._database)

    def _watch_airflow(self) -> None:
        commands = components.airflow_commands(self._folder, self._settings)
        self._watched += [Watched(command) for command in commands]

    def _step(self) -> None:
        for watched in list(self._watched):
            exit_code = watched.process.poll() if watched.process else None
            if exit_code is not None:
                self._bury(watched, exit_code)
            if watched.is_due and watched in self._watched:
                watched.start()
        reap_orphans(self._pids())
        self._publish()

    def _bury(self, watched: Watched, exit_code: int) -> None:
        """Take note of a component's end; what it leaves behind must not outlive it."""
        if watched is self._database and exit_code == 0:
            components.record_database_ready(self._folder, self._settings)
            self._watched.remove(watched)
            self._watch_airflow()
            return
        watched.bury(exit_code)
        num_left = end_processes(partial(self._remains, watched.command.name), grace_s=0)
        if num_left:
            _say(f"{watched.command.name}: killed {num_left} processes that it left behind")

    def _remains(self, name: str) -> list[psutil.Process]:
        """List what a dead component left: all with its mark, and orphans that lost any mark."""
        self._reap()
        unmarked = [process for process in self._orphans() if _mark(process) is None]
        trees = [process for orphan in unmarked for process in tree(orphan.pid)]
        return marked_processes(self._folder, name) + trees

    def _reap(self) -> None:
        """Take note of every dead child; the components first, since one that nobody noted hides the orphans behind it."""
        for watched in self._watched:
            if watched.process is not None:
                watched.process.poll()
        reap_orphans(self._pids())

    def _orphans(self) -> list[psutil.Process]:
        pids = self._pids()
        return [child for child in psutil.Process().children() if child.pid not in pids]

    def _pids(self) -> set[int]:
        return {watched.process.pid for watched in self._watched if watched.process}

    def _stop_all(self) -> None:
        """End every process, the API server first.

        A task that is stopped now has not failed: without an API server nothing can say so, it
        stays `running` in the database, and the scheduler of the next start runs it again.
        """
        _say("stopping")
        servers = [w for w in self._watched if w.process and w.command.name == components.API_SERVER]
        for server in servers:
            end_processes(partial(self._living, server.command.name), grace_s=1)
        num_ended = end_processes(self._living, grace_s=GRACE_S)
        (self._folder / "stack.json").unlink(missing_ok=True)
        _say(f"stopped, {num_ended} processes ended")

    def _living(self, name: str | None = None) -> list[psutil.Process]:
        self._reap()
        found = {process.pid: process for process in marked_processes(self._folder, name)}
        if name is None:
            found |= {process.pid: process for process in tree(os.getpid())[1:] if process.is_running()}
        return [process for process in found.values() if not _is_zombie(process)]

    def _publish(self) -> None:
        current = tuple(watched.component for watched in self._watched)
        if current != self._state.components:
            self._state = replace(self._state, components=current)
            write_state(self._folder, self._state)

    def _request_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._is_stopping = True

    def _first_state(self) -> StackState:
        ports, config_env = self._settings.ports, self._settings.config_env
        return StackState(
            airflow_url=f"http://{HOST}:{ports.airflow}",
            mlflow_url=config_env.get("MLFLOW_TRACKING_URI", mlflow_url(ports)),
            username=USERNAME,
            password=ensure_credentials(self._folder),
            supervisor_pid=os.getpid(),
            supervisor_born_s=born_s(psutil.Process()),
            started_at=_now(),
        )


def main(arguments: list[str]) -> int:
    """Detach and supervise the stack of one folder."""
    folder = Path(arguments[0])
    settings = read_settings(folder)
    if settings is None:
        raise StackError(f"{folder}: no stack has been set up here. Run `dtx up`.")
    if not _detach():
        return 0
    Supervisor(folder, settings).run()
    return 0


def _detach() -> bool:
    """Fork into a session of its own; returns False in the parent, which has nothing left to do.

    The caller of `up` is then not the parent of the supervisor, and need not wait for its end.
    """
    if os.fork():
        return False
    os.setsid()
    return True


def _mark(process: psutil.Process) -> str | None:
    read: Callable[[], dict[str, str]] = process.environ
    try:
        return read().get(COMPONENT_MARK)
    except psutil.Error:  # it has ended meanwhile
        return None


def _is_zombie(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def _describe_exit(exit_code: int) -> str:
    if exit_code >= 0:
        return f"ended with exit code {exit_code}"
    return f"was killed by {signal.Signals(-exit_code).name}"


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _say(text: str) -> None:
    print(f"{_now()} {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
