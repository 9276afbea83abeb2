"""Places of an experiment's parallelism, kept for pods before they are made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dtx_tasks.entrypoints.documents import PlanUris, uris_of
from dtx_tasks.entrypoints.stages import Call, owner_of, slot
from dtx_tasks.errors import ClaimedError
from dtx_tasks.launch import is_blocked
from dtx_tasks.launch.slots import free_slot, reserve_slot
from dtx_tasks.storage import write_record
from tests.builders import Store, make_experiment, make_matrix, make_plan

if TYPE_CHECKING:
    from pathlib import Path

PLAN = make_plan(make_experiment(parallelism=2, matrix=make_matrix(hyperparameters=["a", "b", "c"])))
LONG_S = 600.0


def written(root: str) -> PlanUris:
    """The documents of three packs, of which two may run; without the data that a plan would bring along."""
    uris = uris_of(PLAN, root)
    for uri, document in [*zip(uris.packs, PLAN.packs, strict=True), *zip(uris.bases, PLAN.bases, strict=True)]:
        write_record(uri, document)
    return uris


def packs(root: str) -> list[str]:
    """The packs' documents."""
    return written(root).packs


def enter(uri: str) -> None:
    """What a pod does first."""
    with slot(PLAN.packs[0], Call(uri, "round", owner_of("train", uri, "round"))):
        pass


def test_no_more_pods_are_made_than_may_run(bucket: str) -> None:
    """The third one waits; it would have waited on a GPU."""
    first, second, third = packs(f"{bucket}/store")
    assert [reserve_slot("train", uri, "round", LONG_S) for uri in (first, second, third)] == [True, True, False]
    assert is_blocked("train", third, "round")
    free_slot("train", first, "round")
    assert reserve_slot("train", third, "round", LONG_S)


def test_pod_takes_the_place_that_was_kept_for_it(bucket: str) -> None:
    """And gives it back when it ends."""
    first, second, third = packs(f"{bucket}/store")
    for uri in (first, second):
        assert reserve_slot("train", uri, "round", LONG_S)
    with pytest.raises(ClaimedError):
        enter(third)
    enter(second)
    assert reserve_slot("train", third, "round", LONG_S)


def test_place_is_asked_for_once(bucket: str) -> None:
    """A retry has the one of the try before."""
    first, second, _ = packs(f"{bucket}/store")
    assert all(reserve_slot("train", first, "round", LONG_S) for _ in range(3))
    assert reserve_slot("train", second, "round", LONG_S)


def test_stage_without_a_gpu_needs_no_place(bucket: str) -> None:
    """Fetching and preparing are not what `parallelism` bounds."""
    uris = written(f"{bucket}/store")
    assert all(reserve_slot("fetch", uris.bases[0], key, LONG_S) for key in ("one", "two", "three"))


def test_place_of_a_pod_that_never_comes_is_free_again(bucket: str) -> None:
    """Should nobody be left to give it back."""
    first, second, third = packs(f"{bucket}/store")
    assert reserve_slot("train", first, "round", 0.0)
    assert all(reserve_slot("train", uri, "round", LONG_S) for uri in (second, third))


def test_local_processes_claim_their_places_themselves(tmp_path: Path) -> None:
    """A lock cannot be kept for another process."""
    uris = packs(str(Store(tmp_path, PLAN).root))
    assert all(reserve_slot("train", uri, "round", LONG_S) for uri in uris)
