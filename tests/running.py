"""Running the command, and waiting for what follows from it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

DTX = str(Path(sys.executable).parent / "dtx")


def dtx(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the `dtx` command to its end."""
    return subprocess.run([DTX, *arguments], cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, check=False)


def until(holds: Callable[[], object], what: str, limit_s: float = 180) -> None:
    """Waits, within reason, until something holds."""
    deadline = time.monotonic() + limit_s
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {limit_s:.0f} s in vain until {what}")
        time.sleep(0.2)
