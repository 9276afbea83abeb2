"""deploy/ in a real cluster: every file is accepted, the Role is enough and nothing in it is spare, and `dtx doctor` sees what is wrong."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from dtx_tasks.launch.rights import Right
from dtx_tasks.launch.several import SeveralNodes
from tests.cluster.place import IMAGE, REPOSITORY, Cluster, apply, kubectl
from tests.running import dtx, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.cluster

DEPLOY = REPOSITORY / "deploy"
SPEAKER = "speaker"
"""A pod that has said something."""

PLAIN = ("namespaces.yaml", "rbac.yaml", "rbac-jobs.yaml", "storage.yaml", "mlflow.yaml", "network-policy.yaml")


def documents(name: str) -> list[dict[str, Any]]:
    """The objects of a file of deploy/."""
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


def granted() -> list[Right]:
    """Every verb of every Role of deploy/."""
    roles = [item for name in ("rbac.yaml", "rbac-jobs.yaml") for item in documents(name) if item["kind"] == "Role"]
    rules = [rule for role in roles for rule in role["rules"]]
    return [Right(group, resource, verb) for rule in rules for group in rule["apiGroups"] for resource in rule["resources"] for verb in rule["verbs"]]


def accepted(objects: list[dict[str, Any]], namespace: str) -> str:
    """What the API server says to objects as if they were made, in a namespace that is there."""
    for item in objects:
        if "namespace" in item["metadata"]:
            item["metadata"]["namespace"] = namespace
    command = ["kubectl", "apply", "--dry-run=server", "--filename", "-"]
    return subprocess.run(command, input=yaml.safe_dump_all(objects), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False).stdout


@pytest.mark.parametrize("name", PLAIN)
def test_file_is_accepted(cluster: Cluster, name: str) -> None:
    """By the API server's own checks, and nothing in it violates Pod Security `restricted`."""
    objects = documents(name)
    said = accepted(objects, cluster.namespace)
    assert said.count("(server dry run)") == len(objects), said
    assert "Warning" not in said


def test_kueue_example_fits_together(cluster: Cluster) -> None:
    """Kueue is not in the test cluster: then its kinds, versions and names are all that is checked; where it is, the API server checks the rest."""
    flavor, queue, local = documents("kueue.yaml")
    (group,) = queue["spec"]["resourceGroups"]
    assert {item["apiVersion"] for item in (flavor, queue, local)} == {"kueue.x-k8s.io/v1beta2"}
    assert (flavor["kind"], queue["kind"], local["kind"]) == ("ResourceFlavor", "ClusterQueue", "LocalQueue")
    assert local["spec"]["clusterQueue"] == queue["metadata"]["name"]
    assert [item["name"] for item in group["flavors"]] == [flavor["metadata"]["name"]]
    assert [item["name"] for item in group["flavors"][0]["resources"]] == group["coveredResources"]
    if "clusterqueues.kueue.x-k8s.io" in kubectl("get", "crd", "-o", "name"):
        assert accepted(documents("kueue.yaml"), cluster.namespace).count("(server dry run)") == 3


