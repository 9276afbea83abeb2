"""Start, stop and look at the stack of a folder."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from dtx_tasks.stack import components, health
from dtx_tasks.stack.credentials import ensure_credentials
from dtx_tasks.stack.environment import airflow_environment
from dtx_tasks.stack.ports import choose_ports
from dtx_tasks.stack.processes import (
    COMPONENT_MARK,
    FOLDER_MARK,
    GRACE_S,
    SUPERVISOR,
    end_processes,
    is_process,
    marked_processes,
    send_signal,
)
from dtx_tasks.stack.state import Component, Settings, StackError, StackState, read_settings, read_state, write_settings

_POLL_S = 0.5
_LOG_LINES = 25
_UP_LINES = {
    components.API_SERVER: "Airflow's API server is up at {airflow_url}",
    components.SCHEDULER: "Airflow's scheduler is up",
    components.DAG_PROCESSOR: "Airflow's DAG processor is up",
    components.TRIGGERER: "Airflow's triggerer is up",
    components.MLFLOW: "MLflow is up at {mlflow_url}",
}


def up(
    folder: Path,
    *,
    dags_folder: Path,
    plugins_folder: Path,
    config_env: Mapping[str, str] | None = None,
    parallelism: int | None = None,
    timeout_s: float = 240,
    on_event: Callable[[str], None] = lambda _line: None,
) -> StackState:
    """Start the stack of a folder and wait until all of it works; one that works is returned.

    Args:
        folder: Where all of its state is kept; made where it is missing.
        dags_folder: Where Airflow reads DAG files from.
        plugins_folder: Where Airflow reads plugins from.
        config_env: Environment of the stack's processes that overrides everything else.
        parallelism: How many tasks run at a time; the number of cores, but at least 2, by default.
        timeout_s: How long the start may take in seconds.
        on_event: Takes one short line for each thing that a person who waits would like to know.

    Raises:
        StackError: It did not start in time, or it runs with other settings. Nothing that this
            call started is left running.
    """
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    wanted = _settings(folder, dags_folder, plugins_folder, config_env or {}, parallelism)
    with _lock(folder, on_event):
        running = _running(folder)
        if running is not None and _is_beyond_repair(running):
            on_event("The stack that runs has failed; it is started again")
            _end(folder)
            running = None
        if running is not None:
            _check_same(folder, wanted)
            return _wait(folder, timeout_s, on_event)
        return _start(folder, wanted, timeout_s, on_event)


def down(folder: Path) -> bool:
    """Stop the stack of a folder, and return when no process of it is left.

    Tasks that run are stopped, not failed: the next `up` runs them again.

    Returns:
        False where nothing ran.
    """
    folder = folder.absolute()
    if not folder.exists():
        return False
    with _lock(folder):
        return _end(folder)


def status(folder: Path) -> StackState | None:
    """Return what runs in a folder, with the health of each component, or None where nothing does."""
    running = _running(folder.absolute())
    return None if running is None else health.check(running)


def _settings(
    folder: Path,
    dags_folder: Path,
    plugins_folder: Path,
    config_env: Mapping[str, str],
    parallelism: int | None,
) -> Settings:
    before = read_settings(folder)
    settings = Settings(
        dags_folder=dags_folder.absolute(),
        plugins_folder=plugins_folder.absolute(),
        parallelism=parallelism or max(2, os.cpu_count() or 2),
        ports=choose_ports(folder, before.ports if before else None),
        config_env=dict(config_env),
    )
    airflow_environment(  # refuses what Airflow cannot take before anything is started
        folder,
        ports=settings.ports,
        dags_folder=settings.dags_folder,
        plugins_folder=settings.plugins_folder,
        parallelism=settings.parallelism,
    )
    return settings


def _start(folder: Path, settings: Settings, timeout_s: float, on_event: Callable[[str], None]) -> StackState:
    try:
        _end(folder)  # what a supervisor that was killed left behind
        ensure_credentials(folder)
        write_settings(folder, settings)
        _rotate_logs(folder)
        on_event("Airflow and MLflow are being started")
        _launch_supervisor(folder)
        return _wait(folder, timeout_s, on_event)
    except BaseException:  # Ctrl-C too
        on_event("Stopping what was started ...")
        _end(folder)
        raise


def _launch_supervisor(folder: Path) -> None:
    log_path = folder / "logs" / f"{SUPERVISOR}.log"
    with log_path.open("ab") as log:
        subprocess.run(
            [sys.executable, "-m", "dtx_tasks.stack.supervisor", str(folder)],
            env=os.environ | {FOLDER_MARK: str(folder), COMPONENT_MARK: SUPERVISOR},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            check=False,
        )


def _wait(folder: Path, timeout_s: float, on_event: Callable[[str], None]) -> StackState:
    deadline = time.monotonic() + timeout_s
    announced: set[str] = set()
    while time.monotonic() < deadline:
        state = status(folder)
        if state is None:
            if not _supervisors(folder):
                raise StackError(_explain(folder, "The supervisor of the stack ended", SUPERVISOR))
        else:
            _announce(state, announced, on_event)
            _check_alive(folder, state)
            if state.healthy and state.component(components.API_SERVER):
                return state
        time.sleep(_POLL_S)
    raise StackError(_explain_timeout(folder, timeout_s))


def _announce(state: StackState, announced: set[str], on_event: Callable[[str], None]) -> None:
    for component in state.components:
        if component.name in announced:
            continue
        if component.name == components.DATABASE:
            on_event("Airflow's database is being set up")
        elif component.healthy:
            line = _UP_LINES[component.name]
            on_event(line.format(airflow_url=state.airflow_url, mlflow_url=state.mlflow_url))
        else:
            continue
        announced.add(component.name)


def _check_alive(folder: Path, state: StackState) -> None:
    for component in state.components:
        if component.gave_up or (component.pid is None and component.num_restarts >= 1):
            raise StackError(_explain_component(folder, component))


def _explain_component(folder: Path, component: Component) -> str:
    return _explain(folder, f"{component.name} does not work: {component.problem}", component.name)


def _explain_timeout(folder: Path, timeout_s: float) -> str:
    state = status(folder)
    bad = next((c for c in state.components if not c.healthy), None) if state else None
    if bad is None:
        return _explain(folder, f"The stack was not up after {timeout_s:.0f} s", SUPERVISOR)
    return _explain(folder, f"{bad.name} was not up after {timeout_s:.0f} s: {bad.problem}", bad.name)


def _explain(folder: Path, what: str, log_name: str) -> str:
    log_path = folder / "logs" / f"{log_name}.log"
    lines = log_path.read_text(errors="replace").splitlines() if log_path.exists() else []
    tail = "\n".join(f"  {line}" for line in lines[-_LOG_LINES:])
    return f"{what}.\nThe end of {log_path}:\n{tail or '  (it is empty)'}"


def _check_same(folder: Path, wanted: Settings) -> None:
    actual = read_settings(folder)
    if actual is None or actual.digest != wanted.digest:
        raise StackError(
            f"{folder}: the stack runs with other settings than these (DAGs folder, plugins folder, "
            "parallelism or configuration). Run `dtx down`, then `dtx up`."
        )


def _is_beyond_repair(state: StackState) -> bool:
    return any(component.gave_up for component in state.components)


def _running(folder: Path) -> StackState | None:
    state = read_state(folder)
    if state is None or not is_process(state.supervisor_pid, state.supervisor_born_s):
        return None
    return state


def _end(folder: Path) -> bool:
    """Let the supervisor end its stack, then end what has none any more."""
    found = marked_processes(folder)
    send_signal(_supervisors(folder), signal.SIGTERM)
    deadline = time.monotonic() + GRACE_S + 12
    while _supervisors(folder) and time.monotonic() < deadline:
        time.sleep(0.1)
    end_processes(lambda: marked_processes(folder), grace_s=GRACE_S)
    (folder / "stack.json").unlink(missing_ok=True)
    return bool(found)


def _supervisors(folder: Path) -> list[psutil.Process]:
    return marked_processes(folder, SUPERVISOR)


def _rotate_logs(folder: Path) -> None:
    """Keep the logs of the start before this one as `<component>.log.1`."""
    logs = folder / "logs"
    logs.mkdir(exist_ok=True)
    for path in logs.glob("*.log"):
        path.replace(path.with_name(f"{path.name}.1"))


@contextmanager
def _lock(folder: Path, on_event: Callable[[str], None] = lambda _line: None) -> Iterator[None]:
    """Hold the folder's lock: of two that start or stop a stack, the second waits."""
    with (folder / "stack.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_event("Another `dtx up` or `dtx down` is at work here; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
