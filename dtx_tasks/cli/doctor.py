"""`dtx doctor`: whether a machine, or a cluster, has what an experiment needs."""

from __future__ import annotations

import json
import os
import shutil
import time
from copy import deepcopy
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dtx_tasks.catalog.backend import load_backend, load_pod_template
from dtx_tasks.cli import findings, target
from dtx_tasks.cli.findings import FAIL, OK, Finding
from dtx_tasks.errors import DtxError, SpecError
from dtx_tasks.launch.endings import is_over, refused
from dtx_tasks.launch.pods import MANAGED_BY, base_container
from dtx_tasks.launch.probe import check_storage
from dtx_tasks.launch.rights import rights_of
from dtx_tasks.settings import bundled_folder, root, schedules_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dtx_tasks.catalog.backend import Backend
    from dtx_tasks.launch.rights import Right
    from dtx_tasks.spec import Target

POD_LIMIT_S = 120.0
"""For the trial pod: a place on a node, its image, and a few seconds of work."""

ANSWER_S = 15
"""For one answer of the cluster or of MLflow."""

FORBIDDEN = 403


def add_to(app: typer.Typer) -> None:
    """Adds this command."""
    app.command()(doctor)


def doctor(
    backend_name: Annotated[str | None, typer.Option("--backend", help="A file of config/backends; by default that of DTX_BACKEND.")] = None,
    team: Annotated[str, typer.Option(help="Whose namespace, where the backend has one for each team.")] = "default",
    as_user: Annotated[
        str | None, typer.Option("--as", help="Whose rights are asked for, such as system:serviceaccount:airflow:dtx-airflow; by default your own.")
    ] = None,
    write_target: Annotated[
        bool,
        typer.Option(
            "--write-target", help="Measure what training can count on (GPUs, libraries) and write it into the backend's file, where planning reads it."
        ),
    ] = False,
) -> None:
    """Check that this machine, or the cluster, has what an experiment needs."""
    backend = load_backend(backend_name)
    if write_target:
        typer.echo(_write_target(backend, team))
        return
    if backend.backend == "local":
        _check_machine(backend)
        return
    is_well = True
    for finding in check_cluster(backend, team, as_user):
        typer.echo(str(finding))
        is_well = is_well and finding.state != FAIL
    if not is_well:
        raise typer.Exit(3)


def _write_target(backend: Backend, team: str) -> str:
    """Measures the machine, or the nodes by a pod that asks for one GPU."""
    found = target.measured_here() if backend.backend == "local" else _measured_by_pod(backend, team)
    return f"{target.write(backend, found)} says now: target: {found.model_dump_json()}"


def _measured_by_pod(backend: Backend, team: str) -> Target:
    cluster, namespace = Cluster.connect(), backend.namespace.format(team=team)
    path, wanted = f"/api/v1/namespaces/{namespace}/pods", trial_pod(backend, load_pod_template(backend), root())
    container = base_container(wanted)
    gpus = {backend.gpu_resource: "1"} if backend.gpu_resource else {}
    container |= {"args": ["-m", target.PROGRAM], "resources": {"requests": {"cpu": "100m", "memory": "2Gi", **gpus}, "limits": {"memory": "4Gi", **gpus}}}
    name = str(cluster.post(path, wanted)["metadata"]["name"])
    try:
        ended, said = _waited_for(cluster, f"{path}/{name}"), _log(cluster, f"{path}/{name}")
    finally:
        cluster.delete(f"{path}/{name}")
    if not ended or ended["status"].get("phase") != "Succeeded":
        raise SpecError(f"The pod that was to measure a node did not end well: {said.strip() or 'it never began.'}", "`dtx doctor` says what is wrong.")
    found = target.target_of(said)
    return found.model_copy(update={"count": findings.most_gpus((cluster.get("/api/v1/nodes") or {}).get("items", []), backend.gpu_resource)})


