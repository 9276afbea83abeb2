"""A pack on several machines: a JobSet, or an Indexed Job where that is not installed; the same pods in both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from dtx_tasks.catalog.backend import BASE_CONTAINER
from dtx_tasks.entrypoints.nodes import PORT
from dtx_tasks.errors import ClaimedError, DataError, DivergedError, DtxError, ResourceError, SpecError
from dtx_tasks.launch.pods import base_container, pod_of

if TYPE_CHECKING:
    from dtx_tasks.catalog.backend import Backend
    from dtx_tasks.launch.pods import StageCall

JOB = "nodes"
"""The one replicated Job of a JobSet; its pods are the machines."""

JOB_SET = {"group": "jobset.x-k8s.io", "version": "v1alpha2", "plural": "jobsets"}
POD_LABELS = {"JobSet": "jobset.sigs.k8s.io/jobset-name", "Job": "batch.kubernetes.io/job-name"}
RANK_LABEL = "batch.kubernetes.io/job-completion-index"
ENDED = {"JobSet": ("Completed", "Failed"), "Job": ("Complete", "Failed")}
"""Conditions of a workload that has ended; the first of them well."""

NO_RESTART = [*(kind.exit_code for kind in (SpecError, DataError, DivergedError, ResourceError, DtxError, ClaimedError)), 137]
"""Exit codes that need a decision before the next attempt: smaller batches, more memory, or none at all. 137 may be a lack of memory."""


@dataclass(frozen=True)
class SeveralNodes:
    """What starts the pods of one pack.

    Attributes:
        kind: A JobSet or a Job.
        name: The same for every try of a round: creating it twice finds the first one.
        namespace: Where it is made.
        manifest: The workload.
        service: The headless Service that gives the pods of a Job their names; a JobSet makes its own.
    """

    kind: Literal["JobSet", "Job"]
    name: str
    namespace: str
    manifest: dict[str, Any]
    service: dict[str, Any] | None = None

    @classmethod
    def of(cls, call: StageCall, backend: Backend, template: dict[str, Any], namespace: str) -> SeveralNodes:
        """The workload of a pack.

        Args:
            call: What to run.
            backend: On what terms.
            template: The Pod that each pod begins as.
            namespace: Where it is made.
        """
        name = f"dtx-{call.run_key}"
        metadata = {"name": name, "namespace": namespace, "annotations": call.annotations, "labels": _queued(call, backend)}
        if backend.several_nodes == "jobset":
            pod = _machine(call, backend, template, f"{name}-{JOB}-0-0.{name}")
            return cls("JobSet", name, namespace, _job_set(metadata, _job_spec(call, backend, pod), backend))
        pod = _machine(call, backend, template, f"{name}-0.{name}")
        pod["spec"]["subdomain"] = name
        job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": _job_spec(call, backend, pod)}
        return cls("Job", name, namespace, job, _service(name, namespace, call))

    @property
    def pod_selector(self) -> str:
        """The label that its pods carry."""
        return f"{POD_LABELS[self.kind]}={self.name}"


def ended(kind: str, workload: dict[str, Any]) -> str | None:
    """The condition in which a workload has ended; None while it has not."""
    conditions = workload.get("status", {}).get("conditions") or []
    return next((item["type"] for item in conditions if item["type"] in ENDED[kind] and item["status"] == "True"), None)


def _queued(call: StageCall, backend: Backend) -> dict[str, str]:
    return {**call.labels, **({"kueue.x-k8s.io/queue-name": backend.queue} if backend.queue else {})}


def _machine(call: StageCall, backend: Backend, template: dict[str, Any], coordinator: str) -> dict[str, Any]:
    pod = pod_of(call, backend, template)
    # Kueue takes the whole workload in, not each pod.
    pod["metadata"]["labels"].pop("kueue.x-k8s.io/queue-name", None)
    launch_id = {"fieldRef": {"fieldPath": "metadata.labels['batch.kubernetes.io/controller-uid']"}}
    container = base_container(pod)
    container["env"] += [{"name": "DTX_COORDINATOR", "value": coordinator}, {"name": "DTX_LAUNCH_ID", "valueFrom": launch_id}]
    container.setdefault("ports", []).append({"name": "ranks", "containerPort": PORT})
    return pod


def _job_spec(call: StageCall, backend: Backend, pod: dict[str, Any]) -> dict[str, Any]:
    on_codes = {"containerName": BASE_CONTAINER, "operator": "In", "values": sorted(NO_RESTART)}
    return {
        "completionMode": "Indexed",
        "completions": call.nodes,
        "parallelism": call.nodes,
        # All start again together, or none.
        "backoffLimit": 0,
        "podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": on_codes}]},
        "template": pod_template(pod),
        **({"suspend": True} if backend.queue and backend.several_nodes == "job" else {}),
    }


def pod_template(pod: dict[str, Any]) -> dict[str, Any]:
    """A Pod as the template of a Job."""
    return {"metadata": pod["metadata"], "spec": pod["spec"]}


def _job_set(metadata: dict[str, Any], job: dict[str, Any], backend: Backend) -> dict[str, Any]:
    final = {"name": "decided_elsewhere", "action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]}
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": metadata,
        "spec": {
            "network": {"enableDNSHostnames": True, "publishNotReadyAddresses": True},
            "failurePolicy": {"maxRestarts": backend.max_restarts, "rules": [final]},
            "replicatedJobs": [{"name": JOB, "replicas": 1, "template": {"spec": job}}],
            **({"suspend": True} if backend.queue else {}),
        },
    }


def _service(name: str, namespace: str, call: StageCall) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace, "labels": call.labels},
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {"batch.kubernetes.io/job-name": name},
            "ports": [{"name": "ranks", "port": PORT}],
        },
    }
