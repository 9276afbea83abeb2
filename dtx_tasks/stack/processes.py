"""Find and end the processes of a stack, whoever their parent is by now.

Every process of a stack carries the stack's folder in its environment, and so does all that it
starts. That holds where process groups do not: Airflow's task processes are in groups of their own,
a training may open a session, and both outlive a scheduler that is killed.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil

FOLDER_MARK = "DTX_STACK_FOLDER"
COMPONENT_MARK = "DTX_STACK_COMPONENT"
SUPERVISOR = "supervisor"
# How long tasks may take over their on_kill, and servers over open requests, before SIGKILL.
GRACE_S = 8.0


def born_s(process: psutil.Process) -> float:
    """When the process started, in seconds after boot: unlike a date, no clock change moves it."""
    return process.create_time() - psutil.boot_time()


def is_process(pid: int, born: float) -> bool:
    """Whether the process that had this pid at that time is still running."""
    try:
        process = psutil.Process(pid)
        # psutil rounds the boot time to a second, and a step of the clock may move it by one more.
        return process.status() != psutil.STATUS_ZOMBIE and abs(born_s(process) - born) < 2
    except psutil.NoSuchProcess:
        return False


def marked_processes(folder: Path, component: str | None = None) -> list[psutil.Process]:
    """List the running processes that carry this folder's mark, oldest first.

    Args:
        folder: The stack's folder, absolute.
        component: Only the processes of this component; None for all but the calling process.
    """
    wanted = {FOLDER_MARK: str(folder)} | ({COMPONENT_MARK: component} if component else {})
    found = [process for process in psutil.process_iter() if _carries(process, wanted)]
    return sorted(found, key=_age_key)


def end_processes(find: Callable[[], list[psutil.Process]], *, grace_s: float) -> int:
    """End everything that `find` finds, and what it starts meanwhile, until it finds nothing.

    Args:
        find: Lists the processes that are left, oldest first; parents before their children,
            so that no parent lives to see, and report, that its child was killed.
        grace_s: How long they may take to end after SIGTERM; 0 kills at once.

    Returns:
        How many processes were found at first.
    """
    first = find()
    if grace_s and first:
        send_signal(first, signal.SIGTERM)
        _wait_until_gone(find, grace_s)
    while left := find():
        send_signal(left, signal.SIGKILL)
        time.sleep(0.05)  # not a wait, which would reap children behind the back of their Popen
    return len(first)


def send_signal(processes: list[psutil.Process], number: signal.Signals) -> None:
    """Signal the processes that are still there."""
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue


def tree(pid: int) -> list[psutil.Process]:
    """List the process and all its descendants, oldest first; empty when it is gone."""
    try:
        root = psutil.Process(pid)
        return sorted([root, *root.children(recursive=True)], key=_age_key)
    except psutil.NoSuchProcess:
        return []


def _carries(process: psutil.Process, wanted: dict[str, str]) -> bool:
    if process.pid == os.getpid():
        return False
    try:
        environment = process.environ()
        return all(environment.get(name) == value for name, value in wanted.items()) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:  # it ended, or belongs to somebody else
        return False


def _age_key(process: psutil.Process) -> tuple[float, int]:
    try:
        return process.create_time(), process.pid
    except psutil.NoSuchProcess:
        return 0.0, process.pid


def _wait_until_gone(find: Callable[[], list[psutil.Process]], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline and find():
        time.sleep(0.1)
