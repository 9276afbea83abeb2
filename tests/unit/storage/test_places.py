"""At most so many at a time, on one machine and on several."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from dtx_tasks.errors import ClaimedError, TransientError
from dtx_tasks.storage import places, s3
from tests.running import until
from tests.unit.storage.wire import lost_once, refused

if TYPE_CHECKING:
    from pathlib import Path

LONG_S = 600.0

HOLDING = """
import sys, time
from dtx_tasks.storage import places
with places(sys.argv[1], 1).held(sys.argv[2]):
    print("held", flush=True)
    time.sleep(600)
"""


def numbers_of_three(folder: str) -> tuple[int, int, int]:
    """The places of two that hold them together, and of a third, who waits until both have ended."""
    found = places(folder, 2)
    with found.held("a") as first, found.held("b") as second:
        with pytest.raises(ClaimedError, match="All 2 places"), found.held("c"):
            pass
        assert not found.has_room("c")
    with found.held("c") as third:
        return first, second, third


def test_each_process_has_a_place_of_its_own(tmp_path: Path) -> None:
    """On one machine by locks; they are numbered, for its GPUs."""
    assert numbers_of_three(str(tmp_path)) == (0, 1, 0)
    assert places(str(tmp_path), 2).has_room("d")


def test_each_machine_has_a_place_of_its_own(bucket: str) -> None:
    """On S3 by leases."""
    assert numbers_of_three(f"{bucket}/store") == (0, 1, 0)
    assert places(f"{bucket}/store", 2).has_room("d")


def test_kept_place_waits_for_its_owner(bucket: str) -> None:
    """And for nobody else; asking twice keeps one."""
    found = places(bucket, 2)
    assert [found.keep(owner, LONG_S) for owner in ("a", "a", "b", "c")] == [True, True, True, False]
    with found.held("b") as number:
        assert number == 1
    assert found.keep("c", LONG_S)


def test_place_is_given_back_once(bucket: str) -> None:
    """An owner that has none changes nothing."""
    found = places(bucket, 1)
    assert found.keep("a", LONG_S)
    found.give_back("b")
    assert not found.has_room("b")
    found.give_back("a")
    found.give_back("a")
    assert found.has_room("b")


def test_as_many_at_once_as_there_are_places(bucket: str) -> None:
    """All ask at the same moment: no place is given away twice, and none is forgotten."""
    found = places(bucket, 5)
    with ThreadPoolExecutor(12) as pool:
        kept = list(pool.map(lambda number: found.keep(f"owner-{number}", LONG_S), range(12)))
    assert sum(kept) == 5
    assert [places(bucket, 5).has_room(f"owner-{number}") for number in range(12)] == kept


def test_dead_holder_loses_its_place(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some time after nobody renews it, by the server's clock."""
    monkeypatch.setenv("DTX_CLAIM_TTL_S", "4")
    with subprocess.Popen([sys.executable, "-c", HOLDING, bucket, "dead"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(6)
        assert not places(bucket, 1).has_room("other")
        process.kill()
    until(lambda: places(bucket, 1).has_room("other"), "its place is free", 30)


def test_lost_answer_takes_no_second_place(bucket: str) -> None:
    """The request is repeated; it was this very owner that put itself there."""
    found = places(bucket, 2)
    assert found.keep("a", LONG_S)
    with lost_once("PutObject"):
        assert found.keep("b", LONG_S)
    assert not found.has_room("c")


def test_storage_that_is_away_ends_nobody(bucket: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be given back expires; who cannot write down that he holds a place has none."""
    with ExitStack() as later:
        with places(bucket, 1).held("a"):
            later.enter_context(refused("PutObject", 403, "AccessDenied"))
        assert "Not given back, it expires" in capsys.readouterr().out
        with pytest.raises(TransientError), places(bucket, 2).held("b"):
            pass


def test_many_places_cost_no_more_requests(bucket: str) -> None:
    """One object is read and one written, for five hundred as for one."""
    asked: list[str] = []
    s3.client().meta.events.register("before-call.s3", lambda model, **_: asked.append(model.name))
    found = places(bucket, 500)
    assert all(found.keep(f"owner-{number}", LONG_S) for number in range(3))
    assert asked.count("PutObject") == 4
    assert asked.count("GetObject") <= 5
