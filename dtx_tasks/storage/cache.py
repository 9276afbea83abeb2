"""What this machine has brought from elsewhere: an entry for each thing, locked while it is brought, removed when it was long unused and room is needed."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dtx_tasks.records import digest_of
from dtx_tasks.settings import cache_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEPT_S = 24 * 3600.0
"""Seconds for which nothing that was brought is removed again: somebody may still be reading it."""

ROOM_RATIO = 1.05
"""Of the bytes to come, what must be free."""


@contextmanager
def cached(what: object) -> Iterator[Path]:
    """The place of an entry, which is the caller's alone meanwhile; nobody removes it for a day.

    Args:
        what: Tells the entry from others; anything that JSON can hold.

    Yields:
        A folder that is there if somebody has made it.
    """
    place = cache_folder() / digest_of(what, 32)
    # In a folder that everybody may write to, nobody else should change what is read later.
    cache_folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    with only_one(place.with_suffix(".lock")):
        yield place
        if place.is_dir():
            os.utime(place)


def make_room(num_bytes: int) -> None:
    """Removes what was not used for a day, the longest unused first, until as many bytes fit in as are to come."""
    # To look at all entries takes a second where they are many.
    if _fits(num_bytes):
        return
    for place in sorted((path for path in cache_folder().iterdir() if path.is_dir()), key=_used_at):
        if _fits(num_bytes):
            return
        try:
            with only_one(place.with_suffix(".lock"), fcntl.LOCK_NB):
                if _used_at(place) < time.time() - KEPT_S:
                    shutil.rmtree(place, ignore_errors=True)
        except BlockingIOError:
            # Somebody is just bringing it.
            continue


def _fits(num_bytes: int) -> bool:
    return shutil.disk_usage(cache_folder()).free >= ROOM_RATIO * num_bytes


def _used_at(place: Path) -> float:
    """When a folder was last used; long ago where another process removed it."""
    return place.stat().st_mtime if place.exists() else 0.0


@contextmanager
def only_one(path: Path, how: int = 0) -> Iterator[None]:
    """Keeps other processes of this machine out; pods of a node share their cache."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | how)
        yield
