"""One writer at a time. A claim on local files is held by a living process; one on S3 by a process that keeps renewing it."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dtx_tasks.errors import ClaimedError, TransientError
from dtx_tasks.settings import claim_ttl_s
from dtx_tasks.storage import local, s3
from dtx_tasks.storage.files import is_remote

if TYPE_CHECKING:
    from types import TracebackType

POLL_S = 0.2


class Claim(ABC):
    """The right to write below a URI, until it is released or lost.

    Attributes:
        uri: The claim's own file.
        epoch: Grows with every claim of the same URI: a later owner's is higher.
    """

    def __init__(self, uri: str, epoch: int) -> None:
        self.uri = uri
        self.epoch = epoch

    @abstractmethod
    def is_mine(self) -> bool:
        """Whether nobody has claimed it since; asked again before anything is published."""

    @abstractmethod
    def release(self) -> None:
        """Lets go of it; a second time does nothing."""

    def check(self) -> None:
        """Goes on only while it is held.

        Raises:
            ClaimedError: Somebody else has claimed it since.
        """
        if not self.is_mine():
            raise ClaimedError(f"{self.uri} was taken over by another process.")

    def __enter__(self) -> Claim:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()


class LockedClaim(Claim):
    """A lock on a local file: the kernel lets go of it when its process dies, however it dies."""

    def __init__(self, uri: str, epoch: int, handle: int) -> None:
        super().__init__(uri, epoch)
        self._handle = handle

    def is_mine(self) -> bool:
        """Whether nobody has claimed it since."""
        return self._handle >= 0 and _local_epoch(self.uri) == self.epoch

    def release(self) -> None:
        """Lets go of it."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


class LeasedClaim(Claim):
    """An object on S3 that says who holds it and until when; renewed by a thread, and free when that ends with its process."""

    def __init__(self, uri: str, epoch: int, said: dict[str, object], tag: str) -> None:
        super().__init__(uri, epoch)
        self._said, self._tag = said, tag
        self._is_over = threading.Event()
        self._turn = threading.Lock()
        self._is_lost = False
        threading.Thread(target=self._keep, daemon=True).start()

    def is_mine(self) -> bool:
        """Whether nobody has claimed it since: renewed in the very moment."""
        return self._renew()

    def release(self) -> None:
        """Lets go of it; its epoch stays for the next one to count from."""
        with self._turn:
            if self._is_over.is_set():
                return
            self._is_over.set()
            try:
                self._put({**self._said, "ttl_s": 0})
            except TransientError as error:
                print(json.dumps({"event": "claim", "message": f"Not let go of, it expires: {error.message}"}), flush=True)

    def _keep(self) -> None:
        while not self._is_lost and not self._is_over.wait(claim_ttl_s() / 4):
            try:
                self._renew()
            except TransientError as error:
                print(json.dumps({"event": "claim", "message": f"Not renewed yet: {error.message}"}), flush=True)

    def _renew(self) -> bool:
        with self._turn:
            # What was let go of while this waited for its turn stays so.
            return not self._is_over.is_set() and self._put(self._said)

    def _put(self, said: dict[str, object]) -> bool:
        if not self._is_lost:
            tag = s3.put_if(self.uri, _text(said), self._tag)
            self._is_lost = tag is None
            self._tag = tag or self._tag
        return not self._is_lost


def unique_owner() -> str:
    """A name that nobody else has: no other process, and not the same one when it asks again."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


def claim(uri: str, owner: str) -> Claim | None:
    """Claims what nobody else holds.

    Args:
        uri: The claim's file, as a rule `<folder>/claim.json`.
        owner: Who asks. On S3 an owner takes its own claim over at once: whoever uses a name twice makes sure
            that its earlier self is gone, as a restarted pod's is; others ask as `unique_owner`.

    Returns:
        The claim, or None when somebody else holds it.
    """
    return _lease(uri, owner) if is_remote(uri) else _lock(uri, owner)


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


def is_claimed(uri: str, asker: str = "") -> bool:
    """Whether somebody else holds a claim; asks without taking it.

    Args:
        uri: The claim's file.
        asker: Who asks: what this very owner holds on S3 does not count.
    """
    if is_remote(uri):
        found = _leased(uri)
        return found is not None and not found.is_free_for(asker)
    if not local.exists(uri):
        return False
    handle = _locked(uri, exclusive=False)
    if handle is None:
        return True
    os.close(handle)
    return False


def _lock(uri: str, owner: str) -> Claim | None:
    handle = _locked(uri, exclusive=True)
    if handle is None:
        return None
    epoch = _local_epoch(uri) + 1
    local.write(uri, _text({"owner": owner, "epoch": epoch, "pid": os.getpid(), "claimed_at": time.time()}))
    return LockedClaim(uri, epoch, handle)


def _locked(uri: str, *, exclusive: bool) -> int | None:
    import fcntl

    path = local.local_path(uri + ".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def _local_epoch(uri: str) -> int:
    try:
        return int(json.loads(local.read(uri))["epoch"])
    except FileNotFoundError:
        return 0


def _lease(uri: str, owner: str) -> Claim | None:
    found = _leased(uri)
    if found and not found.is_free_for(owner):
        return None
    epoch, tag = (found.epoch + 1, found.tag) if found else (1, None)
    # The nonce tells this claim from another one of the same owner.
    said: dict[str, object] = {"owner": owner, "epoch": epoch, "nonce": uuid.uuid4().hex, "ttl_s": claim_ttl_s()}
    mine = s3.put_if(uri, _text(said), tag)
    return LeasedClaim(uri, epoch, said, mine) if mine else None


@dataclass(frozen=True)
class Lease:
    """What stands on S3 about a claim.

    Attributes:
        owner: Who holds it.
        epoch: The how manieth holder that is.
        tag: Of this state of the object.
        is_over: Whether it was let go of, or has expired by the server's own clock.
    """

    owner: str
    epoch: int
    tag: str
    is_over: bool

    def is_free_for(self, asker: str) -> bool:
        """Whether it may be claimed: an owner that asks again has lost its earlier self, such as a pod that was killed."""
        return self.is_over or asker == self.owner


def _leased(uri: str) -> Lease | None:
    try:
        found = s3.read_with_tag(uri)
    except FileNotFoundError:
        return None
    said = json.loads(found.content)
    # The server tells whole seconds: one more than the holder asked for.
    return Lease(said["owner"], int(said["epoch"]), found.tag, said["ttl_s"] == 0 or found.now - found.written_at > said["ttl_s"] + 1)


def _text(said: dict[str, object]) -> bytes:
    return json.dumps(said).encode()
