"""One writer at a time on S3: renewed by who holds it, free when it is let go of or expires."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier, Thread

import pytest

from dtx_tasks.errors import ClaimedError
from dtx_tasks.storage import Claim, claim, claim_within, is_claimed, read_bytes, remove, s3, unique_owner
from tests.unit.storage.wire import handled, lost_once, refused

HOLDER = """
import sys
from dtx_tasks.errors import ClaimedError
from dtx_tasks.storage import claim
held = claim(sys.argv[1], "child")
print(held.epoch if held else "refused", flush=True)
sys.stdin.readline()
print(held.is_mine(), flush=True)
try:
    held.check()
except ClaimedError as error:
    print(error.message, flush=True)
"""

TTL_S = 1.0


@pytest.fixture
def short_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that nobody waits a minute for one to expire."""
    monkeypatch.setenv("DTX_CLAIM_TTL_S", str(TTL_S))


@contextmanager
def holder(uri: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds a claim."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, uri], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def race(uri: str, owner: str | None = None) -> list[Claim]:
    """What 16 threads get that ask in the same moment."""
    start = Barrier(16)

    def ask(_: int) -> Claim | None:
        start.wait()
        return claim(uri, owner or unique_owner())

    with ThreadPoolExecutor(16) as pool:
        return [held for held in pool.map(ask, range(16)) if held]


@pytest.mark.parametrize("round_number", range(5))
def test_one_of_16_threads_gets_it(bucket: str, round_number: int) -> None:
    """What nobody held, and what somebody let go of."""
    (first,) = race(f"{bucket}/claim.json")
    assert first.is_mine()
    first.release()
    (second,) = race(f"{bucket}/claim.json")
    assert (second.is_mine(), second.epoch, first.is_mine()) == (True, 2, False)
    second.release()


@pytest.mark.usefixtures("short_leases")
def test_lease_is_renewed_while_it_is_held(bucket: str) -> None:
    """Beyond the time for which it was given."""
    uri = f"{bucket}/job/claim.json"
    with claim_within(uri, "first", 0) as held:
        time.sleep(TTL_S + 3)
        assert (claim(uri, "second"), is_claimed(uri), held.is_mine()) == (None, True, True)


@pytest.mark.usefixtures("short_leases")
def test_lease_of_a_killed_holder_expires(bucket: str) -> None:
    """Not before its time; the next owner has a higher epoch."""
    uri = f"{bucket}/claim.json"
    with holder(uri) as other:
        assert said(other) == "1"
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
        assert (claim(uri, "test"), is_claimed(uri)) == (None, True)
        with claim_within(uri, "test", 30) as held:
            assert held.epoch == 2


@pytest.mark.usefixtures("short_leases")
def test_holder_that_stood_still_learns_that_it_lost(bucket: str) -> None:
    """A process may sleep through its time: then it must not publish."""
    uri = f"{bucket}/claim.json"
    with holder(uri) as other:
        assert said(other) == "1"
        os.kill(other.pid, signal.SIGSTOP)
        with claim_within(uri, "test", 30) as held:
            os.kill(other.pid, signal.SIGCONT)
            time.sleep(TTL_S)
            other.stdin.write("\n")  # type: ignore[union-attr]
            other.stdin.flush()  # type: ignore[union-attr]
            assert (said(other), said(other)) == ("False", f"{uri} was taken over by another process.")
            assert held.is_mine()


def test_released_lease_is_free_at_once(bucket: str) -> None:
    """Its epoch goes on from there."""
    epochs = []
    for number in range(3):
        with claim_within(f"{bucket}/claim.json", f"owner {number}", 0) as held:
            epochs.append(held.epoch)
    assert epochs == [1, 2, 3]


def test_released_lease_stays_released(bucket: str) -> None:
    """A renewal that waits for its turn meanwhile does not bring it back."""
    held, waiting, found = claim_within(f"{bucket}/claim.json", "test", 0), [], []

    def ask_meanwhile(**_: object) -> None:
        if not waiting:
            waiting.append(Thread(target=lambda: found.append(held.is_mine())))
            waiting[0].start()
            time.sleep(0.1)

    with handled("PutObject", ask_meanwhile):
        held.release()
        waiting[0].join()
    assert (found, json.loads(read_bytes(held.uri))["ttl_s"]) == ([False], 0)


def test_releasing_twice_is_releasing_once(bucket: str) -> None:
    """The second time it may be somebody else's."""
    held = claim_within(f"{bucket}/claim.json", "test", 0)
    held.release()
    with claim_within(f"{bucket}/claim.json", "test", 0) as other:
        held.release()
        assert other.is_mine()


def test_asking_takes_nothing(bucket: str) -> None:
    """Before, while and after somebody holds it; whoever asks for itself is not in its own way."""
    uri = f"{bucket}/claim.json"
    assert not is_claimed(uri)
    with claim_within(uri, "mine", 0) as held:
        assert (is_claimed(uri), is_claimed(uri, "other"), is_claimed(uri, "mine")) == (True, True, False)
        assert held.is_mine()
    assert not is_claimed(uri)
    assert json.loads(read_bytes(uri))["epoch"] == 1


def test_owner_takes_its_own_lease_over(bucket: str) -> None:
    """At once, as a restarted pod does; what is left of its earlier self has lost it."""
    uri = f"{bucket}/claim.json"
    earlier = claim_within(uri, "pod", 0)
    with claim_within(uri, "pod", 0) as held:
        assert (held.epoch, held.is_mine(), earlier.is_mine()) == (2, True, False)
        earlier.release()
        assert (held.is_mine(), claim(uri, "other")) == (True, None)


def test_one_of_16_namesakes_gets_it(bucket: str) -> None:
    """Should several restarted pods ask at the same time, one of those that were told so holds it."""
    claim_within(f"{bucket}/claim.json", "pod", 0)
    assert sum(held.is_mine() for held in race(f"{bucket}/claim.json", "pod")) == 1


def test_unique_owners_do_not_take_each_others_lease(bucket: str) -> None:
    """Two threads of a process, or two pods with the same process number."""
    uri = f"{bucket}/claim.json"
    with claim_within(uri, unique_owner(), 0) as held:
        with pytest.raises(ClaimedError, match=r"claim\.json is held by another process\.$"):
            claim_within(uri, unique_owner(), 0.5)
        assert held.is_mine()


def test_claim_counts_though_its_answer_was_lost(bucket: str) -> None:
    """So does a renewal."""
    with lost_once("PutObject") as lost, claim_within(f"{bucket}/claim.json", "test", 0) as held:
        assert (lost, held.is_mine()) == ([200], True)
        with lost_once("PutObject") as lost_again:
            assert (held.is_mine(), lost_again) == (True, [200])


def test_removed_lease_is_lost(bucket: str) -> None:
    """Whoever cleared the folder by hand made it free."""
    held = claim_within(f"{bucket}/job/claim.json", "test", 0)
    remove(f"{bucket}/job")
    assert not held.is_mine()
    with claim_within(f"{bucket}/job/claim.json", "test", 0) as other:
        assert (other.is_mine(), held.is_mine()) == (True, False)


def test_lease_that_cannot_be_released_is_left_to_expire(bucket: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The work is done: it does not fail for that."""
    held = claim_within(f"{bucket}/claim.json", "test", 0)
    with refused("PutObject", 403, "AccessDenied"):
        held.release()
    assert "Not let go of, it expires" in capsys.readouterr().out
    assert is_claimed(f"{bucket}/claim.json")


def test_state_is_replaced_by_who_knows_it(bucket: str) -> None:
    """What conditions rest on: another state, and none, are no match."""
    uri = f"{bucket}/a"
    first = s3.put_if(uri, b"1", None)
    assert first is not None
    assert (s3.put_if(uri, b"2", None), s3.put_if(uri, b"2", '"another"'), s3.put_if(f"{bucket}/none", b"2", first)) == (None, None, None)
    assert s3.put_if(uri, b"2", first) not in {None, first}
    assert s3.put_if(uri, b"3", first) is None
