"""Operators that torch compiles when a training starts, as DeepSpeed needs one on CPUs: frees those that a killed process has left locked."""

from __future__ import annotations

import os
from pathlib import Path

import psutil


def free_stale_locks(folder: Path) -> list[Path]:
    """Removes the locks that no living process holds: torch waits for as long as the file is there (pytorch#189245, ended after 2.13).

    Args:
        folder: Of the compiled operators.

    Returns:
        The locks that were removed.
    """
    locks = list(folder.rglob("lock"))
    held = _open_files() if locks else set()
    stale = [lock for lock in locks if str(lock) not in held]
    for lock in stale:
        lock.unlink(missing_ok=True)
    return stale


def extensions_folder() -> Path:
    """Where torch keeps what it compiles. Source: torch.utils.cpp_extension."""
    named = os.environ.get("TORCH_EXTENSIONS_DIR")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return (Path(named) if named else cache / "torch_extensions").resolve()


def _open_files() -> set[str]:
    """What this user's processes hold open; whoever compiles holds its lock."""
    found: set[str] = set()
    for process in psutil.process_iter():
        try:
            found |= {file.path for file in process.open_files()}
        except psutil.Error:
            # It has ended, or is another user's, whose locks are elsewhere.
            continue
    return found
