"""What the end of a pod means: an exit code of the stage itself, or a failure that the cluster knows of."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from dtx_tasks.errors import BY_NAME, DtxError, ExhaustedError, HostMemoryError, PreemptedError, SpecError, TransientError, how_telling, kind_of
from dtx_tasks.launch.pods import memory_limit

if TYPE_CHECKING:
    from collections.abc import Iterable

BAD_IMAGE = frozenset({"ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"})
BAD_CONTAINER = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError", "ContainerCannotRun"})
"""Reasons of the kubelet that no waiting mends."""

PASSING = (
    "timeout",
    "timed out",
    "deadline exceeded",
    "failed to reserve",
    "rate limit",
    "too many requests",
    "qps exceeded",
    "unavailable",
    "bad gateway",
    "connection reset",
    "connection refused",
)
"""Words of registries and kubelets that are busy for a moment: waited for, as long as a pod may take to start."""

NODE_LOST_S = 120.0
"""A pod that should have gone so long ago is on a node that nobody answers for."""

OWN_CODES = frozenset(kind.exit_code for kind in BY_NAME.values()) | {0}
FINISHED = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True)
class PodEnd:
    """How a pod ended.

    Attributes:
        exit_code: The stage's own where it could end by itself, else that of the error's class.
        error: What the cluster says; None where the stage itself has said how it ended.
        said: The stage's last words.
    """

    exit_code: int
    error: DtxError | None = None
    said: str = ""

    @property
    def reason(self) -> str:
        """For people."""
        return f"{kind_of(self.error)}: {self.error}" if self.error else self.said or f"exit code {self.exit_code}"


def is_over(pod: dict[str, Any]) -> bool:
    """Whether a pod has ended, or never will begin."""
    return pod.get("status", {}).get("phase") in FINISHED or _terminated(pod) is not None or _waiting_error(pod) is not None or is_lost(pod)


def is_lost(pod: dict[str, Any]) -> bool:
    """Whether a pod was to be gone long ago: its node is lost, and no kubelet tells of its end."""
    removed_at = pod.get("metadata", {}).get("deletionTimestamp")
    return bool(removed_at) and time.time() - _unix(removed_at) > NODE_LOST_S


def is_overdue(pod: dict[str, Any], now: float, schedule_timeout_s: float, startup_timeout_s: float) -> bool:
    """Whether a pod has waited too long, for a place or for its start there.

    Args:
        pod: As the API gives it.
        now: Unix time.
        schedule_timeout_s: How long it may wait for a place.
        startup_timeout_s: How long it may take to start.
    """
    if pod.get("status", {}).get("phase") != "Pending":
        return False
    conditions = pod["status"].get("conditions") or []
    placed = next((item for item in conditions if item.get("type") == "PodScheduled" and item.get("status") == "True"), None)
    if placed:
        return now - _unix(placed["lastTransitionTime"]) > startup_timeout_s
    return now - _unix(pod["metadata"]["creationTimestamp"]) > schedule_timeout_s


def end_of(pod: dict[str, Any] | None) -> PodEnd:
    """What a pod's status says about its end.

    Args:
        pod: As the API gives it; None when it is gone.
    """
    if pod is None:
        return _because(PreemptedError("The pod is gone.", "Its node was lost, or somebody deleted it."))
    terminated = _terminated(pod)
    if terminated and terminated["exitCode"] == 0:
        return PodEnd(0)
    taken = _taken_away(pod)
    if terminated and terminated["exitCode"] in OWN_CODES and terminated.get("message") and not taken:
        return PodEnd(int(terminated["exitCode"]), None, _last_words(terminated))
    if is_lost(pod):
        taken = taken or PreemptedError("The pod did not go when it was to.", "Its node is lost.")
    known = taken or _waiting_error(pod) or _killed(pod, terminated) or _unscheduled(pod)
    return _because(known or TransientError("The pod did not start.", "Its events say why: `kubectl get events`; `startup_timeout_s` is how long it may take."))


def end_of_all(pods: Iterable[dict[str, Any]]) -> PodEnd:
    """What the pods of one pack say together."""
    found = list(pods)
    # Where none has ended, the one that does not begin is why nobody waits any more.
    ends = [end_of(pod) for pod in found if is_over(pod)] or [end_of(pod) for pod in found if pod.get("status", {}).get("phase") == "Pending"]
    failed = [end for end in ends if end.exit_code != 0]
    if failed:
        return min(failed, key=_rank)
    return PodEnd(0) if ends else end_of(None)


def without_pods(kind: str) -> PodEnd:
    """What it means that the cluster took a workload and made no pod for it."""
    hint = f"`kubectl describe {kind.lower()}` says why: Pod Security, a quota, or a service account that is not there."
    return _because(TransientError(f"The cluster made no pod for this pack's {kind}.", hint))


def refused(status: int, message: str) -> DtxError:
    """What it means that the cluster would not make a pod.

    Args:
        status: Of the API's answer.
        message: Its words.
    """
    if status == 403 and "quota" in message:
        return TransientError(f"The namespace's quota is used up: {message}", "It is tried again; or lower `parallelism`.")
    if status in (401, 403):
        return SpecError(f"The cluster refuses the pod: {message}", "`dtx doctor --backend kubernetes` checks the rights; config/pods passes `restricted`.")
    if 400 <= status < 500 and status not in (408, 409, 429):
        return SpecError(f"The cluster cannot make this pod: {message}", "Correct the pod template, or the experiment's resources.")
    return TransientError(f"The cluster did not answer: {status} {message}")


def _unix(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _rank(end: PodEnd) -> int:
    kind = kind_of(end.error) if end.error else next((name for name, known in BY_NAME.items() if known.exit_code == end.exit_code), "DtxError")
    return how_telling(kind)


def _because(error: DtxError) -> PodEnd:
    return PodEnd(error.exit_code, error)


def _status_of_base(pod: dict[str, Any]) -> dict[str, Any]:
    found = pod.get("status", {}).get("containerStatuses") or []
    return next((status for status in found if status["name"] == "base"), {})


def _terminated(pod: dict[str, Any]) -> dict[str, Any] | None:
    found: dict[str, Any] | None = _status_of_base(pod).get("state", {}).get("terminated")
    return found


def _taken_away(pod: dict[str, Any]) -> DtxError | None:
    status = pod.get("status", {})
    if status.get("reason") == "DeadlineExceeded":
        return ExhaustedError("The pod ran longer than a pod may.", "Raise `deadline_s` of the backend; training resumes from its last checkpoint.")
    if status.get("reason") == "Evicted" and "low on resource" in status.get("message", ""):
        return TransientError(f"The pod was evicted: {status['message']}", "Request what it needs in the pod template: ephemeral-storage, memory.")
    conditions = [item for item in status.get("conditions") or [] if item.get("type") == "DisruptionTarget" and item.get("status") == "True"]
    if conditions:
        return PreemptedError(f"The pod was taken away: {conditions[0].get('reason')}: {conditions[0].get('message', '')}".rstrip(": "))
    if status.get("reason") in ("Evicted", "NodeLost", "Preempting", "Shutdown", "Terminated", "NodeShutdown"):
        return PreemptedError(f"The pod was taken away: {status['reason']}: {status.get('message', '')}".rstrip(": "))
    return None


def _waiting_error(pod: dict[str, Any]) -> DtxError | None:
    statuses = [*(pod.get("status", {}).get("initContainerStatuses") or []), *(pod.get("status", {}).get("containerStatuses") or [])]
    for status in statuses:
        waiting = status.get("state", {}).get("waiting") or {}
        reason, message = waiting.get("reason", ""), waiting.get("message", "")
        if any(word in message.lower() for word in PASSING):
            continue
        if reason in BAD_IMAGE:
            return SpecError(f"The image {status.get('image')!r} cannot be had: {reason}: {message}", "Correct `image` of the backend or of the pod template.")
        if reason in BAD_CONTAINER:
            return SpecError(f"The container cannot be made: {reason}: {message}", "Correct the pod template: a Secret, a ConfigMap or a command is missing.")
    return None


def _killed(pod: dict[str, Any], terminated: dict[str, Any] | None) -> DtxError | None:
    if terminated is None:
        return None
    if terminated.get("reason") == "OOMKilled":
        limit = memory_limit(pod)
        return HostMemoryError(f"The pod used more memory than its limit of {limit}.", "It is tried once more with half as much again; set `resources.memory`.")
    if terminated.get("reason") in BAD_CONTAINER:
        return SpecError(f"The container cannot be started: {terminated.get('message', '')}", "Correct `command` of the pod template.")
    if terminated["exitCode"] == 1:
        return DtxError("The stage failed before it could say how.", "Its last lines are in the log above.")
    return TransientError(f"The pod was killed: exit code {terminated['exitCode']}.", "Its last lines are in the log above.")


def _unscheduled(pod: dict[str, Any]) -> DtxError | None:
    conditions = pod.get("status", {}).get("conditions") or []
    found = next((item for item in conditions if item.get("type") == "PodScheduled" and item.get("status") == "False"), None)
    if found is None:
        return None
    return TransientError(f"No node has a place for the pod: {found.get('message', found.get('reason'))}", "Lower the resources, free a node or add one.")


def _last_words(terminated: dict[str, Any]) -> str:
    """What the entrypoint wrote to its termination log."""
    try:
        words = json.loads(terminated.get("message") or "")
        return f"{words['class']}: {words['message']} {words['hint']}".strip()
    except (ValueError, KeyError, TypeError):
        return str(terminated.get("message") or "")
