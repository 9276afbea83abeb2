"""What is written down about an embedded stack: how it was started, and what runs."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dtx_tasks.stack.ports import Ports


class StackError(Exception):
    """The embedded stack cannot do what it was asked to; the text says why and what to do."""


@dataclass(frozen=True)
class Component:
    """One process of the stack, as its supervisor sees it."""

    name: str
    pid: int | None = None
    """None while it waits for its turn, or for its next start."""
    started_at: str = ""
    """UTC, ISO 8601; the time of the latest start."""
    num_restarts: int = 0
    problem: str = ""
    """Why it is not healthy; empty when it is, and in the file for as long as the process lives."""
    gave_up: bool = False
    """True once it died so often that the supervisor stopped starting it."""

    @property
    def healthy(self) -> bool:
        """Whether it answered its check; only what `status` and `up` return has been checked."""
        return self.pid is not None and not self.problem


@dataclass(frozen=True)
class StackState:
    """A running stack: where it is reached, and who watches over it."""

    airflow_url: str
    mlflow_url: str
    username: str
    password: str = field(repr=False)
    supervisor_pid: int
    supervisor_born_s: float
    """Start of the supervisor in seconds after boot: a reused pid has another one."""
    started_at: str
    """UTC, ISO 8601."""
    components: tuple[Component, ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether every component answered its check."""
        return all(component.healthy for component in self.components)

    def component(self, name: str) -> Component | None:
        """Return the component of that name, or None where this stack has none."""
        return next((c for c in self.components if c.name == name), None)


@dataclass(frozen=True)
class Settings:
    """What a stack was started with; two that are equal run the same thing."""

    dags_folder: Path
    plugins_folder: Path
    parallelism: int
    ports: Ports
    config_env: Mapping[str, str]

    @property
    def digest(self) -> str:
        """A hash of everything but the ports, which may differ from one start to the next."""
        values = [str(self.dags_folder), str(self.plugins_folder), self.parallelism]
        text = json.dumps([*values, sorted(self.config_env.items())])
        return hashlib.sha256(text.encode()).hexdigest()


def write_state(folder: Path, state: StackState) -> None:
    """Replace `stack.json` by this state."""
    write_private(folder / "stack.json", json.dumps(asdict(state), indent=2))


def read_state(folder: Path) -> StackState | None:
    """Return what `stack.json` says, or None where no supervisor has left one.

    Raises:
        StackError: The file is there and cannot be understood.
    """
    values = _read(folder / "stack.json")
    if values is None:
        return None
    try:
        components = tuple(Component(**component) for component in values.pop("components"))
        return StackState(**values, components=components)
    except (KeyError, TypeError) as error:
        raise _unreadable(folder / "stack.json", error) from error


def write_settings(folder: Path, settings: Settings) -> None:
    """Leave the settings where the supervisor and the next `up` find them."""
    values = asdict(settings)
    values |= {"dags_folder": str(settings.dags_folder), "plugins_folder": str(settings.plugins_folder)}
    write_private(folder / "settings.json", json.dumps(values, indent=2))


def read_settings(folder: Path) -> Settings | None:
    """Return the settings of the latest start in this folder, or None before the first.

    Raises:
        StackError: The file is there and cannot be understood.
    """
    values = _read(folder / "settings.json")
    if values is None:
        return None
    try:
        return Settings(
            dags_folder=Path(values["dags_folder"]),
            plugins_folder=Path(values["plugins_folder"]),
            parallelism=values["parallelism"],
            ports=Ports(**values["ports"]),
            config_env=values["config_env"],
        )
    except (KeyError, TypeError) as error:
        raise _unreadable(folder / "settings.json", error) from error


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, so that no reader ever sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        values = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise _unreadable(path, error) from error
    if not isinstance(values, dict):
        raise _unreadable(path, ValueError("not an object"))
    return values


def _unreadable(path: Path, error: Exception) -> StackError:
    return StackError(f"{path}: this is not a file of this version of dtx ({error}). Delete it and run `dtx up`.")
