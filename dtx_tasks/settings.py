"""Where this machine keeps what, from the environment; the same for the command, the DAG and the pages."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """The folder of the embedded stack and its storage: DTX_HOME, else .dtx in the current folder."""
    return Path(os.environ.get("DTX_HOME", ".dtx")).resolve()


def root() -> str:
    """The storage root: DTX_ROOT, else inside the home folder."""
    named = os.environ.get("DTX_ROOT", "")
    return named if "://" in named else str(Path(named).resolve()) if named else str(home() / "store")


def data_roots(team: str) -> tuple[Path, ...]:
    """Folders that the paths of a request may lead into: the team's uploads, and those of DTX_DATA_ROOTS (separated by colons).

    Args:
        team: Whose request it is.
    """
    named = [Path(item).resolve() for item in os.environ.get("DTX_DATA_ROOTS", "").split(":") if item]
    return (Path(root()).resolve() / team / "uploads", *named)


def schedules_folder() -> Path:
    """Experiments that run by the clock: DTX_SCHEDULES, else `schedules` in the home folder."""
    return Path(os.environ.get("DTX_SCHEDULES") or home() / "schedules")


def bundled_folder(name: str) -> Path:
    """A folder that comes with the project: beside the package in a checkout, inside it in a wheel.

    Args:
        name: `config`, `dags` or `plugins`; DTX_CONFIG, DTX_DAGS and DTX_PLUGINS name others.
    """
    named = os.environ.get(f"DTX_{name.upper()}")
    if named:
        return Path(named).resolve()
    package = Path(__file__).resolve().parent
    beside = package.parent / name
    return beside if beside.is_dir() else package / name


def retry_delay_s() -> float:
    """Seconds between two attempts of a task: DTX_RETRY_DELAY_S, else 10."""
    return float(os.environ.get("DTX_RETRY_DELAY_S", "10"))
