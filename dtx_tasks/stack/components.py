"""The processes that make up a stack."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

from dtx_tasks.catalog.backend import load_backend
from dtx_tasks.stack.environment import airflow_environment, mlflow_environment, process_environment
from dtx_tasks.stack.ports import HOST
from dtx_tasks.stack.processes import COMPONENT_MARK, FOLDER_MARK
from dtx_tasks.stack.state import Settings

DATABASE = "database"
API_SERVER = "api-server"
SCHEDULER = "scheduler"
DAG_PROCESSOR = "dag-processor"
TRIGGERER = "triggerer"
MLFLOW = "mlflow"


@dataclass(frozen=True)
class Command:
    """How one component is started."""

    name: str
    argv: tuple[str, ...]
    environment: dict[str, str]
    cwd: Path
    log_path: Path


def airflow_commands(folder: Path, settings: Settings) -> list[Command]:
    """Return the long-running processes of Airflow; each needs the database to be set up."""
    # Logs are read from the folder, so the log server, open to the network by default, stays off.
    scheduler = _airflow_command(folder, settings, SCHEDULER, "scheduler", "--skip-serve-logs")
    servers = [_airflow_command(folder, settings, name, name) for name in (API_SERVER, DAG_PROCESSOR)]
    # Only pods are waited for by triggers.
    is_needed = load_backend(settings.config_env.get("DTX_BACKEND")).backend == "kubernetes"
    return [scheduler, *servers, *([_airflow_command(folder, settings, TRIGGERER, "triggerer", "--skip-serve-logs")] if is_needed else [])]


def database_command(folder: Path, settings: Settings) -> Command:
    """Return the process that creates or upgrades Airflow's database, then ends."""
    return _airflow_command(folder, settings, DATABASE, "db", "migrate")


def mlflow_command(folder: Path, settings: Settings) -> Command | None:
    """Return MLflow's server, or None where the configuration names another one."""
    if "MLFLOW_TRACKING_URI" in settings.config_env:
        return None
    port = settings.ports.mlflow
    arguments = [
        *("--backend-store-uri", f"sqlite:///{folder}/mlflow/mlflow.db"),
        *("--artifacts-destination", str(folder / "mlflow" / "artifacts")),
        *("--host", HOST, "--port", str(port), "--workers", "1"),
        *("--allowed-hosts", f"{HOST}:{port},localhost:{port}"),
    ]
    own = mlflow_environment()
    return _command(folder, settings, MLFLOW, "mlflow", ["server", *arguments], own)


def is_database_ready(folder: Path, settings: Settings) -> bool:
    """Whether this version of Airflow has already set up this database."""
    mark_path, text = _database_mark(folder, settings)
    is_elsewhere = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN" in settings.config_env
    is_there = is_elsewhere or (folder / "airflow" / "airflow.db").exists()
    return is_there and mark_path.exists() and mark_path.read_text() == text


def record_database_ready(folder: Path, settings: Settings) -> None:
    """Remember that the database is set up, which saves the 7 s that Airflow needs to find out."""
    mark_path, text = _database_mark(folder, settings)
    mark_path.write_text(text)


def _database_mark(folder: Path, settings: Settings) -> tuple[Path, str]:
    connection = _airflow_environment(folder, settings)["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
    database = sha256(connection.encode()).hexdigest()[:16]
    return folder / "airflow" / "database.ready", f"{version('apache-airflow-core')} {database}\n"


def _airflow_command(folder: Path, settings: Settings, name: str, *arguments: str) -> Command:
    environment = _airflow_environment(folder, settings)
    return _command(folder, settings, name, "airflow", list(arguments), environment)


def _airflow_environment(folder: Path, settings: Settings) -> dict[str, str]:
    own = airflow_environment(
        folder,
        ports=settings.ports,
        dags_folder=settings.dags_folder,
        plugins_folder=settings.plugins_folder,
        parallelism=settings.parallelism,
    )
    return own | dict(settings.config_env)


def _command(folder: Path, settings: Settings, name: str, module: str, arguments: list[str], own: dict[str, str]) -> Command:
    # -m, since the first line of an installed script cannot hold a path with spaces; -P keeps the
    # folders of the working directory (logs, artifacts) from being taken for packages.
    argv = (sys.executable, "-P", "-m", module, *arguments)
    marks = {FOLDER_MARK: str(folder), COMPONENT_MARK: name}
    environment = process_environment(folder, own, settings.config_env) | marks
    cwd = folder / module
    return Command(name, argv, environment, cwd, folder / "logs" / f"{name}.log")