@dataclass
class Actor:
    """A service account with some rights, and what Airflow does by it.

    Attributes:
        name: Of the account, and a part of the names of what it makes.
        namespace: Where it may do so.
        connection: Airflow's connection with its token.
        kubeconfig: The file with its token.
    """

    name: str
    namespace: str
    connection: str
    kubeconfig: str

    @cached_property
    def hook(self) -> Any:
        """As tasks have it."""
        from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook

        return KubernetesHook(conn_id=self.connection)

    @cached_property
    def pods(self) -> Any:
        """The provider's own hands."""
        from airflow.providers.cncf.kubernetes.utils.pod_manager import PodManager

        return PodManager(kube_client=self.hook.core_v1_client)

    @cached_property
    def workloads(self) -> Any:
        """Ours."""
        from dtx_tasks.orchestration.cluster import WorkloadClient

        return WorkloadClient(self.hook.api_client)

    def trigger(self, kind: str) -> Any:
        """What waits for it."""
        from dtx_tasks.orchestration.triggers import WorkloadTrigger

        times = {"poll_s": 1.0, "schedule_timeout_s": 60.0, "startup_timeout_s": 60.0, "grace_s": 1}
        return WorkloadTrigger(kind=kind, name=self.name, namespace=self.namespace, kubernetes_conn_id=self.connection, in_cluster=False, **times)

    def pod(self, command: str = "true") -> Any:
        """A pod under Pod Security `restricted`."""
        from kubernetes.client import V1ObjectMeta, V1Pod

        return V1Pod(api_version="v1", kind="Pod", metadata=V1ObjectMeta(name=self.name, namespace=self.namespace), spec=pod_spec(command))

    def workload(self, kind: str, *, suspend: bool = True, prefix: str = "") -> SeveralNodes:
        """A pack on two machines, which waits for ever where it is suspended."""
        name = f"{prefix}{self.name}"
        return SeveralNodes(kind, name, self.namespace, manifest(kind, name, self.namespace, suspend), headless(name, self.namespace))  # type: ignore[arg-type]


def pod_spec(command: str) -> dict[str, Any]:
    """One short command."""
    hardened = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {"name": "base", "image": IMAGE, "command": ["sh", "-c", command], "securityContext": hardened, "resources": {"requests": {"cpu": "10m"}}}
    user = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
    return {"containers": [container], "securityContext": user, "restartPolicy": "Never", "terminationGracePeriodSeconds": 1}


def manifest(kind: str, name: str, namespace: str, suspend: bool) -> dict[str, Any]:
    """A JobSet or a Job with two pods."""
    job = {"completionMode": "Indexed", "completions": 2, "parallelism": 2, "backoffLimit": 0, "template": {"spec": pod_spec("echo hello")}}
    metadata = {"name": name, "namespace": namespace}
    if kind == "Job":
        return {"apiVersion": "batch/v1", "kind": kind, "metadata": metadata, "spec": {**job, "suspend": suspend}}
    replicated = [{"name": "nodes", "replicas": 1, "template": {"spec": job}}]
    return {"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": kind, "metadata": metadata, "spec": {"suspend": suspend, "replicatedJobs": replicated}}


