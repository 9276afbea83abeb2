"""At most so many at a time, also on different machines."""

from __future__ import annotations

import json
import random
import threading
import time
from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dtx_tasks.errors import ClaimedError, TransientError
from dtx_tasks.settings import claim_ttl_s
from dtx_tasks.storage import s3
from dtx_tasks.storage.claim import claim, is_claimed
from dtx_tasks.storage.files import is_remote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

Holders = dict[int, tuple[str, float]]
"""By the number of a place: its owner, and until when it is theirs, in seconds since 1970 by the server's clock."""

TRIES = 100
"""Of a change that others come before."""

PAUSE_S = 0.2
"""At most, between two tries."""

RENEWALS_PER_S = 1.0
"""By all holders together: they change one object."""


class Places(ABC):
    """So many places.

    Attributes:
        folder: Where it is written down who holds them.
        limit: How many there are.
    """

    def __init__(self, folder: str, limit: int) -> None:
        self.folder, self.limit = folder, limit

    @abstractmethod
    def has_room(self, asker: str) -> bool:
        """Whether one is free, or is this owner's already."""

    @abstractmethod
    def keep(self, owner: str, ttl_s: float) -> bool:
        """Keeps a place for somebody who is still to come, such as a pod.

        Args:
            owner: Who will hold it; asking twice keeps one place.
            ttl_s: For how long, should they never come.

        Returns:
            Whether there is one.
        """

    @abstractmethod
    def give_back(self, owner: str) -> None:
        """Makes the place of an owner free, if they have one."""

    @abstractmethod
    def held(self, owner: str) -> AbstractContextManager[int]:
        """Holds a place, the one that was kept for this owner if there is one; its number, from 0.

        Raises:
            ClaimedError: All of them are taken.
        """


class LockedPlaces(Places):
    """Locks on local files: free as soon as their process is gone, and not to be kept for another one."""

    def has_room(self, asker: str) -> bool:
        """Whether one is free."""
        return any(not is_claimed(uri, asker) for uri in self._uris())

    def keep(self, owner: str, ttl_s: float) -> bool:  # noqa: ARG002
        """Does nothing: the process that comes takes its place itself."""
        return True

    def give_back(self, owner: str) -> None:
        """Does nothing: the lock went with its process."""

    @contextmanager
    def held(self, owner: str) -> Iterator[int]:
        """Holds the first one that is free."""
        for number, uri in enumerate(self._uris()):
            found = claim(uri, owner)
            if found:
                with found:
                    yield number
                return
        raise _taken(self.limit)

    def _uris(self) -> list[str]:
        return [f"{self.folder}/slots/{number}.json" for number in range(self.limit)]


class LeasedPlaces(Places):
    """One object on S3 for all, changed only from the state that was read: a request or two, however many places there are."""

    def has_room(self, asker: str) -> bool:
        """Whether one is free, or is this owner's already."""
        held, _, _ = self._read()
        return len(held) < self.limit or _number_of(asker, held) is not None

    def keep(self, owner: str, ttl_s: float) -> bool:
        """Keeps a place for somebody who is still to come."""
        return self._take(owner, ttl_s) is not None

    def give_back(self, owner: str) -> None:
        """Makes the place of an owner free, if they have one."""
        self._change(lambda held, _: {number: place for number, place in held.items() if place[0] != owner})

    @contextmanager
    def held(self, owner: str) -> Iterator[int]:
        """Holds a place; renewed by a thread, and free some time after that has ended with its process."""
        number = self._take(owner, self._ttl_s)
        if number is None:
            raise _taken(self.limit)
        is_over = threading.Event()
        renewing = threading.Thread(target=self._renew, args=(owner, is_over), daemon=True)
        renewing.start()
        try:
            yield number
        finally:
            is_over.set()
            renewing.join()
            with _told("Not given back, it expires"):
                self.give_back(owner)

    @property
    def _ttl_s(self) -> float:
        """For how long it is believed that a holder is alive; where there are many each says it less often."""
        return max(claim_ttl_s(), 4 * self.limit / RENEWALS_PER_S)

    def _renew(self, owner: str, is_over: threading.Event) -> None:
        while not is_over.wait(self._ttl_s / 4):
            with _told("Not renewed yet"):
                self._take(owner, self._ttl_s)

    def _take(self, owner: str, ttl_s: float) -> int | None:
        """The number of the place that is this owner's from now on; None when all are taken."""

        def change(held: Holders, now: float) -> Holders:
            number = _number_of(owner, held)
            free = (other for other in range(self.limit) if other not in held)
            number = next(free, None) if number is None else number
            return held if number is None else {**held, number: (owner, now + ttl_s)}

        return _number_of(owner, self._change(change))

    def _change(self, change: Callable[[Holders, float], Holders]) -> Holders:
        """What is written down after a change of it; again when somebody else has changed it meanwhile."""
        for _ in range(TRIES):
            held, tag, now = self._read()
            wanted = change(held, now)
            text = json.dumps({str(number): place for number, place in wanted.items()})
            if wanted == held or s3.put_if(self._uri, text.encode(), tag):
                return wanted
            time.sleep(random.uniform(0, PAUSE_S))
        raise TransientError(f"{self._uri} is changed by others all the time.", "It is tried again.")

    def _read(self) -> tuple[Holders, str, float]:
        """Who holds the places now, the tag of this state, and the server's time."""
        try:
            found = s3.read_with_tag(self._uri)
        except FileNotFoundError:
            s3.create(self._uri, b"{}")
            found = s3.read_with_tag(self._uri)
        said = json.loads(found.content)
        held = {int(number): (str(owner), float(until)) for number, (owner, until) in said.items()}
        return {number: place for number, place in held.items() if place[1] > found.now}, found.tag, found.now

    @property
    def _uri(self) -> str:
        return f"{self.folder}/slots.json"


def places(folder: str, limit: int) -> Places:
    """So many places.

    Args:
        folder: Where it is written down who holds them.
        limit: How many there are.
    """
    return LeasedPlaces(folder, limit) if is_remote(folder) else LockedPlaces(folder, limit)


def _number_of(owner: str, held: Holders) -> int | None:
    return next((number for number, place in held.items() if place[0] == owner), None)


def _taken(limit: int) -> ClaimedError:
    return ClaimedError(f"All {limit} places of this experiment's parallelism are taken.")


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Says on standard output that the storage is away, and goes on: a lease outlasts that, or is taken over."""
    try:
        yield
    except TransientError as error:
        print(json.dumps({"event": "claim", "message": f"{what}: {error.message}"}), flush=True)
