"""All settings of the embedded Airflow and MLflow, and why each is not the default."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from dtx_tasks.stack.ports import HOST, Ports
from dtx_tasks.stack.state import StackError

USERNAME = "admin"
# In a path they would be read as configparser interpolation, a shell variable, or a part of a URL.
_FORBIDDEN_CHARACTERS = "%$?#"


def airflow_environment(folder: Path, *, ports: Ports, dags_folder: Path, plugins_folder: Path, parallelism: int) -> dict[str, str]:
    """Return every setting of the embedded Airflow, as environment variables.

    The secrets are not among them: tasks and what they start inherit the environment. They are in
    `<folder>/airflow/airflow.cfg`, which `credentials` writes.

    Args:
        folder: The stack's folder, absolute.
        ports: Where the servers listen.
        dags_folder: Where DAG files are read from.
        plugins_folder: Where Airflow plugins are read from.
        parallelism: How many tasks run at a time, at least 1.

    Raises:
        StackError: A path has a character that Airflow cannot take.
    """
    for path in (folder, dags_folder, plugins_folder):
        _check_path(path)
    airflow_url = f"http://{HOST}:{ports.airflow}"
    return {
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW__API__BASE_URL": airflow_url,
        "AIRFLOW__API__HOST": HOST,
        "AIRFLOW__API__PORT": str(ports.airflow),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__CORE__AUTH_MANAGER": ("airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags_folder),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{airflow_url}/execution/",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        # getfqdn, the default, asks DNS, which takes seconds on a laptop without a network.
        "AIRFLOW__CORE__HOSTNAME_CALLABLE": "dtx_tasks.stack.ports.loopback",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": str(max(16, parallelism)),
        # An edited DAG file counts at once; 30 s is meant for databases shared by many processors.
        "AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "1",
        "AIRFLOW__CORE__PARALLELISM": str(parallelism),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(plugins_folder),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords_path(folder)),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USERNAME}:admin",
        # A new DAG file is seen within 5 s. Files are parsed again every 30 s, since an experiment
        # that is put into the folder of schedules changes none of them.
        "AIRFLOW__DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL": "2",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "30",
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "AIRFLOW__DAG_PROCESSOR__PRINT_STATS_INTERVAL": "0",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
        # SQLite has one writer at a time: wait for it, rather than fail after the default 5 s.
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/airflow/airflow.db?timeout=60",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(folder / "airflow" / "logs"),
        # Logs are read from the folder above. Those of a running task are asked for from its worker as
        # well, which has no server here: ask a port that refuses at once, not some other Airflow's.
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": "9",
        # A scheduler that was killed is replaced at once, but its tasks are given to the new one only
        # when its last heartbeat is this old. Shorter, and a scheduler that waits for a core on a
        # busy machine declares itself dead and restarts its own tasks.
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
        "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "30",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
        # Eight missed heartbeats: a task whose process is gone is noticed within 45 s.
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "40",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
        # A task learns at a heartbeat that it was cancelled.
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        # At two seconds each and several tries inside, an API server that is restarted is survived.
        "AIRFLOW__WORKERS__MAX_FAILED_HEARTBEATS": "10",
        "MLFLOW_TRACKING_URI": mlflow_url(ports),
    }


def mlflow_environment() -> dict[str, str]:
    """Return the settings of the embedded MLflow that are not arguments of its command."""
    return {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def process_environment(folder: Path, own: Mapping[str, str], config_env: Mapping[str, str]) -> dict[str, str]:
    """Return the whole environment of a process of the stack.

    Args:
        folder: The stack's folder.
        own: The settings of the process.
        config_env: What the user's configuration adds; it has the last word.
    """
    return _inherited() | _common() | _bytecode(folder) | dict(own) | dict(config_env)


def mlflow_url(ports: Ports) -> str:
    """Return where the embedded MLflow is reached."""
    return f"http://{HOST}:{ports.mlflow}"


def passwords_path(folder: Path) -> Path:
    """Return the file that Airflow's SimpleAuthManager reads passwords from."""
    return folder / "airflow" / "passwords.json"


def _inherited() -> dict[str, str]:
    """Return the caller's environment without what points at some other place or server."""
    foreign = ("AIRFLOW_", "_AIRFLOW_", "MLFLOW_", "_MLFLOW_")
    dropped = {"PWD", "OLDPWD", "PYTHONDONTWRITEBYTECODE"}
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign) and name not in dropped}


def _common() -> dict[str, str]:
    return {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # Commands such as `accelerate` are looked up beside the Python that runs the stack.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        # A log says what happened up to the moment a process was killed.
        "PYTHONUNBUFFERED": "1",
        # setproctitle overwrites /proc/<pid>/environ otherwise, and with it the mark of the stack.
        "SPT_NOENV": "1",
        # The servers are on this machine: a proxy cannot reach them.
        "NO_PROXY": _without_proxy("NO_PROXY"),
        "no_proxy": _without_proxy("no_proxy"),
    }


def _bytecode(folder: Path) -> dict[str, str]:
    """Keep bytecode out of the packages where the caller wants it so, but do keep it.

    Measured on 2 cores: a start takes 13 s with bytecode, 29 s without it.
    """
    if not os.environ.get("PYTHONDONTWRITEBYTECODE"):
        return {}
    return {"PYTHONPYCACHEPREFIX": os.environ.get("PYTHONPYCACHEPREFIX") or str(folder / "bytecode")}


def _without_proxy(name: str) -> str:
    hosts = os.environ.get(name, "").split(",")
    return ",".join(dict.fromkeys([*filter(None, hosts), HOST, "localhost"]))


def _check_path(path: Path) -> None:
    if not path.is_absolute():
        raise StackError(f"{path}: the embedded stack needs absolute paths. Pass {path.absolute()}.")
    found = [character for character in _FORBIDDEN_CHARACTERS if character in str(path)]
    if found:
        raise StackError(f"{path}: Airflow cannot work in a path with {' '.join(found)} in it. Move or rename the folder.")
