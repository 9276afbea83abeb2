"""Copies what training leaves on this machine to remote storage, so that another machine can go on from there."""

from __future__ import annotations

import json
import shutil
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dtx_tasks.errors import DamagedError, TransientError
from dtx_tasks.storage import download, exists, is_remote, list_names, manifest, read_bytes, read_record, remove, upload, workplace, write_bytes, write_record
from dtx_tasks.train.checkpoint import CompleteMark, best_step, files_of, last_step, mark_name, other_writers, step_of, writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dtx_tasks.spec import Resources

INTERVAL_S = 5.0

KEPT = 2
"""Checkpoints of a job, where nobody says it: should the newest be damaged, there is one more."""

EVENTS = "events.jsonl"


def resume(job_uri: str, resources: Resources, *, with_best: bool = False) -> int:
    """Makes this machine ready to go on with a job.

    Args:
        job_uri: The job's folder.
        resources: What is to resume.
        with_best: The best checkpoint so far is needed too.

    Returns:
        The step of the checkpoint that is here now; 0 where there is none.
    """
    if is_remote(job_uri):
        # What an earlier attempt left here is older than what it left on storage, or half of something.
        shutil.rmtree(workplace(f"{job_uri}/scratch"))
    while step := last_step(f"{job_uri}/scratch", resources, with_best=with_best):
        try:
            restore(job_uri, step, resources, with_best=with_best)
            break
        except DamagedError as error:
            print(json.dumps({"event": "storage", "message": f"A checkpoint is left out: {error.message}"}), flush=True)
            remove(f"{job_uri}/scratch/checkpoint-{step}")
    else:
        _tell_of_others(job_uri, resources)
        restore(job_uri, 0, resources)
    forget_others(job_uri, step)
    return step


def _tell_of_others(job_uri: str, resources: Resources) -> None:
    """Says why training begins anew where something was learned already: no silent loss."""
    for other in sorted(other_writers(f"{job_uri}/scratch", resources)):
        message = f"Checkpoints of {other} are left out: {writer(resources)} cannot read them. Training begins anew."
        print(json.dumps({"event": "storage", "message": message}), flush=True)


def forget_machine(job_uri: str) -> None:
    """Removes what this machine holds of a job, where storage is elsewhere."""
    if is_remote(job_uri):
        shutil.rmtree(workplace(job_uri), ignore_errors=True)


def restore(job_uri: str, step: int, resources: Resources, *, with_best: bool = False) -> None:
    """Brings what earlier attempts left to this machine, where it is not there anyway, and checks it.

    Args:
        job_uri: The job's folder.
        step: Of the checkpoint to resume from; 0 for none.
        resources: What is to resume.
        with_best: The best checkpoint so far is needed too.

    Raises:
        DamagedError: A file is missing, or its SHA-256 is another one.
    """
    place = workplace(job_uri)
    if is_remote(job_uri) and exists(f"{job_uri}/{EVENTS}") and not (place / EVENTS).exists():
        (place / EVENTS).write_bytes(read_bytes(f"{job_uri}/{EVENTS}"))
    for needed in _with_best(job_uri, step) if with_best else {step} - {0}:
        uri, folder = f"{job_uri}/scratch/checkpoint-{needed}", place / f"scratch/checkpoint-{needed}"
        files = files_of(uri, resources)
        if is_remote(job_uri) and files:
            download(uri, files, folder)
        elif not set(files) <= set(manifest(folder)):
            raise DamagedError(f"{folder} is damaged: its files are not those that were written.", "An earlier one is used.")


def _with_best(job_uri: str, step: int) -> set[int]:
    """The steps whose checkpoints a training goes on from."""
    return {step, best_step(f"{job_uri}/scratch/checkpoint-{step}")} - {0} if step else set()


def forget_others(job_uri: str, step: int) -> None:
    """Removes every checkpoint on remote storage but those that are resumed from: halves of others would mix with new ones."""
    if is_remote(job_uri):
        kept = _with_best(job_uri, step)
        for name in list_names(f"{job_uri}/scratch"):
            if step_of(name) not in kept:
                remove(f"{job_uri}/scratch/{name}")


