"""What `dtx doctor` says about a cluster: from what the API answered to one line, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from dtx_tasks.launch.endings import FINISHED, end_of, is_over
from dtx_tasks.launch.pods import base_container

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dtx_tasks.launch.endings import PodEnd
    from dtx_tasks.launch.rights import Right

LEVEL = "pod-security.kubernetes.io/enforce"
OK: Final = "ok"
FAIL: Final = "FAIL"
UNKNOWN: Final = "?"
INVALID_HOST = "Invalid Host header"
"""What MLflow answers to a name that it does not go by."""

Object = dict[str, Any]


@dataclass(frozen=True)
class Finding:
    """One line of the doctor.

    Attributes:
        state: Whether it is well; `?` where this user may not look.
        what: What was looked at.
        said: What was found.
        fix: What to do about it.
    """

    state: Literal["ok", "FAIL", "?"]
    what: str
    said: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.state:<4}  {self.what}: {self.said}" + (f" {self.fix}" if self.fix else "")


def not_allowed(what: str) -> Finding:
    """This user may not look."""
    return Finding(UNKNOWN, what, "not checked: you may not look at it.", "Run the doctor as an administrator of the cluster.")


def namespace(name: str, found: Object | None) -> Finding:
    """Whether the pods' namespace is there, and what it lets in."""
    what = f"namespace {name}"
    if found is None:
        return Finding(FAIL, what, "is not there.", f"`kubectl create namespace {name}`, or `kubectl apply -f deploy/namespaces.yaml`.")
    level = found["metadata"].get("labels", {}).get(LEVEL)
    if level is None:
        advice = f"the pod template passes `restricted`: `kubectl label namespace {name} {LEVEL}=restricted`."
        return Finding(OK, what, f"enforces no Pod Security level; {advice}")
    return Finding(OK, what, f"enforces Pod Security `{level}`.")


def rights(who: str, asked: Sequence[Right], missing: Sequence[Right], file: str) -> Finding:
    """Whether the verbs that Airflow needs are allowed."""
    what = f"rights of {who}"
    if not missing:
        return Finding(OK, what, f"all {len(asked)} are there.")
    named = ", ".join(f"{right.verb} {right.resource}" for right in missing)
    return Finding(FAIL, what, f"{len(missing)} of {len(asked)} are missing: {named}.", f"`kubectl apply -f {file}`, with your names in it.")


def served(what: str, found: Object | None, fix: str) -> Finding:
    """Whether the cluster knows a kind of object."""
    return Finding(OK, what, "is installed.") if found is not None else Finding(FAIL, what, "is not installed.", fix)


def queue(name: str, namespace_name: str, found: Object | None) -> Finding:
    """Whether the LocalQueue of the backend is there."""
    what = f"queue {name}"
    if found is None:
        return Finding(FAIL, what, f"there is no LocalQueue {name} in {namespace_name}.", "deploy/kueue.yaml has an example; or unset `queue` of the backend.")
    return Finding(OK, what, f"of the ClusterQueue {found['spec'].get('clusterQueue')}.")


def references(template: Object) -> Iterator[tuple[str, str]]:
    """What a pod template refers to and cannot start without, each once: plural of its kind, and name."""
    spec = template["spec"]
    for container in (*spec.get("initContainers", []), *spec["containers"]):
        yield from _of_container(container)
    for volume in spec.get("volumes", []):
        yield from _of_volume(volume)
    for secret in spec.get("imagePullSecrets", []):
        yield "secrets", secret["name"]
    if spec.get("serviceAccountName"):
        yield "serviceaccounts", spec["serviceAccountName"]


def reference(kind: str, name: str, namespace_name: str, found: Object | None) -> Finding:
    """Whether an object that the pod template refers to is there."""
    what = f"{kind.removesuffix('s')} {name}"
    if found is None:
        fix = "deploy/storage.yaml and deploy/rbac.yaml make those of config/pods/stage.yaml; or take it out of the pod template."
        return Finding(FAIL, what, f"the pod template refers to it, and it is not in {namespace_name}.", fix)
    return Finding(OK, what, "is there.")


def capacity(nodes: Sequence[Object], pods: Sequence[Object], resource: str, selector: dict[str, str]) -> Finding:
    """What nodes offer, and how much of it nobody has asked for.

    Args:
        nodes: Of the cluster.
        pods: Of all namespaces.
        resource: Such as `nvidia.com/gpu`, or `cpu`.
        selector: Labels that the pod template asks of a node.
    """
    fitting = [node for node in nodes if _is_open(node) and selector.items() <= node["metadata"].get("labels", {}).items()]
    offers = {node["metadata"]["name"]: amount(node["status"]["allocatable"].get(resource, "0")) for node in fitting}
    offers = {name: offer for name, offer in offers.items() if offer}
    what = f"nodes with {resource}"
    if not offers:
        labels = f" and the labels {selector}" if selector else ""
        fix = "Install the device plugin of your GPUs; or correct `gpu_resource` of the backend, or `nodeSelector` of the pod template."
        return Finding(FAIL, what, f"none of {len(nodes)} nodes takes pods and has it{labels}.", fix)
    used = sum(_requested(pod, resource) for pod in pods if pod["spec"].get("nodeName") in offers and pod["status"].get("phase") not in FINISHED)
    total = sum(offers.values())
    said = f"{len(offers)} of {len(nodes)}; {_shown(total - used)} of {_shown(total)} free"
    return Finding(OK, what, f"{said}." if total > used else f"{said}: pods will wait.")


