"""Which ports a stack listens on: the same ones each time, and not those of another clone."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields
from pathlib import Path

HOST = "127.0.0.1"
# Below Linux' and macOS' ephemeral ranges (from 32768, 49152), so that no outgoing connection takes
# one of them in the ten seconds between this choice and the server's bind.
_FIRST, _LAST = 20_000, 32_000


@dataclass(frozen=True)
class Ports:
    """The ports of one stack, all on 127.0.0.1."""

    airflow: int
    mlflow: int


def choose_ports(folder: Path, previous: Ports | None = None) -> Ports:
    """Choose free ports for the stack in this folder.

    The search starts at a number that comes from the folder's path: two clones that start at the
    same moment do not race for the same port, and a clone keeps its addresses after a clean-up.

    Args:
        folder: The stack's folder.
        previous: The ports of the last start, taken again when all of them are free.

    Raises:
        OSError: No port of the range is free.
    """
    if previous is not None and all(is_free(port) for port in astuple(previous)):
        return previous
    free = (port for port in _candidates(folder) if is_free(port))
    try:
        return Ports(*(next(free) for _ in fields(Ports)))
    except RuntimeError as error:
        raise OSError(f"No free port on {HOST} between {_FIRST} and {_LAST}. Stop what holds them.") from error


def loopback() -> str:
    """Return the name under which tasks of the embedded Airflow run; Airflow calls this."""
    return HOST


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of 127.0.0.1 now."""
    with socket.socket() as probe:
        # As the servers do: a port with connections in TIME_WAIT counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def _candidates(folder: Path) -> Iterator[int]:
    size = _LAST - _FIRST
    start = int.from_bytes(hashlib.sha256(str(folder.absolute()).encode()).digest()[:8]) % size
    return (_FIRST + (start + offset) % size for offset in range(size))
