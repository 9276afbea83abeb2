"""What the status of a pod is taken to mean; the statuses are those of a real cluster, shortened."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest

from dtx_tasks.errors import kind_of
from dtx_tasks.launch.endings import end_of, end_of_all, is_over, is_overdue, refused

TERMINATION = '{"event": "error", "class": "DataError", "message": "train.jsonl:3: broken.", "hint": "Mend it."}'


def make_pod(phase: str = "Failed", *, state: dict[str, Any] | None = None, limits: dict[str, str] | None = None, **status: Any) -> dict[str, Any]:
    """A pod with one container in a state."""
    statuses = [{"name": "base", "image": "trainer:1", "state": state}] if state else []
    container = {"name": "base", "resources": {"limits": limits or {"memory": "16Gi"}}}
    return {"metadata": {"name": "train-x"}, "spec": {"containers": [container]}, "status": {"phase": phase, "containerStatuses": statuses, **status}}


def ended(exit_code: int, reason: str = "Error", message: str = "") -> dict[str, Any]:
    """A container that has ended."""
    return {"terminated": {"exitCode": exit_code, "reason": reason, "message": message}}


def waiting(reason: str, message: str = "words") -> dict[str, Any]:
    """A container that has not begun."""
    return {"waiting": {"reason": reason, "message": message}}


def taken(reason: str) -> list[dict[str, str]]:
    """The condition of a pod that the cluster takes away."""
    return [{"type": "DisruptionTarget", "status": "True", "reason": reason, "message": "to make room"}]


UNSCHEDULABLE = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/4 nodes are available: 4 Insufficient nvidia.com/gpu."}]


@pytest.mark.parametrize(
    ("pod", "kind", "says"),
    [
        (make_pod(state=ended(137, "OOMKilled")), "HostMemoryError", "limit of 16Gi"),
        (make_pod(state=ended(137)), "TransientError", "killed: exit code 137"),
        (make_pod(state=ended(139)), "TransientError", "exit code 139"),
        (make_pod(state=ended(1)), "DtxError", "before it could say how"),
        (make_pod(state=ended(75, message=TERMINATION), conditions=taken("EvictionByEvictionAPI")), "PreemptedError", "EvictionByEvictionAPI: to make room"),
        (make_pod(conditions=taken("PreemptionByScheduler")), "PreemptedError", "PreemptionByScheduler"),
        (make_pod(conditions=taken("DeletionByTaintManager")), "PreemptedError", "DeletionByTaintManager"),
        (make_pod(reason="NodeLost", message="node unreachable"), "PreemptedError", "NodeLost: node unreachable"),
        (make_pod(reason="Evicted", message="The node was low on resource: ephemeral-storage."), "TransientError", "ephemeral-storage"),
        (make_pod(reason="DeadlineExceeded", message="Pod was active too long"), "ExhaustedError", "longer than a pod may"),
        (make_pod("Pending", state=waiting("ImagePullBackOff")), "SpecError", "The image 'trainer:1' cannot be had: ImagePullBackOff"),
        (make_pod("Pending", state=waiting("ErrImageNeverPull")), "SpecError", "ErrImageNeverPull"),
        (make_pod("Pending", state=waiting("InvalidImageName")), "SpecError", "InvalidImageName"),
        (make_pod("Pending", state=waiting("CreateContainerConfigError", 'secret "a" not found')), "SpecError", 'secret "a" not found'),
        (make_pod(state=ended(128, "StartError", "no such file")), "SpecError", "no such file"),
        (make_pod("Pending", conditions=UNSCHEDULABLE), "TransientError", "4 Insufficient nvidia.com/gpu"),
        (make_pod(), "TransientError", "did not start"),
        (None, "PreemptedError", "gone"),
    ],
)
def test_cluster_knows_what_the_stage_cannot_say(pod: dict[str, Any] | None, kind: str, says: str) -> None:
    """Each is of a class, and says what happened."""
    end = end_of(pod)
    assert end.error is not None
    assert kind_of(end.error) == kind
    assert says in end.error.message
    assert end.exit_code == end.error.exit_code != 0


@pytest.mark.parametrize("exit_code", [65, 70, 75, 76, 77, 78, 79])
def test_stage_that_said_how_it_ended_is_believed(exit_code: int) -> None:
    """Its own record is on storage already: nothing is to be written down."""
    end = end_of(make_pod(state=ended(exit_code, message=TERMINATION)))
    assert (end.exit_code, end.error, end.said) == (exit_code, None, "DataError: train.jsonl:3: broken. Mend it.")


def test_success_counts_even_if_the_pod_was_to_go() -> None:
    """It was done by then."""
    assert end_of(make_pod("Succeeded", state=ended(0, "Completed"), conditions=taken("EvictionByEvictionAPI"))).exit_code == 0


@pytest.mark.parametrize(
    ("pod", "over"),
    [
        (make_pod("Running", state={"running": {}}), False),
        (make_pod("Pending", state=waiting("ContainerCreating")), False),
        (make_pod("Pending", conditions=UNSCHEDULABLE), False),
        (make_pod("Pending", state=waiting("CreateContainerConfigError", "failed to sync secret cache: timed out waiting for the condition")), False),
        (make_pod("Pending", state=waiting("CreateContainerError", "context deadline exceeded")), False),
        (make_pod("Pending", state=waiting("ErrImagePull")), False),
        (make_pod("Pending", state=waiting("ImagePullBackOff", "not found")), True),
        (make_pod("Pending", state=waiting("ImagePullBackOff", "429 Too Many Requests")), False),
        (make_pod("Succeeded"), True),
        (make_pod("Failed"), True),
    ],
)
def test_pod_is_over_when_it_ended_or_never_will_begin(pod: dict[str, Any], *, over: bool) -> None:
    """One that waits for a place is not."""
    assert is_over(pod) is over


@pytest.mark.parametrize(("placed", "waited_s", "overdue"), [(False, 99, False), (False, 101, True), (True, 9, False), (True, 11, True)])
def test_pod_waits_for_a_place_longer_than_for_its_image(*, placed: bool, waited_s: int, overdue: bool) -> None:
    """Queues are long, images are not."""
    since = "2026-01-01T00:00:00Z"
    pod = make_pod("Pending", conditions=[{"type": "PodScheduled", "status": str(placed), "lastTransitionTime": since}])
    pod["metadata"]["creationTimestamp"] = since
    now = datetime.fromisoformat(since).timestamp() + waited_s
    assert is_overdue(pod, now, 100, 10) is overdue
    assert not is_overdue({**pod, "status": {"phase": "Running"}}, now, 0, 0)


def test_of_several_pods_the_most_telling_end_counts() -> None:
    """One runs out of memory, the others only lose sight of it."""
    lost = make_pod(state=ended(75, message=TERMINATION))
    end = end_of_all([lost, make_pod(state=ended(137, "OOMKilled")), make_pod("Running", state={"running": {}})])
    assert end.error is not None
    assert kind_of(end.error) == "HostMemoryError"
    assert end_of_all([lost, lost]).exit_code == 75
    assert end_of_all([make_pod("Succeeded", state=ended(0))]).exit_code == 0
    assert kind_of(end_of_all([]).error) == "PreemptedError"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (403, 'pods "x" is forbidden: exceeded quota: gpus', "TransientError"),
        (403, 'pods "x" is forbidden: violates PodSecurity "restricted:latest"', "SpecError"),
        (401, "Unauthorized", "SpecError"),
        (404, 'namespaces "dtx" not found', "SpecError"),
        (422, "spec.containers[0].image: Required value", "SpecError"),
        (409, "already exists", "TransientError"),
        (429, "too many requests", "TransientError"),
        (503, "apiserver is shutting down", "TransientError"),
        (0, "connection refused", "TransientError"),
    ],
)
def test_refusal_is_final_where_waiting_does_not_help(status: int, message: str, kind: str) -> None:
    """A quota frees itself, a bad spec does not."""
    error = refused(status, message)
    assert (kind_of(error), message in error.message) == (kind, True)


def make_lost(age_s: float) -> dict[str, Any]:
    """A pod that should have gone a while ago, and of which nobody tells."""
    pod = make_pod("Running", state={"running": {}})
    pod["metadata"]["deletionTimestamp"] = datetime.fromtimestamp(time.time() - age_s, UTC).isoformat()
    return pod


def test_pod_on_a_lost_node_is_over_some_time_after_it_should_have_gone() -> None:
    """No kubelet is left to say so."""
    assert not is_over(make_lost(30))
    assert is_over(make_lost(300))
    assert kind_of(end_of(make_lost(300)).error) == "PreemptedError"  # type: ignore[arg-type]


def test_of_several_pods_the_one_that_does_not_begin_counts_where_none_has_ended() -> None:
    """It is why the others are not waited for any more."""
    end = end_of_all([make_pod("Running", state={"running": {}}), make_pod("Pending", conditions=UNSCHEDULABLE)])
    assert end.error is not None
    assert "4 Insufficient nvidia.com/gpu" in end.error.message
