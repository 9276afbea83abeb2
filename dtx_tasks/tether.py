"""Ties processes together: a child ends with its parent, and a parent looks after the orphans below it. Only Linux can."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Collection

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
"""Source: linux/prctl.h."""

IS_LINUX = sys.platform == "linux"
LIBC = ctypes.CDLL(None, use_errno=True) if IS_LINUX else None
"""Looked up once: between fork and exec is no time to load libraries."""


def end_with_parent(sign: signal.Signals, parent_pid: int | None = None) -> None:
    """Has the kernel send this process a signal when its parent ends, however it ends.

    Args:
        sign: The signal.
        parent_pid: Of the parent, where it may have ended before this call; by default whoever is the parent now.
    """
    parent = parent_pid or os.getppid()
    _prctl(PR_SET_PDEATHSIG, int(sign))
    if IS_LINUX and os.getppid() != parent:
        os.kill(os.getpid(), sign)


def adopt_orphans() -> None:
    """Makes this process the parent of whatever its descendants leave behind; elsewhere they go to init."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def reap_orphans(waited_for: Collection[int] = ()) -> None:
    """Takes note of dead children that nobody waits for, so that they are gone for good.

    Args:
        waited_for: Pids of children whose owner takes note himself.
    """
    while IS_LINUX:
        try:
            dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if dead is None or dead.si_pid in waited_for:
            return
        os.waitpid(dead.si_pid, 0)


def _prctl(option: int, value: int) -> None:
    if LIBC is not None and LIBC.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")
