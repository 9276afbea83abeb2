"""Keeps what a stage says on storage, where the pod that said it is soon gone."""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from dtx_tasks.errors import TransientError
from dtx_tasks.storage import write_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

INTERVAL_S = 5.0

PART_BYTES = 1 << 20
"""Objects cannot be appended to: a log is kept in parts, and only the last one is written again."""


class LogCopy:
    """A log on storage that grows.

    Args:
        folder: Where its parts go.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._turn = threading.Lock()
        self._part = bytearray()
        self._number = 1
        self._num_sent = 0

    def add(self, content: bytes) -> None:
        """Takes note of what was said."""
        with self._turn:
            self._part += content

    def send(self) -> None:
        """Brings what is new to storage.

        Raises:
            TransientError: The storage failed; the next call sends it.
        """
        with self._turn:
            content, number = bytes(self._part), self._number
        if len(content) == self._num_sent:
            return
        write_bytes(f"{self.folder}/{number:04}.log", content)
        self._num_sent = len(content)
        if len(content) >= PART_BYTES:
            with self._turn:
                del self._part[: len(content)]
                self._number, self._num_sent = number + 1, 0


@contextmanager
def kept_log(folder: str) -> Iterator[None]:
    """Copies what this process and its children say to storage, every few seconds and once more at the end.

    Args:
        folder: Where to; each call of a stage has its own.
    """
    copy, is_over = LogCopy(folder), threading.Event()
    source, sink = os.pipe()
    out, errors = os.dup(1), os.dup(2)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    os.close(sink)
    reader = threading.Thread(target=_tee, args=(source, out, copy), daemon=True)
    sender = threading.Thread(target=_send_until, args=(is_over, copy), daemon=True)
    reader.start()
    sender.start()
    try:
        yield
    finally:
        # The pipe ends when nobody can write to it any more.
        os.dup2(out, 1)
        os.dup2(errors, 2)
        reader.join(INTERVAL_S)
        is_over.set()
        sender.join()


def log_folder(experiment_folder: str, stage: str, document_name: str, node: int) -> str:
    """Where one call of a stage keeps its log; later calls sort behind it."""
    mark = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.urandom(2).hex()}"
    return f"{experiment_folder}/logs/{stage}/{document_name}/{mark}-{node}"


def _tee(source: int, out: int, copy: LogCopy) -> None:
    while content := os.read(source, 1 << 16):
        os.write(out, content)
        copy.add(content)


def _send_until(is_over: threading.Event, copy: LogCopy) -> None:
    is_last = False
    while not is_last:
        is_last = is_over.wait(INTERVAL_S)
        # The container's own log has it too; it is sent again with what comes next.
        with suppress(TransientError):
            copy.send()
