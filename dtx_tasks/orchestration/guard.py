"""Stops a local process when the executor that runs its task is gone."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from types import TracebackType

    from dtx_tasks.launch import LocalProcess

POLL_S = 2.0


class ExecutorGuard:
    """Watches the processes above this one while a stage runs.

    A LocalExecutor's workers outlive a killed scheduler, and would go on with a task that Airflow starts again.

    Args:
        process: What to stop when one of them is gone.
    """

    def __init__(self, process: LocalProcess) -> None:
        self._process = process
        self._is_over = threading.Event()
        self._above = _ancestors()

    def __enter__(self) -> None:
        threading.Thread(target=self._watch, daemon=True).start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._is_over.set()

    def _watch(self) -> None:
        while not self._is_over.wait(POLL_S):
            if not all(process.is_running() for process in self._above):
                self._process.stop()
                return


def _ancestors() -> list[psutil.Process]:
    """The processes above this one up to the scheduler's: not the supervisor's or the shell's above it."""
    above = psutil.Process(os.getpid()).parents()
    depth = next((index for index, process in enumerate(above) if "scheduler" in " ".join(process.cmdline())), -1)
    return above[: depth + 1]