def check_cluster(backend: Backend, team: str, as_user: str | None) -> Iterator[Finding]:
    """Everything that stages as pods need, the cheap things first; each finding as soon as it is known.

    Args:
        backend: On what terms pods run.
        team: Whose namespace.
        as_user: Whose rights; None for one's own.
    """
    namespace, template = backend.namespace.format(team=team), load_pod_template(backend)
    yield _configuration(backend)
    try:
        cluster = Cluster.connect()
        told = cluster.get("/version") or {}
    except Exception as error:  # noqa: BLE001 - a kubeconfig has many ways to be wrong
        yield Finding(FAIL, "cluster", f"does not answer: {_short(error)}", "Set KUBECONFIG to a file that `kubectl get pods` works with.")
    else:
        yield Finding(OK, "cluster", f"{cluster.host} is Kubernetes {told.get('gitVersion')}.")
        yield from _namespace_checks(cluster, backend, template, namespace, as_user)
    yield _storage()
    yield from _mlflow(os.environ.get("MLFLOW_TRACKING_URI", ""))


def _namespace_checks(cluster: Cluster, backend: Backend, template: dict[str, Any], namespace: str, as_user: str | None) -> Iterator[Finding]:
    there = _looked(f"namespace {namespace}", lambda: findings.namespace(namespace, cluster.get(f"/api/v1/namespaces/{namespace}")))
    yield there
    if there.state == FAIL:
        return
    yield _rights(cluster, backend, namespace, as_user)
    yield from _extensions(cluster, backend, namespace)
    for kind, name in dict.fromkeys(findings.references(template)):
        yield _reference(cluster, kind, name, namespace)
    yield _looked("nodes", lambda: _capacity(cluster, backend, template))
    yield _pod(cluster, backend, template, namespace)


class Cluster:
    """The cluster's API, in plain data.

    Args:
        client: The connection, of the package kubernetes.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    @classmethod
    def connect(cls) -> Cluster:
        """By the pod's own account inside a cluster, else by KUBECONFIG."""
        from kubernetes import client, config

        config.load_config()
        settings = client.Configuration.get_default_copy()
        settings.retries = 1
        return cls(client.ApiClient(settings))

    @property
    def host(self) -> str:
        """Where it is."""
        return str(self._client.configuration.host)

    def get(self, path: str, **query: str) -> dict[str, Any] | None:
        """An object or a list of them; None when it is not there."""
        from kubernetes.client.exceptions import ApiException

        try:
            return dict(self._call("GET", path, query=query))
        except ApiException as error:
            if error.status == 404:
                return None
            raise

    def post(self, path: str, body: dict[str, Any], **headers: str) -> dict[str, Any]:
        """Makes an object."""
        return dict(self._call("POST", path, body=body, headers=headers))

    def delete(self, path: str) -> None:
        """Removes an object."""
        self._call("DELETE", path, body={"gracePeriodSeconds": 0})

    def text(self, path: str, **query: str) -> str:
        """What is not JSON, such as a log."""
        return str(self._call("GET", path, query=query, _preload_content=False).data.decode("utf-8", errors="replace"))

    def _call(self, method: str, path: str, *, query: dict[str, str] | None = None, headers: dict[str, str] | None = None, **more: Any) -> Any:
        return self._client.call_api(
            path,
            method,
            query_params=list((query or {}).items()),
            header_params={"Accept": "application/json, */*", "Content-Type": "application/json", **(headers or {})},
            response_types_map={200: "object", 201: "object", 202: "object"},
            auth_settings=["BearerToken"],
            _return_http_data_only=True,
            _request_timeout=ANSWER_S,
            **more,
        )


def _looked(what: str, look: Callable[[], Finding]) -> Finding:
    """A finding, or that this user may not look."""
    from kubernetes.client.exceptions import ApiException

    try:
        return look()
    except ApiException as error:
        return findings.not_allowed(what) if error.status == FORBIDDEN else Finding(FAIL, what, f"the cluster did not answer: {_short(error)}")


def _configuration(backend: Backend) -> Finding:
    what = f"configuration {bundled_folder('config')}"
    problem = _broken_configuration()
    return Finding(FAIL, what, problem) if problem else Finding(OK, what, f"the backend {backend.name} and every file of the catalog can be read.")