def headless(name: str, namespace: str) -> dict[str, Any]:
    """A Job's names."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"clusterIP": "None", "ports": [{"port": 29500}]},
    }


def heard(actor: Actor) -> None:
    """What the triggerer does for the log of a task; a log that it may not read is empty to it."""
    from kubernetes_asyncio.client import CoreV1Api

    async def lines() -> list[str]:
        trigger = actor.trigger("Pod")
        async with trigger._hook.get_conn() as api:
            return list(await trigger._new_lines(CoreV1Api(api), SPEAKER))

    if asyncio.run(lines()) != ["hello"]:
        raise PermissionError


POD = {verb: Right("", "pods", verb) for verb in ("create", "delete", "get", "list")}
LOG = Right("", "pods/log", "get")
SERVICE = {"create": Right("", "services", "create")}
JOB = {verb: Right("batch", "jobs", verb) for verb in ("create", "delete", "get", "list")}
JOB_SET = {verb: Right("jobset.x-k8s.io", "jobsets", verb) for verb in ("create", "delete", "get", "list")}

OPERATIONS: dict[str, tuple[Callable[[Actor], Any], set[Right]]] = {
    "start a pod": (lambda it: it.pods.create_pod(it.pod()), {POD["create"]}),
    "find the pod of an earlier try": (lambda it: it.hook.core_v1_client.list_namespaced_pod(it.namespace, label_selector="dag_id=a"), {POD["list"]}),
    "look at a pod": (lambda it: it.hook.get_pod("none", it.namespace), {POD["get"]}),
    "wait for a pod": (lambda it: asyncio.run(it.trigger("Pod")._look()), {POD["list"]}),
    "hear what a pod says": (heard, {LOG}),
    "stop a pod": (lambda it: asyncio.run(it.trigger("Pod").on_kill()), {POD["delete"]}),
    "remove a pod": (lambda it: it.pods.delete_pod(it.pod()), {POD["delete"]}),
    "list pods of several machines": (lambda it: it.workloads.pods(it.workload("JobSet")), {POD["list"]}),
    "start a JobSet": (lambda it: it.workloads.create(it.workload("JobSet")), {JOB_SET["create"], JOB_SET["get"]}),
    "look at a JobSet": (lambda it: it.workloads.is_complete(it.workload("JobSet")), {JOB_SET["get"]}),
    "wait for a JobSet": (lambda it: asyncio.run(it.trigger("JobSet")._look()), {JOB_SET["get"], POD["list"]}),
    "stop a JobSet": (lambda it: asyncio.run(it.trigger("JobSet").on_kill()), {JOB_SET["delete"]}),
    "remove a JobSet": (lambda it: it.workloads.delete(it.workload("JobSet", prefix="no-")), {JOB_SET["delete"], JOB_SET["get"]}),
    "start a Job": (lambda it: it.workloads.create(it.workload("Job")), {JOB["create"], JOB["get"], SERVICE["create"]}),
    "look at a Job": (lambda it: it.workloads.is_over(it.workload("Job")), {JOB["get"]}),
    "wait for a Job": (lambda it: asyncio.run(it.trigger("Job")._look()), {JOB["get"], POD["list"]}),
    "stop a Job": (lambda it: asyncio.run(it.trigger("Job").on_kill()), {JOB["delete"]}),
    "remove a Job": (lambda it: it.workloads.delete(it.workload("Job", prefix="old-")), {JOB["delete"], JOB["get"]}),
    "look for orphans": (lambda it: it.workloads.managed(it.namespace, "a=b"), {POD["list"], JOB["list"], JOB_SET["list"]}),
}
"""What Airflow does in the cluster, by the code that does it, and the rights that it takes. What is not there is answered by 404, which is no refusal."""


def is_refused(operation: Callable[[Actor], Any], actor: Actor) -> bool:
    """Whether the cluster forbids it."""
    from kubernetes.client.exceptions import ApiException
    from kubernetes_asyncio.client.exceptions import ApiException as AsyncApiException

    try:
        operation(actor)
    except PermissionError:
        return True
    except (ApiException, AsyncApiException) as error:
        if error.status not in (403, 404):
            raise
        return bool(error.status == 403)
    return False


def account(name: str, namespace: str, rights: list[Right]) -> list[dict[str, Any]]:
    """A service account with some rights."""
    metadata, role = {"name": name, "namespace": namespace}, {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    rules = [{"apiGroups": [right.group], "resources": [right.resource], "verbs": [right.verb]} for right in rights]
    subjects = [{"kind": "ServiceAccount", **metadata}]
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata, "rules": rules},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": metadata, "roleRef": role, "subjects": subjects},
    ]


def kubeconfigs(folder: Path, names: list[str], namespace: str) -> dict[str, str]:
    """KUBECONFIG's cluster with the token of each service account; the paths of the files."""
    from kubernetes import client, config

    config.load_kube_config(os.environ["KUBECONFIG"])
    core, paths = client.CoreV1Api(), {}
    ours = json.loads(kubectl("config", "view", "--raw", "--minify", "--output", "json"))
    for name in names:
        token = core.create_namespaced_service_account_token(name, namespace, {"spec": {"expirationSeconds": 3600}}).status.token
        ours["users"] = [{"name": ours["contexts"][0]["context"]["user"], "user": {"token": token}}]
        (folder / name).write_text(json.dumps(ours))
        paths[name] = str(folder / name)
    return paths


def name_of(right: Right | None) -> str:
    """Of the account that lacks a right."""
    return f"without-{right.verb}-{right.resource.replace('/', '-')}" if right else "with-all"


