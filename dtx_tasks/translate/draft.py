"""The experiment as far as it is translated, and what is said of each line."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import ValidationError

from dtx_tasks.spec import HyperparameterGroup
from dtx_tasks.spec.explain import explain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dtx_tasks.errors import Mistake

Outcome = Literal["translated", "not needed", "not possible", "assumed"]


class Said(NamedTuple):
    """What became of a key.

    Attributes:
        outcome: `assumed` is of what the file leaves open.
        text: Where it went, or why it went nowhere, and what is nearest.
        target: The hyperparameter that it became; empty for anything else.
    """

    outcome: Outcome
    text: str
    target: str = ""


def translated(text: str, target: str = "") -> Said:
    """It means the same here, under this name."""
    return Said("translated", text, target)


def unneeded(why: str) -> Said:
    """Nothing is lost without it."""
    return Said("not needed", why)


def impossible(why: str) -> Said:
    """It cannot be carried over; the text names what is nearest."""
    return Said("not possible", why)


def assumed(text: str, target: str = "") -> Said:
    """The file leaves it open."""
    return Said("assumed", text, target)


@dataclass(frozen=True)
class Ground:
    """Where a training file stood, and what it does not say itself.

    Attributes:
        folder: Of the file; its relative paths count from the working directory or from here.
        out: The folder of the experiment, which counts its paths from there.
        nodes: Machines that it was trained on.
        gpus: Of each machine.
    """

    folder: Path
    out: Path
    nodes: int = 1
    gpus: int = 1

    def find(self, written: str) -> Path | None:
        """What a path leads to; None where nothing is there."""
        places = (Path.cwd() / written, self.folder / written)
        return next((place for place in places if place.exists()), None)

    def path_for(self, found: Path) -> str:
        """The path as the experiment is to write it."""
        return os.path.relpath(found.resolve(), self.out.resolve())


@dataclass
class Draft:
    """The experiment as far as it is translated.

    Attributes:
        written: The whole file: one key may need another.
        ground: Where it stood.
        name: Of the experiment.
        llm: The definition of its LLM.
        datasets: Names or definitions of its Datasets.
        group: Its hyperparameters.
        seeds: What they begin with.
        resources: What a pack runs on.
        scoring: How jobs are judged.
        accumulation: Steps of the batch that make one of the optimiser.
        told: What is to be said beside the lines.
    """

    written: Mapping[str, Any]
    ground: Ground
    name: str
    llm: dict[str, Any] = field(default_factory=dict)
    datasets: list[str | dict[str, Any]] = field(default_factory=list)
    group: dict[str, Any] = field(default_factory=dict)
    seeds: list[int] = field(default_factory=list)
    resources: dict[str, Any] = field(default_factory=dict)
    scoring: dict[str, Any] = field(default_factory=dict)
    accumulation: int = 1
    told: list[tuple[str, Said]] = field(default_factory=list)

    def put(self, name: str, value: Any, note: str = "") -> Said:
        """Writes a hyperparameter, if it can have that value.

        Args:
            name: Of the hyperparameter.
            value: As it is to be written.
            note: What should be known about it.
        """
        wrong = mistake_of(name, value)
        if wrong:
            return impossible(f"{name} {wrong.problem}. {wrong.remedy}".rstrip())
        self.group[name] = value
        return translated(f"{name}: {shown(value)}{f'; {note}' if note else ''}", name)

    @property
    def defined(self) -> list[dict[str, Any]]:
        """The Datasets that are defined in place."""
        return [item for item in self.datasets if isinstance(item, dict)]


Meaning = Callable[[Draft, Any], Said]
"""What becomes of the value of a key."""


class Impossible(NamedTuple):
    """A key that has no counterpart.

    Attributes:
        why: And what is nearest.
        off: The value with which it changes nothing there either.
    """

    why: str
    off: Any = False


@dataclass(frozen=True)
class Dialect:
    """The training files of one program: every key that it knows stands in one of the tables.

    Attributes:
        name: Of the program, with the version whose keys these are.
        mark: The key that tells its files.
        meanings: What has a counterpart.
        unneeded: What nothing is lost without, and why.
        impossible: What cannot be carried over.
        needs: The beginnings of keys that count only with a switch, and that switch.
        secrets: Keys whose values are not repeated.
        defaults: Hyperparameters whose defaults differ: what the program takes where a file says nothing.
        rows_of_a_pass: Its default of rows in one forward pass.
    """

    name: str
    mark: str
    meanings: dict[str, Meaning]
    unneeded: dict[str, str]
    impossible: dict[str, Impossible]
    needs: dict[str, str]
    secrets: frozenset[str]
    defaults: dict[str, Any]
    rows_of_a_pass: int

    @property
    def keys(self) -> set[str]:
        """Every key that is known."""
        return {*self.meanings, *self.unneeded, *self.impossible}


def listed(table: dict[str, str]) -> dict[str, str]:
    """Keys one by one, out of a table from reason to keys."""
    return {key: why for why, keys in table.items() for key in keys.split()}


def mistake_of(name: str, value: Any) -> Mistake | None:
    """What is wrong with a value of a hyperparameter, if anything."""
    try:
        HyperparameterGroup.model_validate({"name": "group", name: value})
    except ValidationError as error:
        return next(explain(error, HyperparameterGroup))
    return None


def shown(value: Any) -> str:
    """A value as YAML has it."""
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)
