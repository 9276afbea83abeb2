"""Preparing in processes of their own: once for each distinct input, and never half."""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dtx_tasks.launch import is_blocked, is_finished
from dtx_tasks.records import PreparedDataset
from dtx_tasks.storage import exists, read_record
from tests.plugins import Packages
from tests.recipes.world import QUICK, Trial, make_trial, processes_of, write_data
from tests.running import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dtx_tasks.launch import LocalProcess

pytestmark = pytest.mark.process

GATE = """
import os, time
from pathlib import Path

def run(rows, parameters):
    folder = Path(os.environ["TEST_GATE"])
    with (folder / "passes").open("a") as passes:
        passes.write("a pass over a file\\n")
    yield from rows
    # Tokens are being written: the gate is in the middle of preparing.
    while (folder / "closed").exists() and any(folder.rglob("partial/train.arrow")):
        (folder / "reached").touch()
        time.sleep(0.02)
"""
"""A plugin, since plugins run where preparing does: it counts how often rows are read, and holds preparing up while its gate is closed."""


@dataclass(frozen=True)
class Gate:
    """A folder with a storage root, on which every preparation goes through the plugin."""

    folder: Path

    def trial(self, name: str) -> Trial:
        """An experiment of this name; all of them learn from the same rows."""
        dataset = {**write_data(self.folder), "plugins": [{"name": "gate"}]}
        matrix = {"llms": [{"name": "tiny", "source": "made:tiny-test"}], "datasets": [dataset], "hyperparameters": [QUICK]}
        return make_trial(self.folder, name, matrix=matrix)

    def process(self, trial: Trial) -> LocalProcess:
        """Prepares for a trial."""
        found = os.pathsep.join([str(self.folder / "packages"), *filter(None, [os.environ.get("PYTHONPATH")])])
        return trial.process("prepare", trial.uris.prepare[0], TEST_GATE=str(self.folder), PYTHONPATH=found)

    def close(self) -> None:
        """Nothing is prepared to its end from now on."""
        (self.folder / "closed").touch()

    def open(self) -> None:
        """What waits goes on."""
        (self.folder / "closed").unlink()

    def is_reached(self) -> bool:
        """Whether somebody waits in the middle of preparing."""
        return (self.folder / "reached").exists()

    def num_passes(self) -> int:
        """How often a file was read through, by all that was prepared so far."""
        return len((self.folder / "passes").read_text().splitlines())


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """An open gate, and a base that is fetched; nothing waits at it for ever."""
    Packages(tmp_path / "packages", monkeypatch).add("gate", GATE)
    made = Gate(tmp_path)
    first = made.trial("first")
    first.here("fetch", first.uris.bases[0])
    yield made
    (tmp_path / "closed").unlink(missing_ok=True)


def folder_of(trial: Trial) -> str:
    return trial.layout.prepared(trial.plan.prepared[0].prepared_id)


def record_of(trial: Trial) -> PreparedDataset | None:
    return read_record(f"{folder_of(trial)}/prepared.json", PreparedDataset)


def end_of(process: LocalProcess) -> int:
    """The exit code of a process, and on the test's output what it said."""
    for line in process.lines():
        print(line)
    return process.wait()


def test_ten_experiments_that_ask_at_once_prepare_once(gate: Gate) -> None:
    """One of them prepares, the others are told to wait; when it has ended all ten have what they need."""
    trials = [gate.trial(f"experiment {number}") for number in range(10)]
    assert len({trial.uris.prepare[0] for trial in trials}) == 10
    gate.close()
    processes = [gate.process(trial) for trial in trials]
    until(lambda: sum(bool(processes_of(trial.uris.prepare[0])) for trial in trials) == 1, "nine of ten have ended", 300)
    until(gate.is_reached, "the tenth is in the middle of it")
    assert not any(is_finished("prepare", trial.uris.prepare[0]) for trial in trials)
    gate.open()
    assert sorted(map(end_of, processes)) == [0, *[79] * 9]
    assert all(is_finished("prepare", trial.uris.prepare[0]) for trial in trials)

    for_ten = gate.num_passes()
    shutil.rmtree(folder_of(trials[0]))
    assert end_of(gate.process(trials[0])) == 0
    assert gate.num_passes() == 2 * for_ten


def test_killed_preparation_looks_unfinished_and_the_next_one_equals_an_undisturbed_one(gate: Gate) -> None:
    """No record and no files in their place; nobody is locked out; and nothing of the first attempt is in the second."""
    trial = gate.trial("killed")
    uri = trial.uris.prepare[0]
    gate.close()
    killed = gate.process(trial)
    until(gate.is_reached, "tokens are being written")
    assert is_blocked("prepare", uri, "another round")
    os.kill(killed.pid, signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert Path(f"{folder_of(trial)}/partial/train.arrow").exists()
    assert not any(exists(f"{folder_of(trial)}/{name}") for name in ("prepared.json", "files"))
    assert not is_finished("prepare", uri)
    assert not is_blocked("prepare", uri, "another round")

    gate.open()
    assert end_of(gate.process(trial)) == 0
    after_the_kill = record_of(trial)
    shutil.rmtree(folder_of(trial))
    assert end_of(gate.process(trial)) == 0
    assert after_the_kill == record_of(trial)
    assert after_the_kill is not None
