"""One writer at a time, freed by the kernel when it is gone."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dtx_tasks.errors import ClaimedError
from dtx_tasks.storage import claim, claim_within, is_claimed, list_names, read_bytes

HOLDER = """
import sys, time
from dtx_tasks.storage import claim
held = claim(sys.argv[1], "child")
print("held" if held else "refused", flush=True)
time.sleep(600)
"""


@contextmanager
def holder(uri: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds a claim, or was refused it."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, uri], stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_second_process_is_refused(tmp_path: Path) -> None:
    """While the first one lives."""
    uri = f"{tmp_path}/job/claim.json"
    with claim(uri, "test") as held, holder(uri) as other:
        assert held is not None
        assert said(other) == "refused"


def test_killed_holder_frees_its_claim(tmp_path: Path) -> None:
    """SIGKILL asks nobody; the next owner has a higher epoch."""
    uri = f"{tmp_path}/claim.json"
    with holder(uri) as other:
        assert said(other) == "held"
        assert claim(uri, "test") is None
        assert is_claimed(uri)
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
        assert not is_claimed(uri)
        with claim(uri, "test") as held:
            assert held is not None
            assert held.epoch == 2


def test_claim_is_not_mine_after_a_takeover(tmp_path: Path) -> None:
    """Whoever let go of it, or lost it, must not publish."""
    uri = f"{tmp_path}/claim.json"
    first = claim(uri, "first")
    assert first is not None
    assert first.is_mine()
    first.release()
    second = claim(uri, "second")
    assert second is not None
    assert (first.is_mine(), second.is_mine(), second.epoch) == (False, True, first.epoch + 1)
    second.release()


def test_lock_that_was_removed_leaves_one_owner(tmp_path: Path) -> None:
    """Where somebody cleared the folder by hand, the epoch still tells the later owner."""
    uri = f"{tmp_path}/claim.json"
    first = claim(uri, "first")
    (tmp_path / "claim.json.lock").unlink()
    second = claim(uri, "second")
    assert first is not None
    assert second is not None
    assert (first.is_mine(), second.is_mine()) == (False, True)


def test_asking_takes_nothing(tmp_path: Path) -> None:
    """Before, while and after somebody holds it, `is_claimed` changes neither the claim nor the epoch."""
    uri = f"{tmp_path}/claim.json"
    assert not is_claimed(uri)
    assert list_names(str(tmp_path)) == []
    with claim(uri, "test") as held:
        assert held is not None
        assert is_claimed(uri)
        assert held.is_mine()
    assert not is_claimed(uri)
    assert json.loads(read_bytes(uri))["epoch"] == 1


def test_claim_says_who_holds_it(tmp_path: Path) -> None:
    """For people who look."""
    with claim(f"{tmp_path}/claim.json", "host:1"):
        noted = json.loads(read_bytes(f"{tmp_path}/claim.json"))
    assert (noted["owner"], noted["pid"]) == ("host:1", os.getpid())


def test_releasing_twice_is_releasing_once(tmp_path: Path) -> None:
    """The file descriptor's number may be somebody else's by then."""
    held = claim(f"{tmp_path}/claim.json", "test")
    assert held is not None
    held.release()
    with (tmp_path / "other").open("w") as other:
        held.release()
        other.write("still open")
    assert (tmp_path / "other").read_text() == "still open"


def test_claims_of_different_things_are_apart(tmp_path: Path) -> None:
    """One process may hold many."""
    with claim(f"{tmp_path}/1.json", "test") as one, claim(f"{tmp_path}/2.json", "test") as other:
        assert one is not None
        assert other is not None


def test_waiting_for_a_claim_ends(tmp_path: Path) -> None:
    """With it where it is free, with a word where it is not."""
    uri = f"{tmp_path}/claim.json"
    with claim_within(uri, "test", 0) as held:
        assert held.epoch == 1
        with pytest.raises(ClaimedError, match=r"claim\.json is held by another process\.$"):
            claim_within(uri, "other", 0)