def most_gpus(nodes: Iterable[Object], resource: str | None) -> int:
    """GPUs of the node that has most of them.

    Args:
        nodes: Of the cluster.
        resource: What a GPU is called; None where nothing asks for one.
    """
    return max((int(amount(node["status"]["allocatable"].get(resource, "0"))) for node in nodes), default=0) if resource else 0


def amount(quantity: str) -> float:
    """A quantity of CPUs or devices."""
    text = str(quantity)
    return float(text.removesuffix("m")) / 1000 if text.endswith("m") else float(text)


def storage(root: str, error: Exception | None) -> Finding:
    """Whether this machine can use the storage."""
    what = f"storage {root}"
    if "://" not in root:
        return Finding(FAIL, what, "is a folder of this machine, which pods cannot see.", "Set DTX_ROOT to s3://BUCKET/PREFIX, for Airflow too.")
    if error is not None:
        return Finding(FAIL, what, str(error))
    return Finding(OK, what, "writes, reads, refuses to write over, and removes.")


def pod(found: Object | None, image: str, root: str, said: str, waited_s: float) -> Finding:
    """How the trial pod went.

    Args:
        found: The pod as it is now.
        image: Of its container.
        root: What it tried to write to.
        said: The last lines of its log.
        waited_s: How long it was waited for.
    """
    what = "pod of the template"
    if found is not None and not is_over(found):
        return Finding(FAIL, what, f"has not ended after {waited_s:.0f} s: {_why_not(found)}")
    end = end_of(found)
    if end.exit_code == 0:
        return Finding(OK, what, f"{image} started, has this version's program, and reaches {root}.")
    return Finding(FAIL, what, _with_log(end, said), f"Its image was {image}.")


def mlflow(uri: str, status: int, body: str) -> Finding:
    """Whether MLflow answers under the name that it is called by."""
    what, host = f"MLflow {uri}", uri.split("://", 1)[-1].split("/", 1)[0]
    if status == 200:
        return Finding(OK, what, "answers.")
    if status == 403 and INVALID_HOST in body:
        return Finding(FAIL, what, "refuses this name (Invalid Host header).", f"Add {host} to MLFLOW_SERVER_ALLOWED_HOSTS of its server.")
    if status == 401:
        return Finding(FAIL, what, "asks for a login.", "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, in the Secret dtx-storage too.")
    said = " ".join(body.split())[:200].rstrip(".")
    return Finding(FAIL, what, f"answered {status or 'nothing'}: {said}.", "Correct MLFLOW_TRACKING_URI, or start its server: deploy/mlflow.yaml.")


def _of_container(container: Object) -> Iterator[tuple[str, str]]:
    for source in container.get("envFrom", []):
        yield from _named(source, "secretRef", "configMapRef")
    for variable in container.get("env", []):
        yield from _named(variable.get("valueFrom", {}), "secretKeyRef", "configMapKeyRef")


def _named(source: Object, secret: str, config_map: str) -> Iterator[tuple[str, str]]:
    for key, kind in ((secret, "secrets"), (config_map, "configmaps")):
        if key in source and not source[key].get("optional"):
            yield kind, source[key]["name"]


def _of_volume(volume: Object) -> Iterator[tuple[str, str]]:
    if "persistentVolumeClaim" in volume:
        yield "persistentvolumeclaims", volume["persistentVolumeClaim"]["claimName"]
    if "secret" in volume and not volume["secret"].get("optional"):
        yield "secrets", volume["secret"]["secretName"]
    if "configMap" in volume and not volume["configMap"].get("optional"):
        yield "configmaps", volume["configMap"]["name"]


def _is_open(node: Object) -> bool:
    conditions = node["status"].get("conditions", [])
    is_ready = any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)
    return is_ready and not node["spec"].get("unschedulable")


def _requested(found: Object, resource: str) -> float:
    return sum(_requests(found["spec"]["containers"], resource), 0.0)


def _requests(containers: Iterable[Object], resource: str) -> Iterator[float]:
    return (amount(container.get("resources", {}).get("requests", {}).get(resource, "0")) for container in containers)


def _shown(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")


def _why_not(found: Object) -> str:
    """Why a pod is not over: end_of() knows what keeps it from a node."""
    if found["status"].get("phase") == "Running":
        return f"{base_container(found)['image']} runs and says nothing. Does its storage answer?"
    if any(item["type"] == "PodScheduled" and item["status"] == "True" for item in found["status"].get("conditions", [])):
        return "its image is still on its way: a large one takes long the first time. Run the doctor again."
    return end_of(found).reason


def _with_log(end: PodEnd, said: str) -> str:
    last = " ".join(said.split())[-300:]
    return f"{end.reason} It said last: {last}" if last and not end.said else end.reason