def _rights(cluster: Cluster, backend: Backend, namespace: str, as_user: str | None) -> Finding:
    file = "deploy/rbac.yaml" if backend.several_nodes == "jobset" else "deploy/rbac.yaml -f deploy/rbac-jobs.yaml"
    asked = rights_of(backend)

    def look() -> Finding:
        missing = [right for right in asked if not _is_allowed(cluster, right, namespace, as_user)]
        return findings.rights(as_user or _own_name(cluster), asked, missing, file)

    return _looked(f"rights of {as_user or 'this user'}", look)


def _is_allowed(cluster: Cluster, right: Right, namespace: str, as_user: str | None) -> bool:
    resource, _, part = right.resource.partition("/")
    attributes = {"namespace": namespace, "group": right.group, "resource": resource, "subresource": part, "verb": right.verb}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": attributes}}
    headers = {"Impersonate-User": as_user} if as_user else {}
    return bool(cluster.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review, **headers)["status"]["allowed"])


def _own_name(cluster: Cluster) -> str:
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    return str(cluster.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", review)["status"]["userInfo"]["username"])


def _extensions(cluster: Cluster, backend: Backend, namespace: str) -> Iterator[Finding]:
    if backend.several_nodes == "jobset":
        fix = "Install it (docs/deploy.md), or say `several_nodes: job`; packs on one machine do without."
        yield _looked("JobSet", lambda: findings.served("JobSet", cluster.get("/apis/jobset.x-k8s.io/v1alpha2"), fix))
    if backend.queue:
        path = f"/apis/kueue.x-k8s.io/v1beta2/namespaces/{namespace}/localqueues/{backend.queue}"
        fix = "Install Kueue (docs/deploy.md), or unset `queue` of the backend."
        yield _looked("Kueue", lambda: findings.served("Kueue", cluster.get("/apis/kueue.x-k8s.io/v1beta2"), fix))
        yield _looked(f"queue {backend.queue}", lambda: findings.queue(str(backend.queue), namespace, cluster.get(path)))


def _reference(cluster: Cluster, kind: str, name: str, namespace: str) -> Finding:
    path = f"/api/v1/namespaces/{namespace}/{kind}/{name}"
    return _looked(f"{kind.removesuffix('s')} {name}", lambda: findings.reference(kind, name, namespace, cluster.get(path)))


def _capacity(cluster: Cluster, backend: Backend, template: dict[str, Any]) -> Finding:
    nodes, pods = cluster.get("/api/v1/nodes") or {}, cluster.get("/api/v1/pods") or {}
    selector = template["spec"].get("nodeSelector") or {}
    return findings.capacity(nodes.get("items", []), pods.get("items", []), backend.gpu_resource or "cpu", selector)


def _storage() -> Finding:
    try:
        if "://" in root():
            check_storage(root())
    except DtxError as error:
        return findings.storage(root(), error)
    return findings.storage(root(), None)


def _pod(cluster: Cluster, backend: Backend, template: dict[str, Any], namespace: str) -> Finding:
    """Starts a pod by the namespace's rules, waits for it, and removes it."""
    from kubernetes.client.exceptions import ApiException

    path, wanted = f"/api/v1/namespaces/{namespace}/pods", trial_pod(backend, template, root())
    image = str(base_container(wanted)["image"])
    try:
        name = str(cluster.post(path, wanted)["metadata"]["name"])
    except ApiException as error:
        return Finding(FAIL, "pod of the template", str(refused(error.status or 0, _message(error))))
    began_at = time.monotonic()
    try:
        found = _waited_for(cluster, f"{path}/{name}")
        said = _log(cluster, f"{path}/{name}")
    finally:
        cluster.delete(f"{path}/{name}")
    return findings.pod(found, image, root(), said, time.monotonic() - began_at)


def trial_pod(backend: Backend, template: dict[str, Any], storage_root: str) -> dict[str, Any]:
    """The pod template with a small task: to write to storage.

    Args:
        backend: On what terms pods run.
        template: What every stage's pod begins as; it is not changed.
        storage_root: Where to write.
    """
    pod = deepcopy(template)
    queue = {"kueue.x-k8s.io/queue-name": backend.queue} if backend.queue else {}
    labels = pod.get("metadata", {}).get("labels", {})
    pod["metadata"] = {"generateName": "dtx-doctor-", "labels": {**labels, **queue, "dtx/stage": "doctor", "app.kubernetes.io/managed-by": MANAGED_BY}}
    pod["spec"] |= {"restartPolicy": "Never", "activeDeadlineSeconds": int(2 * POD_LIMIT_S), "terminationGracePeriodSeconds": 1}
    container = base_container(pod)
    container |= {"image": backend.image or container.get("image"), "args": ["-m", "dtx_tasks.launch.probe", storage_root]}
    # A full cluster is no fault: it asks for next to nothing, and for no GPU.
    limits = {name: value for name, value in container.get("resources", {}).get("limits", {}).items() if name in ("cpu", "memory")}
    container["resources"] = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": limits}
    return pod


def _waited_for(cluster: Cluster, path: str) -> dict[str, Any] | None:
    deadline = time.monotonic() + POD_LIMIT_S
    found = cluster.get(path)
    while found is not None and not is_over(found) and time.monotonic() < deadline:
        time.sleep(1.0)
        found = cluster.get(path)
    return found


def _log(cluster: Cluster, path: str) -> str:
    from kubernetes.client.exceptions import ApiException

    try:
        return cluster.text(f"{path}/log", container="base", tailLines="5")
    except ApiException:
        # It has not begun to speak.
        return ""


def _mlflow(uri: str) -> Iterator[Finding]:
    """Asks the server's API: its /health answers under any name."""
    import httpx

    if not uri.startswith(("http://", "https://")):
        return
    login = (os.environ["MLFLOW_TRACKING_USERNAME"], os.environ.get("MLFLOW_TRACKING_PASSWORD", "")) if "MLFLOW_TRACKING_USERNAME" in os.environ else None
    try:
        answer = httpx.get(f"{uri.rstrip('/')}/api/2.0/mlflow/experiments/search", params={"max_results": 1}, auth=login, timeout=ANSWER_S)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        yield findings.mlflow(uri, 0, str(error))
    else:
        yield findings.mlflow(uri, answer.status_code, answer.text)


def _message(error: Any) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (ValueError, KeyError, TypeError):
        return str(error.body or error.reason)


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _check_machine(backend: Backend) -> None:
    problems = [problem for problem in (_missing_libraries(), _little_space(), _broken_configuration(), _wrong_target(backend)) if problem]
    for problem in problems:
        typer.echo(problem)
    if problems:
        raise typer.Exit(3)
    typer.echo(f"Well. Storage: {root()}; {_accelerators()}; schedules: {schedules_folder()}.")


def _wrong_target(backend: Backend) -> str:
    """What is declared and not so; a backend that declares nothing is not measured."""
    found = target.difference(backend.target, target.measured_here()) if backend.target else ""
    return f"The target of the backend {backend.name} is not what is here: {found}. `dtx doctor --write-target` mends it." if found else ""


def _missing_libraries() -> str:
    missing = []
    for name in ("apache-airflow", "mlflow", "torch", "transformers", "trl", "peft", "accelerate"):
        try:
            version(name)
        except PackageNotFoundError:
            missing.append(name)
    return f"Not installed: {', '.join(missing)}. `make install` builds the environment." if missing else ""


def _little_space(least_bytes: int = 2 << 30) -> str:
    folder = Path(root())
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    return f"{folder} has {free >> 20} MiB left: at least {least_bytes >> 20} MiB are needed." if free < least_bytes else ""


def _broken_configuration() -> str:
    from dtx_tasks.catalog import open_catalog
    from dtx_tasks.errors import DtxError

    try:
        open_catalog("default")
    except DtxError as error:
        return str(error)
    return ""


def _accelerators() -> str:
    found = sorted(Path("/dev").glob("nvidia[0-9]*"))
    return f"{len(found)} NVIDIA GPUs" if found else "no GPU: training runs on the CPU"
