"""Checkpoints to resume from: one counts only when every one of its files is there in full."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dtx_tasks.records import FileEntry, Record

if TYPE_CHECKING:
    from pathlib import Path

    from dtx_tasks.spec import Resources

COMPLETE = "complete.json"


class CompleteMark(Record):
    """Written last into a checkpoint."""

    files: tuple[FileEntry, ...]
    written_by: str
    """What wrote it: optimiser and random states fit no other number of processes and no other way to shard."""


def mark_complete(folder: Path, written_by: str) -> None:
    """Vouches for a checkpoint whose files are all written.

    Args:
        folder: The checkpoint's folder.
        written_by: The processes and the sharding.
    """
    sizes = [(path.relative_to(folder).as_posix(), path.stat().st_size) for path in sorted(folder.rglob("*")) if path.is_file()]
    mark = CompleteMark(files=tuple(FileEntry(path=name, sha256="", num_bytes=size) for name, size in sizes), written_by=written_by)
    (folder / f"{COMPLETE}.partial").write_text(mark.model_dump_json())
    (folder / f"{COMPLETE}.partial").rename(folder / COMPLETE)


def writer(resources: Resources) -> str:
    """What writes, and can read, a checkpoint on these resources."""
    return f"{resources.processes} processes, {resources.deepspeed or 'no sharding'}"


def last_complete(folder: Path, written_by: str) -> Path | None:
    """The newest checkpoint below a folder that can be resumed from.

    Args:
        folder: Where the Trainer puts its `checkpoint-N`.
        written_by: The processes and the sharding that are to resume from it.
    """
    found = sorted((step_of(path), path) for path in folder.glob("checkpoint-*") if step_of(path) > 0)
    return next((path for _, path in reversed(found) if _is_complete(path, written_by)), None)


def step_of(path: Path) -> int:
    """The N of `checkpoint-N`; 0 for anything else."""
    match = re.fullmatch(r"checkpoint-(\d+)", path.name)
    return int(match[1]) if match else 0


def _is_complete(path: Path, written_by: str) -> bool:
    if not (path / COMPLETE).is_file():
        return False
    mark = CompleteMark.model_validate_json((path / COMPLETE).read_bytes())
    if mark.written_by != written_by:
        return False
    return all((path / entry.path).is_file() and (path / entry.path).stat().st_size == entry.num_bytes for entry in mark.files)