@dataclass
class Mirror:
    """What one machine has copied of one job.

    Attributes:
        job_uri: The job's folder.
        node: The machine, from 0.
        resources: What it is trained on.
        may_write: Whether the job is still this attempt's.
        num_kept: How many of the newest checkpoints stay, beside the best.
    """

    job_uri: str
    node: int
    resources: Resources
    may_write: Callable[[], bool]
    num_kept: int = KEPT
    _num_event_bytes: int = 0
    _newest: int = 0

    def sync(self) -> None:
        """Copies what is new.

        Raises:
            TransientError: The storage failed; the next call begins where this one stopped.
        """
        if self.node == 0:
            self._send_events()
        place = workplace(self.job_uri) / "scratch"
        steps = sorted(step for folder in place.glob("checkpoint-*") if (step := step_of(folder.name)) and (folder / mark_name(self.node)).is_file())
        if steps and steps[-1] > self._newest and self.may_write():
            best = best_step(str(place / f"checkpoint-{steps[-1]}"))
            if self._newest < best < steps[-1] and best in steps:
                # It came between two looks; the newest one is worth nothing without it.
                self._send(place / f"checkpoint-{best}", best)
            self._send(place / f"checkpoint-{steps[-1]}", steps[-1])

    def _send_events(self) -> None:
        path = workplace(self.job_uri) / EVENTS
        content = path.read_bytes() if path.exists() else b""
        if len(content) > self._num_event_bytes and self.may_write():
            write_bytes(f"{self.job_uri}/{EVENTS}", content)
            self._num_event_bytes = len(content)

    def _send(self, folder: Path, step: int) -> None:
        uri = f"{self.job_uri}/scratch/{folder.name}"
        mark = read_record(str(folder / mark_name(self.node)), CompleteMark)
        if mark is None:
            # As below.
            return
        try:
            upload(folder, uri, mark.files)
        except FileNotFoundError:
            # Training keeps few: a newer one is on its way.
            return
        if not self.may_write():
            return
        write_record(f"{uri}/{mark_name(self.node)}", mark)
        self._newest = step
        self._forget_old(folder.parent, best_step(str(folder)))

    def _forget_old(self, place: Path, best: int) -> None:
        """Keeps the newest that every machine has vouched for, since another one may be behind, and the best."""
        scratch = f"{self.job_uri}/scratch"
        steps = sorted(step for name in list_names(scratch) if (step := step_of(name)) and files_of(f"{scratch}/{name}", self.resources))
        oldest = steps[-self.num_kept] if len(steps) >= self.num_kept else 0
        for name in list_names(scratch) if self.node == 0 else ():
            if 0 < step_of(name) < oldest and step_of(name) != best:
                remove(f"{scratch}/{name}")
        # Training itself clears away on the first machine only.
        for folder in place.glob("checkpoint-*"):
            if step_of(folder.name) < oldest and step_of(folder.name) != best:
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def mirrored(mirrors: list[Mirror]) -> Iterator[None]:
    """Copies in the background, every few seconds and once more at the end; does nothing on local storage."""
    remote = [mirror for mirror in mirrors if is_remote(mirror.job_uri)]
    if not remote:
        yield
        return
    is_over = threading.Event()
    copier = threading.Thread(target=_copy_until, args=(is_over, remote), daemon=True)
    copier.start()
    try:
        yield
    finally:
        is_over.set()
        copier.join()


def _copy_until(is_over: threading.Event, mirrors: list[Mirror]) -> None:
    is_last = False
    while not is_last:
        is_last = is_over.wait(INTERVAL_S)
        for mirror in mirrors:
            try:
                mirror.sync()
            except TransientError as error:
                print(json.dumps({"event": "storage", "message": f"Not copied yet, training goes on: {error.message}"}), flush=True)
