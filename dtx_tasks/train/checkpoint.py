"""Checkpoints to resume from: one counts only when every one of its files is on storage in full."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from dtx_tasks.records import FileEntry, Record
from dtx_tasks.storage import list_names, manifest, read_bytes, read_record, verify

if TYPE_CHECKING:
    from pathlib import Path

    from dtx_tasks.spec import Resources


class CompleteMark(Record):
    """Written last into a checkpoint, by each machine for the files that it wrote, with their sizes and SHA-256."""

    files: tuple[FileEntry, ...]
    written_by: str
    """What wrote it: optimiser and random states fit no other number of processes and no other way to shard."""


MARKS = "complete-"
STATE = "trainer_state.json"


def mark_name(node: int) -> str:
    """The file in which a machine vouches for its part of a checkpoint."""
    return f"{MARKS}{node}.json"


def mark_complete(folder: Path, written_by: str, node: int) -> None:
    """Vouches for a checkpoint whose files are all written.

    Args:
        folder: The checkpoint's folder.
        written_by: The processes and the sharding.
        node: The machine, from 0.
    """
    files = tuple(entry for entry in manifest(folder) if not entry.path.startswith(MARKS))
    mark = CompleteMark(files=files, written_by=written_by)
    partial = folder / f"{mark_name(node)}.partial"
    partial.write_text(mark.model_dump_json())
    partial.rename(folder / mark_name(node))


def writer(resources: Resources) -> str:
    """What writes, and can read, a checkpoint on these resources."""
    machines = f" on {resources.nodes} machines" if resources.nodes > 1 else ""
    sharding = resources.strategy if resources.deepspeed or resources.fsdp else "no sharding"
    return f"{resources.num_processes} processes{machines}, {sharding}"


def other_writers(scratch_uri: str, resources: Resources) -> set[str]:
    """What wrote the checkpoints that these resources cannot read.

    Args:
        scratch_uri: Where attempts leave their `checkpoint-N`.
        resources: What is to resume.
    """
    marks = (read_record(f"{scratch_uri}/{name}/{mark_name(0)}", CompleteMark) for name in list_names(scratch_uri) if step_of(name))
    return {mark.written_by for mark in marks if mark} - {writer(resources)}


def last_step(scratch_uri: str, resources: Resources, *, with_best: bool = False) -> int:
    """The step of the newest checkpoint that can be resumed from on these resources; 0 where there is none.

    Args:
        scratch_uri: Where attempts leave their `checkpoint-N`.
        resources: What is to resume from it.
        with_best: The best checkpoint before it must be there too: in the end that may be the model.
    """
    steps = sorted((step_of(name) for name in list_names(scratch_uri)), reverse=True)
    return next((step for step in steps if step and _is_whole(scratch_uri, step, resources, with_best=with_best)), 0)


def _is_whole(scratch_uri: str, step: int, resources: Resources, *, with_best: bool) -> bool:
    uri = f"{scratch_uri}/checkpoint-{step}"
    if not files_of(uri, resources):
        return False
    best = best_step(uri) if with_best else 0
    return best in (0, step) or bool(files_of(f"{scratch_uri}/checkpoint-{best}", resources))


def best_step(uri: str) -> int:
    """The step of the lowest validation loss when a checkpoint was written, if that step was kept; 0 for none."""
    try:
        state = json.loads(read_bytes(f"{uri}/{STATE}"))
    except FileNotFoundError:
        return 0
    return step_of((state.get("best_model_checkpoint") or "").rsplit("/", 1)[-1])


def files_of(uri: str, resources: Resources) -> tuple[FileEntry, ...]:
    """The files of a checkpoint that is complete and fits the resources; none for any other."""
    marks = [read_record(f"{uri}/{mark_name(node)}", CompleteMark) for node in range(resources.nodes)]
    known = [mark for mark in marks if mark and mark.written_by == writer(resources)]
    files = tuple(entry for mark in known for entry in mark.files)
    return files if len(known) == resources.nodes and verify(uri, files) else ()


def step_of(name: str) -> int:
    """The N of `checkpoint-N`; 0 for anything else."""
    match = re.fullmatch(r"checkpoint-(\d+)", name)
    return int(match[1]) if match else 0