@pytest.fixture(scope="module")
def actors(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Right | None, Actor]]:
    """One account with all rights of deploy/, and one without each."""
    folder = tmp_path_factory.mktemp("accounts")
    cases: list[Right | None] = [None, *granted()]
    apply(*[item for case in cases for item in account(name_of(case), cluster.namespace, [right for right in granted() if right != case])])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_HOME", str(folder))
        paths = kubeconfigs(folder, [name_of(case) for case in cases], cluster.namespace)
        for name, path in paths.items():
            connection = {"conn_type": "kubernetes", "extra": {"kube_config_path": path}}
            patch.setenv(f"AIRFLOW_CONN_{name.replace('-', '_').upper()}", json.dumps(connection))
        yield {case: Actor(name_of(case), cluster.namespace, name_of(case).replace("-", "_"), paths[name_of(case)]) for case in cases}


@pytest.fixture(scope="module")
def refusals(actors: dict[Right | None, Actor]) -> dict[Right | None, set[str]]:
    """What each account is refused, by the right that it lacks."""
    # Removing a Job takes one that is there: its Service goes with it.
    old = [actor.workload("Job", prefix="old-") for actor in actors.values()]
    namespace = old[0].namespace
    speaker = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": SPEAKER, "namespace": namespace}, "spec": pod_spec("echo hello")}
    apply(speaker, *[item for workload in old for item in (workload.manifest, workload.service) if item])
    kubectl("wait", f"pod/{SPEAKER}", "-n", namespace, "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")

    def refused_to(actor: Actor) -> set[str]:
        return {name for name, (operation, _) in OPERATIONS.items() if is_refused(operation, actor)}

    # The first brings the imports, which threads would do at the same time.
    first, *rest = actors.items()
    found = {first[0]: refused_to(first[1])}
    with ThreadPoolExecutor(6) as pool:
        return found | dict(zip([case for case, _ in rest], pool.map(refused_to, [actor for _, actor in rest]), strict=True))


def test_the_rights_are_enough(refusals: dict[Right | None, set[str]]) -> None:
    """With the Roles of deploy/ nothing is refused."""
    assert refusals[None] == set()


@pytest.mark.parametrize("right", granted(), ids=name_of)
def test_no_right_is_spare(refusals: dict[Right | None, set[str]], right: Right) -> None:
    """Without it the operations that need it are refused, and only they; each right is needed by at least one."""
    needing = {name for name, (_, rights) in OPERATIONS.items() if right in rights}
    assert needing
    assert refusals[right] == needing


def test_pods_run_by_these_rights(actors: dict[Right | None, Actor]) -> None:
    """A pod, a JobSet and a Job from their beginning to their end, and what they said."""
    actor = replace(actors[None], name="whole")
    actor.pods.create_pod(actor.pod("echo hello"))
    workloads = [actor.workload(kind, suspend=False, prefix=f"{kind.lower()}-") for kind in ("JobSet", "Job")]
    assert all(actor.workloads.create(workload) for workload in workloads)
    until(lambda: actor.hook.get_pod(actor.name, actor.namespace).status.phase == "Succeeded", "the pod has ended", 60)
    assert actor.hook.core_v1_client.read_namespaced_pod_log(actor.name, actor.namespace, _preload_content=False).data == b"hello\n"
    actor.pods.delete_pod(actor.pod())
    for workload in workloads:
        until(lambda one=workload: actor.workloads.is_complete(one), f"the {workload.kind} has ended", 60)
        assert len(actor.workloads.pods(workload)) == 2
        actor.workloads.delete(workload)
        assert actor.workloads.read(workload) is None


@dataclass
class Clinic:
    """Where `dtx doctor` looks at a configuration of its own."""

    folder: Path
    cluster: Cluster

    def examine(self, change: Callable[[dict[str, Any]], Any] = dict, *arguments: str, **environment: str) -> tuple[int, str]:
        """Its exit code and its words about a pod template with a change."""
        path = self.cluster.config(self.folder) / "pods/cluster.yaml"
        template = yaml.safe_load(path.read_text())
        change(template)
        path.write_text(yaml.safe_dump(template))
        settings = {"DTX_CONFIG": str(path.parent.parent), "DTX_ROOT": f"s3://{self.cluster.bucket}/clinic", "DTX_HOME": str(self.folder), **environment}
        done = dtx("doctor", "--backend", "cluster", *arguments, cwd=self.folder, **settings)
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def clinic(cluster: Cluster, tmp_path: Path) -> Clinic:
    return Clinic(tmp_path, cluster)


