"""One writer at a time: a claim is held by a living process, and free again the moment that process is gone."""

from __future__ import annotations

import fcntl
import json
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dtx_tasks.errors import ClaimedError
from dtx_tasks.storage.files import local_path, read_bytes, write_bytes

if TYPE_CHECKING:
    from types import TracebackType

POLL_S = 0.2


@dataclass
class Claim:
    """The right to write below a URI, until it is released or its process ends.

    Attributes:
        uri: The claim's own file.
        owner: Whoever holds it, for people who look.
        epoch: Grows with every claim of the same URI: a later owner's is higher.
    """

    uri: str
    owner: str
    epoch: int
    _handle: int = field(repr=False)

    def is_mine(self) -> bool:
        """Whether nobody has claimed it since; asked again before anything is published."""
        return self._handle >= 0 and _epoch_of(self.uri) == self.epoch

    def release(self) -> None:
        """Lets go of it; a second time does nothing."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def __enter__(self) -> Claim:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()


def claim(uri: str, owner: str) -> Claim | None:
    """Claims what nobody else holds.

    Args:
        uri: The claim's file, as a rule `<folder>/claim.json`.
        owner: Who asks.

    Returns:
        The claim, or None when another living process holds it.
    """
    handle = _locked(uri, fcntl.LOCK_EX)
    if handle is None:
        return None
    epoch = _epoch_of(uri) + 1
    write_bytes(uri, json.dumps({"owner": owner, "epoch": epoch, "pid": os.getpid(), "claimed_at": time.time()}).encode())
    return Claim(uri, owner, epoch, handle)


def claim_within(uri: str, owner: str, limit_s: float) -> Claim:
    """Claims, after waiting for another holder to let go.

    Args:
        uri: The claim's file.
        owner: Who asks.
        limit_s: Seconds to wait.

    Raises:
        ClaimedError: It is still held by then.
    """
    deadline = time.monotonic() + limit_s
    while (held := claim(uri, owner)) is None:
        if time.monotonic() >= deadline:
            raise ClaimedError(f"{uri} is held by another process.")
        time.sleep(POLL_S)
    return held


def is_claimed(uri: str) -> bool:
    """Whether another living process holds a claim; asks without taking it."""
    if not local_path(uri).exists():
        return False
    handle = _locked(uri, fcntl.LOCK_SH)
    if handle is None:
        return True
    os.close(handle)
    return False


def _locked(uri: str, kind: int) -> int | None:
    """A lock on the file beside the claim: the kernel lets go of it when its process dies, however it dies."""
    path = local_path(uri + ".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def _epoch_of(uri: str) -> int:
    try:
        return int(json.loads(read_bytes(uri))["epoch"])
    except FileNotFoundError:
        return 0
