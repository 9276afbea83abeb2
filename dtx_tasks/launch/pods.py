"""A stage as a pod: the Pod to make for it, as plain data."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from dtx_tasks.catalog.backend import BASE_CONTAINER
from dtx_tasks.entrypoints.attempts import attempts_of
from dtx_tasks.launch.state import failures_of, read_document
from dtx_tasks.records import BaseDocument, Layout, Pack, StageDocument, slug

if TYPE_CHECKING:
    from dtx_tasks.catalog.backend import Backend
    from dtx_tasks.spec import Resources

MANAGED_BY = "dtx"
"""Value of the label by which housekeeping finds what was made here."""

MORE_MEMORY = 1.5
"""Of the limit that was not enough: the failure table of docs/design.md."""

GPU_STAGES = ("train", "score", "score_base")
MEGABYTES = {"Mi": 1, "Gi": 1024, "Ti": 1024 * 1024}


@dataclass(frozen=True)
class StageCall:
    """One stage on one document, for one Airflow task.

    Attributes:
        stage: What to run.
        document_uri: What to run it on.
        run_key: The round of attempts.
        owner: The task instance, as dag_id, run_id, task_id and map_index.
        try_number: Of the task instance.
        deadline: Unix time after which nobody needs the pod any more.
    """

    stage: str
    document_uri: str
    run_key: str
    owner: dict[str, str | int]
    try_number: int
    deadline: int

    @cached_property
    def document(self) -> StageDocument:
        """What to run it on."""
        return read_document(self.stage, self.document_uri)

    @property
    def resources(self) -> Resources | None:
        """What the experiment asks for; None for a stage that needs no accelerator."""
        document = self.document
        return document.resources if isinstance(document, Pack | BaseDocument) and self.stage in GPU_STAGES else None

    @property
    def nodes(self) -> int:
        """Machines that run it."""
        return self.resources.nodes if self.resources and self.stage == "train" else 1

    @property
    def name(self) -> str:
        """What its pods are called, before what makes each unique."""
        return f"{self.stage.replace('_', '-')}-{slug(self.document.name, 38)}"

    @property
    def labels(self) -> dict[str, str]:
        """What its pods are found by; values as labels may hold them."""
        document = self.document
        named = {"experiment": document.experiment_name, "team": document.team, "stage": self.stage.replace("_", "-"), "item": document.name}
        labels = {f"dtx/{key}": slug(value, 63) for key, value in named.items()}
        return {**labels, "dtx/try": str(self.try_number), "dtx/round": self.run_key, "app.kubernetes.io/managed-by": MANAGED_BY}

    @property
    def annotations(self) -> dict[str, str]:
        """Whose pods they are, and until when."""
        return {"dtx/owner": json.dumps(self.owner, ensure_ascii=False), "dtx/deadline": str(self.deadline), "dtx/document": self.document_uri}

    @property
    def arguments(self) -> list[str]:
        """The command behind the interpreter: the same as of a local process."""
        return ["-m", "dtx_tasks.entrypoints", self.stage, "--document", self.document_uri, "--run-key", self.run_key]


def pod_of(call: StageCall, backend: Backend, template: dict[str, Any]) -> dict[str, Any]:
    """The Pod that runs a stage.

    Args:
        call: What to run.
        backend: On what terms.
        template: The Pod that it begins as; it is not changed.

    Returns:
        A manifest without a name and without a namespace.
    """
    pod = deepcopy(template)
    queue = {"kueue.x-k8s.io/queue-name": backend.queue} if backend.queue else {}
    metadata = pod.setdefault("metadata", {})
    metadata["labels"] = {**metadata.get("labels", {}), **queue, **call.labels}
    metadata["annotations"] = {**metadata.get("annotations", {}), **call.annotations}
    pod["spec"] |= {"restartPolicy": "Never", "activeDeadlineSeconds": backend.deadline_s, "terminationGracePeriodSeconds": backend.grace_s}
    container = base_container(pod)
    container["args"] = call.arguments
    container["image"] = backend.image or container.get("image")
    container["resources"] = _resources(call, backend, container.get("resources", {}))
    # Ranks and their parent share it: from SIGTERM to the last upload.
    container.setdefault("env", []).append({"name": "DTX_GRACE_S", "value": str(backend.grace_s)})
    return pod


def base_container(pod: dict[str, Any]) -> dict[str, Any]:
    """The container of a pod that runs the stage."""
    return next(container for container in pod["spec"]["containers"] if container["name"] == BASE_CONTAINER)


def memory_limit(pod: dict[str, Any]) -> str:
    """What the stage's container may use; empty where nothing bounds it."""
    return str(base_container(pod).get("resources", {}).get("limits", {}).get("memory", ""))


def _resources(call: StageCall, backend: Backend, written: dict[str, Any]) -> dict[str, Any]:
    wanted = call.resources
    requests, limits = dict(written.get("requests", {})), dict(written.get("limits", {}))
    if wanted and wanted.cpus:
        requests["cpu"] = str(wanted.cpus * wanted.processes)
        limits.pop("cpu", None)
    memory = (wanted and wanted.memory) or limits.get("memory") or requests.get("memory")
    if memory:
        requests["memory"] = limits["memory"] = _raised(memory) if _ran_out(call) else memory
    if wanted and backend.gpu_resource:
        requests[backend.gpu_resource] = limits[backend.gpu_resource] = str(wanted.processes if call.stage == "train" else 1)
    return {"requests": requests, "limits": limits}


def _ran_out(call: StageCall) -> bool:
    """Whether memory was not enough in this round, whatever else has happened since."""
    document, layout = call.document, Layout.of(call.document_uri)
    attempts = [attempt for job in document.jobs for attempt in attempts_of(layout.job(job.job_id))] if isinstance(document, Pack) else []
    known = [*(attempts if call.stage == "train" else ()), *failures_of(call.stage, call.document_uri)]
    return any(item.error_class == "HostMemoryError" and item.run_key == call.run_key for item in known)


def _raised(memory: str) -> str:
    """A Kubernetes quantity of memory, and half as much again; one in other units stays as it is written."""
    match = re.fullmatch(r"(\d+)(Mi|Gi|Ti)", memory)
    return f"{int(int(match[1]) * MEGABYTES[match[2]] * MORE_MEMORY)}Mi" if match else memory
