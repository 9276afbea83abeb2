"""Which pods belong to nobody."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dtx_tasks.orchestration.housekeeping import ALIVE, is_orphan

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def make_metadata(age: timedelta = timedelta(hours=1), deadline: timedelta = timedelta(days=1)) -> dict[str, Any]:
    """Of a pod that was made a while ago, and may run for a while."""
    created = (NOW - age).isoformat().replace("+00:00", "Z")
    return {"name": "train-x", "creationTimestamp": created, "annotations": {"dtx/deadline": str(int((NOW + deadline).timestamp()))}}


@pytest.mark.parametrize("state", sorted(ALIVE))
def test_pod_of_a_living_task_stays(state: str) -> None:
    """Also of one that waits for its next try: it will look for the pod."""
    assert not is_orphan(make_metadata(), state, NOW.timestamp())


@pytest.mark.parametrize("state", ["success", "failed", "skipped", "removed", None])
def test_pod_that_nobody_waits_for_goes(state: str | None) -> None:
    """Its task has ended, or is gone with its run."""
    assert is_orphan(make_metadata(), state, NOW.timestamp())


def test_young_pod_stays() -> None:
    """Its task's state may be changing just now."""
    assert not is_orphan(make_metadata(timedelta(minutes=5)), "failed", NOW.timestamp())


def test_overdue_pod_goes_whoever_waits_for_it() -> None:
    """The deadline is the cluster's."""
    assert is_orphan(make_metadata(deadline=timedelta(seconds=-1)), "deferred", NOW.timestamp())