def failures(said: str) -> list[str]:
    """The lines of what is wrong."""
    return [line.removeprefix("FAIL").strip() for line in said.splitlines() if line.startswith("FAIL")]


def test_doctor_finds_a_good_cluster_well(clinic: Clinic) -> None:
    """Every check has its line; the trial pod is gone afterwards, and so is what it wrote."""
    code, said = clinic.examine()
    assert (code, failures(said)) == (0, []), said
    for what in (
        "cluster: ",
        "enforces Pod Security `restricted`",
        "rights of ",
        "JobSet: is installed",
        "secret dtx-storage: is there",
        "nodes with cpu: 1 of 1",
    ):
        assert what in said
    assert f"dtx-base:dev started, has this version's program, and reaches s3://{clinic.cluster.bucket}/clinic" in said
    assert "dtx-doctor-" not in kubectl("get", "pods", "-n", clinic.cluster.namespace, "--field-selector", "status.phase!=Succeeded", "-o", "name")
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in said


def test_doctor_runs_where_airflow_does(clinic: Clinic, actors: dict[Right | None, Actor]) -> None:
    """With the rights of its account alone it checks what matters, and says what it may not look at."""
    code, said = clinic.examine(KUBECONFIG=actors[None].kubeconfig)
    unknown = [line.split()[1] for line in said.splitlines() if line.startswith("?")]
    assert (code, failures(said)) == (0, []), said
    assert unknown == ["namespace", "secret", "persistentvolumeclaim", "persistentvolumeclaim", "nodes:"]
    assert f"rights of system:serviceaccount:{clinic.cluster.namespace}:with-all: all 10 are there." in said


def test_doctor_finds_a_missing_secret(clinic: Clinic) -> None:
    """By its name, and by the pod that cannot start without it."""
    code, said = clinic.examine(lambda pod: pod["spec"]["containers"][0]["envFrom"][0]["secretRef"].update(name="nowhere"))
    assert code == 3, said
    assert [line.split(":")[0] for line in failures(said)] == ["secret nowhere", "pod of the template"]
    assert 'secret "nowhere" not found' in failures(said)[1]


def test_doctor_finds_a_wrong_image_and_missing_rights(clinic: Clinic) -> None:
    """The pod says which image; the rights are those of the account that Airflow will have, as an administrator sees them."""
    name = f"system:serviceaccount:{clinic.cluster.namespace}:default"
    code, said = clinic.examine(lambda pod: pod["spec"]["containers"][0].update(image="dtx-nowhere:dev", imagePullPolicy="Never"), "--as", name)
    rights, pod = failures(said)
    assert code == 3
    assert rights.startswith(f"rights of {name}: 10 of 10 are missing: create pods, delete pods, get pods, list pods, get pods/log, list jobs")
    assert rights.endswith("`kubectl apply -f deploy/rbac.yaml`, with your names in it.")
    assert "The image 'dtx-nowhere:dev' cannot be had: ErrImageNeverPull" in pod
    assert "Correct `image` of the backend or of the pod template." in pod


def test_doctor_finds_a_wrong_bucket(clinic: Clinic) -> None:
    """From the pod, and from here."""
    code, said = clinic.examine(DTX_ROOT="s3://dtx-nowhere/clinic", AWS_MAX_ATTEMPTS="1")
    assert code == 3, said
    assert [line.split(":")[0] for line in failures(said)] == ["pod of the template", "storage s3"]
    assert all("NoSuchBucket" in line for line in failures(said))


def test_doctor_finds_no_cluster(clinic: Clinic) -> None:
    """And looks at the rest all the same."""
    code, said = clinic.examine(KUBECONFIG="/nowhere")
    assert code == 3
    assert [line.split(":")[0] for line in failures(said)] == ["cluster"]
    assert "Set KUBECONFIG" in said
