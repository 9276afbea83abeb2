"""Who uses the stack of a folder: one that a demo has started is stopped by the last demo, unless another command still needs it.

Every command that needs the stack holds a shared lock while it runs, which the kernel drops with it.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from dtx_tasks.stack.lifecycle import down, status

_LOCK, _BRIEF = "stack.use", "stack.brief"


@contextmanager
def used(folder: Path, on_event: Callable[[str], None] = lambda _line: None, *, stops: bool = False) -> Iterator[None]:
    """Keep the stack of a folder from being stopped by another command that ends meanwhile.

    Args:
        folder: The stack's folder; made where it is missing.
        on_event: Takes one short line for each thing that a person who waits would like to know.
        stops: Whether a stack that is up for commands alone is stopped at the end, where nobody else uses it.
    """
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("a") as lock:
        if not _locks(lock, fcntl.LOCK_SH):
            on_event("Airflow and MLflow are being stopped by another command; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_SH)
        try:
            yield
        finally:
            if stops and is_brief(folder):
                _stop_unused(folder, lock, on_event)


def start_briefly(folder: Path) -> None:
    """Note, before a start, that the stack is up for commands alone: whoever started it, or its like, stops it."""
    (folder / _BRIEF).touch()


def stay_up(folder: Path) -> None:
    """Note that somebody wants the stack up: no command stops it but `dtx down`."""
    (folder / _BRIEF).unlink(missing_ok=True)


def is_brief(folder: Path) -> bool:
    """Whether the stack is up for commands alone."""
    return (folder / _BRIEF).exists()


def _stop_unused(folder: Path, lock: IO[str], on_event: Callable[[str], None]) -> None:
    # Of two that leave together, the one that asks later finds the other one gone, or stopping the stack.
    if not _locks(lock, fcntl.LOCK_EX):
        on_event("Airflow and MLflow stay up: another command in this folder uses them; `dtx down` stops them")
        return
    is_up = status(folder) is not None
    if is_up:
        on_event("Stopping Airflow and MLflow ...")
    # Of a supervisor that was killed, what it had started is left.
    down(folder)
    stay_up(folder)
    if is_up:
        on_event("All is stopped; `dtx up` starts it again")


def _locks(lock: IO[str], how: int) -> bool:
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
