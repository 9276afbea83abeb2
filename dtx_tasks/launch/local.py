"""A stage as a process of this machine: the same command that a pod runs."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil

from dtx_tasks.settings import grace_s

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

KILLED_S = 5.0
"""For the kernel to clear away what was killed."""


class LocalProcess:
    """One running entrypoint, with everything that it started.

    Args:
        stage: What to run.
        document_uri: What to run it on.
        run_key: The round of attempts.
        environment: Added to this process's own.
    """

    def __init__(self, stage: str, document_uri: str, run_key: str, environment: Mapping[str, str] | None = None) -> None:
        command = [sys.executable, "-m", "dtx_tasks.entrypoints", stage, "--document", document_uri, "--run-key", run_key]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {}), "PYTHONUNBUFFERED": "1"},
            # Ctrl-C in a terminal reaches whole groups: the launcher alone decides when this one stops.
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Of the entrypoint."""
        return self._process.pid

    def lines(self) -> Iterator[str]:
        """What it says, line by line, until it ends."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            yield line.decode("utf-8", "replace").rstrip("\n")

    def wait(self) -> int:
        """Its exit code; negative for the signal that ended it."""
        return self._process.wait()

    def stop(self) -> None:
        """Asks it to end, waits for a last checkpoint, and ends whatever of it is left."""
        below = _descendants(self._process.pid)
        self._process.terminate()
        try:
            self._process.wait(grace_s())
        except subprocess.TimeoutExpired:
            self._process.kill()
        for process in below:
            if process.is_running():
                process.kill()
        psutil.wait_procs(below, timeout=KILLED_S)


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return list(psutil.Process(pid).children(recursive=True))
    except psutil.NoSuchProcess:
        return []
