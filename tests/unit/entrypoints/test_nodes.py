"""What the machines of one pack tell each other."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from dtx_tasks.entrypoints.nodes import Node, await_others, give_orders, take_orders

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_machine_is_alone_unless_its_job_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """JOB_COMPLETION_INDEX alone is set by any Indexed Job."""
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "3")
    monkeypatch.delenv("DTX_COORDINATOR", raising=False)
    assert Node.this() == Node()
    monkeypatch.setenv("DTX_COORDINATOR", "first.job")
    monkeypatch.setenv("DTX_LAUNCH_ID", "u1")
    assert Node.this() == Node(3, "first.job", "u1")


def test_others_do_what_the_first_one_says(tmp_path: Path) -> None:
    """As soon as it has said it."""
    first, second = Node(0, "first", "u1"), Node(1, "first", "u1")
    speaker = threading.Timer(0.2, give_orders, [str(tmp_path), first, {"job": 50}])
    speaker.start()
    assert take_orders(str(tmp_path), second).started_from == {"job": 50}
    speaker.join()


def test_orders_of_an_earlier_start_do_not_count(tmp_path: Path) -> None:
    """All have started again since: the checkpoint may be another one."""
    give_orders(str(tmp_path), Node(0, "first", "u1"), {"job": 50})
    give_orders(str(tmp_path), Node(0, "first", "u2"), {"job": 100})
    assert take_orders(str(tmp_path), Node(1, "first", "u2")).started_from == {"job": 100}


def test_machine_that_is_alone_tells_nobody(tmp_path: Path) -> None:
    """There is nobody to read it."""
    give_orders(str(tmp_path), Node(), {"job": 50})
    assert list(tmp_path.iterdir()) == []


def test_first_machine_begins_when_all_are_there(tmp_path: Path) -> None:
    """Ranks that wait for each other give up sooner than a pod may wait for its place."""
    first, second = Node(0, "first", "u1"), Node(1, "first", "u1")
    follower = threading.Thread(target=take_orders, args=(str(tmp_path), second))
    follower.start()
    await_others(str(tmp_path), first, 2)
    give_orders(str(tmp_path), first, {})
    follower.join(10)
    assert not follower.is_alive()
