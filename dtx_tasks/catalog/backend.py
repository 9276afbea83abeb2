"""The backend: where stages run, and on what terms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from pydantic import Field

from dtx_tasks.errors import SpecError, nearest
from dtx_tasks.settings import backend_name, bundled_folder
from dtx_tasks.spec import Target, load_text, parse
from dtx_tasks.spec.base import SpecModel

if TYPE_CHECKING:
    from pathlib import Path

BASE_CONTAINER = "base"
"""The container of a pod template that runs the stage; others stand beside it."""

Seconds = Annotated[int, Field(ge=1)]


class Backend(SpecModel):
    """Where stages run."""

    kind: Literal["Backend"] = "Backend"
    """What this file is."""

    name: str
    """The file's name."""

    backend: Literal["local", "kubernetes"]
    """Processes of this machine, or pods of a cluster."""

    namespace: str = "dtx"
    """Where pods are made; `{team}` stands for the experiment's team."""

    pod_template: str = "pods/stage.yaml"
    """The Pod that every stage's pod begins as: a file of the configuration folder."""

    image: str | None = None
    """The trainer image; by default the pod template's."""

    gpu_resource: str | None = None
    """What a GPU is called in resource requests, such as `nvidia.com/gpu`; without it nothing asks for GPUs."""

    several_nodes: Literal["jobset", "job"] = "jobset"
    """What starts a pack of several machines: a JobSet, or an Indexed Job where that is not installed."""

    target: Target | None = None
    """What its machines have; without it planning does not know, and training refuses what it cannot do."""

    queue: str | None = None
    """The Kueue LocalQueue that pods wait in."""

    airflow_pool: str = "default_pool"
    """The Airflow pool of every task that runs a stage: a coarse cap over all experiments. One that Airflow does not have keeps tasks waiting for ever."""

    poll_s: Seconds = 20
    """Seconds between two looks at a pod."""

    schedule_timeout_s: Seconds = 6 * 3600
    """How long a pod may wait for a place."""

    startup_timeout_s: Seconds = 1800
    """How long its images may take to arrive."""

    deadline_s: Seconds = 7 * 86400
    """After so long a pod is ended, whoever started it."""

    grace_s: Seconds = 120
    """From the request to stop until a pod is killed: for a last checkpoint and its way to storage."""

    max_restarts: Annotated[int, Field(ge=0, le=100)] = 3
    """How often the machines of a pack start again together before Airflow is asked."""


def load_backend(name: str | None = None) -> Backend:
    """A backend of the configuration folder.

    Args:
        name: Which; by default the one of DTX_BACKEND.

    Raises:
        SpecError: There is none of this name, or its file has mistakes.
    """
    wanted, folder = name or backend_name(), bundled_folder("config") / "backends"
    known = {path.stem: path for path in folder.glob("*.yaml")}
    if wanted not in known:
        raise SpecError(f"There is no backend {wanted!r} in {folder}.", nearest(wanted, known))
    return parse(load_text(known[wanted].read_text(encoding="utf-8"), str(known[wanted])), Backend)


def load_pod_template(backend: Backend) -> dict[str, Any]:
    """The Pod that a backend's pods begin as.

    Raises:
        SpecError: It is not there, or is not a Pod with a container `base`.
    """
    path: Path = bundled_folder("config") / backend.pod_template
    try:
        pod = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise SpecError(f"The pod template {path} cannot be read: {error}.", "`pod_template` of the backend names it.") from None
    containers = pod.get("spec", {}).get("containers", []) if isinstance(pod, dict) and pod.get("kind") == "Pod" else []
    if BASE_CONTAINER not in [container.get("name") for container in containers]:
        raise SpecError(f"{path} is not a Pod with a container {BASE_CONTAINER!r}.", "Start from config/pods/stage.yaml.")
    return dict(pod)
