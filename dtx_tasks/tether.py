"""Ties processes together: a child ends with its parent, and a parent looks after the orphans below it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
"""Source: linux/prctl.h."""


def end_with_parent(sign: signal.Signals) -> None:
    """Has the kernel send this process a signal when its parent ends, however it ends; only Linux can.

    Args:
        sign: The signal.
    """
    parent = os.getppid()
    _prctl(PR_SET_PDEATHSIG, int(sign))
    if os.getppid() != parent:
        os.kill(os.getpid(), sign)


def adopt_orphans() -> None:
    """Makes this process the parent of whatever its descendants leave behind; only Linux can."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def reap_orphans() -> None:
    """Takes note of adopted children that have ended, so that they are gone for good."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux" and ctypes.CDLL(None, use_errno=True).prctl(option, value) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")
