"""The test cluster's side of a test: namespace, volumes, secret, bucket; and an Airflow that uses them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import psutil
import yaml

from dtx_tasks import stack
from dtx_tasks.entrypoints.attempts import attempts_of
from dtx_tasks.records import ExperimentPlan, Layout
from dtx_tasks.stack.rest import Airflow
from dtx_tasks.storage import list_names, read_bytes, read_record
from dtx_tasks.train.checkpoint import last_step
from tests.recipes.world import QUICK, write_data
from tests.running import dtx, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dtx_tasks.stack.rest import TaskInstance

REPOSITORY = Path(__file__).resolve().parents[2]
MOUNTED = {"python": Path(sys.base_prefix), "repository": REPOSITORY}
IMAGE = "dtx-base:dev"
"""Debian without Python: pods mount the interpreter and this checkout, at the paths that they have here."""

SECRETS = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")
DAG_ID = "finetune_experiment"

LONG = {**QUICK, "name": "long", "max_steps": 1200, "save_steps": 50, "logging_steps": 5}
"""Hyperparameters of a training that lasts long enough to disturb it."""


def kubectl(*arguments: str, stdin: str | None = None) -> str:
    """Runs kubectl; its output."""
    return subprocess.run(["kubectl", *arguments], input=stdin, capture_output=True, text=True, check=True).stdout


def apply(*manifests: dict[str, Any]) -> None:
    """Makes or changes objects."""
    kubectl("apply", "--filename", "-", stdin=yaml.safe_dump_all(manifests))


@dataclass(frozen=True)
class Cluster:
    """A namespace with all that pods need, and a bucket."""

    namespace: str
    bucket: str

    @classmethod
    def make(cls) -> Cluster:
        """Makes both."""
        mark = uuid.uuid4().hex[:8]
        made = cls(f"dtx-{mark}", f"dtx-{mark}")
        boto3.client("s3").create_bucket(Bucket=made.bucket)
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": made.namespace, "labels": labels}})
        for name, path in MOUNTED.items():
            # The user of a pod is nobody here: it must be able to look into the folder.
            path.chmod(path.stat().st_mode | 0o055)
            apply(*made._volume(name, path))
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "dtx-storage", "namespace": made.namespace}}
        apply({**secret, "stringData": {name: os.environ[name] for name in SECRETS if name in os.environ}})
        return made

    def remove(self) -> None:
        """Removes the namespace with everything in it, and the bucket."""
        kubectl("delete", "namespace", self.namespace, "--wait=false")
        for name in MOUNTED:
            kubectl("delete", "persistentvolume", f"{self.namespace}-{name}", "--wait=false")
        bucket = boto3.resource("s3").Bucket(self.bucket)
        bucket.objects.all().delete()
        bucket.delete()

    def config(self, folder: Path, image: str | None = None, **backend: Any) -> Path:
        """A copy of config/ whose backend `cluster` is this one; its pods run an image, or this checkout."""
        target = folder / "config"
        shutil.copytree(REPOSITORY / "config", target)
        values = {"kind": "Backend", "name": "cluster", "backend": "kubernetes", "namespace": self.namespace, "pod_template": "pods/cluster.yaml"}
        (target / "backends/cluster.yaml").write_text(yaml.safe_dump({**values, "poll_s": 2, "grace_s": 60, **backend}))
        (target / "pods/cluster.yaml").write_text(yaml.safe_dump(self.template(image)))
        return target

    def template(self, image: str | None = None) -> dict[str, Any]:
        """The project's own pod template; without an image, with this machine's Python in its place."""
        pod: dict[str, Any] = yaml.safe_load((REPOSITORY / "config/pods/stage.yaml").read_text())
        container = pod["spec"]["containers"][0]
        container["resources"] = {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "3Gi"}}
        if image:
            container["image"] = image
            return pod
        container |= {"image": IMAGE, "command": ["tini", "--", sys.executable]}
        container["volumeMounts"] += [{"name": name, "mountPath": str(path), "readOnly": True} for name, path in MOUNTED.items()]
        container["env"] += [{"name": "DTX_CLAIM_TTL_S", "value": "8"}, {"name": "PYTHONPATH", "value": str(REPOSITORY)}]
        pod["spec"]["volumes"] += [{"name": name, "persistentVolumeClaim": {"claimName": name, "readOnly": True}} for name in MOUNTED]
        return pod

    def pods(self, **labels: str) -> list[dict[str, Any]]:
        """Pods of the namespace, by labels below `dtx/`."""
        selector = ",".join(f"dtx/{name}={value}" for name, value in labels.items())
        return list(json.loads(kubectl("get", "pods", "-n", self.namespace, "-l", selector, "-o", "json"))["items"])

    def run_pod(self, name: str, *, cpu: str, seconds: int, priority: str) -> None:
        """Starts a pod that takes room for a while."""
        pod = self.template()
        pod["metadata"] = {"name": name, "namespace": self.namespace}
        pod["spec"] |= {"restartPolicy": "Never", "priorityClassName": priority}
        pod["spec"]["containers"][0] |= {"args": ["-c", f"import time; time.sleep({seconds})"], "resources": {"requests": {"cpu": cpu}}}
        apply(pod)

    def run_orphan(self, name: str) -> None:
        """Starts a pod as a stage of an experiment would be, whose time is over."""
        pod = self.template()
        owner = {"dag_id": "gone", "run_id": "gone", "task_id": "gone", "map_index": 0}
        labels = {"app.kubernetes.io/managed-by": "dtx", "dtx/experiment": "gone"}
        pod["metadata"] = {"name": name, "namespace": self.namespace, "labels": labels}
        pod["metadata"]["annotations"] = {"dtx/owner": json.dumps(owner), "dtx/deadline": "1"}
        pod["spec"]["containers"][0] |= {"args": ["-c", "import time; time.sleep(600)"]}
        apply(pod)

    def evict(self, name: str) -> None:
        """Asks the cluster to take a pod away, as draining its node does."""
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": self.namespace}}
        kubectl("create", "--raw", f"/api/v1/namespaces/{self.namespace}/pods/{name}/eviction", "-f", "-", stdin=json.dumps(eviction))

    def names(self) -> list[str]:
        """Names of all pods of the namespace."""
        return kubectl("get", "pods", "-n", self.namespace, "-o", "jsonpath={.items[*].metadata.name}").split()

    def _volume(self, name: str, path: Path) -> list[dict[str, Any]]:
        """A folder of this machine as a claim: `restricted` refuses hostPath itself."""
        full = f"{self.namespace}-{name}"
        common: dict[str, Any] = {"accessModes": ["ReadOnlyMany"], "storageClassName": ""}
        volume = {**common, "capacity": {"storage": "1Gi"}, "hostPath": {"path": str(path)}, "claimRef": {"name": name, "namespace": self.namespace}}
        claim = {**common, "volumeName": full, "resources": {"requests": {"storage": "1Gi"}}}
        return [
            {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": full}, "spec": volume},
            {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": self.namespace}, "spec": claim},
        ]


@contextmanager
def _changed(path: Path, change: Callable[[dict[str, Any]], Any]) -> Iterator[None]:
    before = path.read_text()
    values = yaml.safe_load(before)
    change(values)
    path.write_text(yaml.safe_dump(values))
    try:
        yield
    finally:
        path.write_text(before)


@dataclass
class ClusterPlace:
    """A folder with a running Airflow, whose stages are pods."""

    folder: Path
    cluster: Cluster
    image: str | None = None
    environment: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.environment = {
            "DTX_HOME": str(self.folder / ".dtx"),
            "DTX_ROOT": f"s3://{self.cluster.bucket}/{self.folder.name}",
            "DTX_CONFIG": str(self.cluster.config(self.folder, self.image)),
            "DTX_BACKEND": "cluster",
            "DTX_RETRY_DELAY_S": "2",
            "DTX_CLAIM_TTL_S": "8",
        }

    @property
    def root(self) -> str:
        """Where everything is stored."""
        return self.environment["DTX_ROOT"]

    def dtx(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs the command to its end."""
        return dtx(*arguments, cwd=self.folder, **self.environment)

    def must(self, *arguments: str) -> str:
        """Runs the command, which has to succeed; its output."""
        done = self.dtx(*arguments)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return done.stdout

    def airflow(self) -> Airflow:
        """A client of the running Airflow."""
        state = stack.status(self.folder / ".dtx")
        assert state is not None
        return Airflow(state.airflow_url, username=state.username, password=state.password)

    @contextmanager
    def changed(self, **backend: Any) -> Iterator[None]:
        """Other terms of the backend, for a while."""
        with _changed(self.folder / "config/backends/cluster.yaml", lambda values: values.update(backend)):
            yield

    @contextmanager
    def changed_template(self, change: Callable[[dict[str, Any]], Any]) -> Iterator[None]:
        """Another pod template, for a while."""
        with _changed(self.folder / "config/pods/cluster.yaml", change):
            yield

    def experiment(self, name: str, groups: list[dict[str, Any]], **changes: Any) -> str:
        """Writes an experiment's file; its path."""
        matrix = {"llms": [{"name": "tiny", "source": "made:tiny-test"}], "datasets": [write_data(self.folder)], "hyperparameters": groups}
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps({"kind": "FinetuneExperiment", "name": name, "matrix": matrix, "scoring": {"max_new_tokens": 4}, **changes}))
        return str(path)

    def submit(self, path: str) -> str:
        """Starts an experiment; the run's id."""
        return str(json.loads(self.must("submit", path, "--json"))["run_id"])

    def kill(self, component: str) -> None:
        """Kills a process of Airflow, and whatever it has started; the stack starts it again."""
        state = stack.status(self.folder / ".dtx")
        assert state is not None
        pid = state.component(component).pid
        for process in [*psutil.Process(pid).children(recursive=True), psutil.Process(pid)]:
            process.kill()

    @property
    def mlflow_url(self) -> str:
        """Where MLflow is."""
        state = stack.status(self.folder / ".dtx")
        assert state is not None
        return state.mlflow_url

    def kept_logs(self, name: str, stage: str) -> str:
        """What the stages of an experiment said, from storage."""
        plan = self.plan(name)
        folder = f"{Layout(self.root, plan.team).experiment(name, plan.plan_id)}/logs/{stage}"
        parts = [
            f"{folder}/{item}/{call}/{part}"
            for item in list_names(folder)
            for call in list_names(f"{folder}/{item}")
            for part in list_names(f"{folder}/{item}/{call}")
        ]
        return "".join(read_bytes(part).decode() for part in parts)

    def tasks(self, run_id: str, task_id: str) -> list[TaskInstance]:
        """The instances of one task of a run."""
        with self.airflow() as airflow:
            return [task for task in airflow.task_instances(DAG_ID, run_id) if task.task_id == task_id]

    def log(self, run_id: str, task_id: str) -> str:
        """What every try of a task's first instance said."""
        tries = max((task.try_number for task in self.tasks(run_id, task_id)), default=0)
        with self.airflow() as airflow:
            return "\n".join(line for number in range(1, tries + 1) for line in airflow.log(DAG_ID, run_id, task_id, 0, number))

    def plan(self, name: str) -> ExperimentPlan:
        """The newest plan of an experiment."""
        (*_, found) = self.plans(name)
        return found

    def plans(self, name: str) -> list[ExperimentPlan]:
        """Every plan of an experiment; its own document is the last one that is written."""
        folder = f"{self.root}/default/experiments/{name}"
        return [plan for item in list_names(folder) if (plan := read_record(f"{folder}/{item}/plan.json", ExperimentPlan))]

    def job_folder(self, name: str) -> str:
        """Where the first job of an experiment is."""
        return Layout(self.root, "default").job(self.plan(name).jobs[0].job_id)

    def checkpoints(self, name: str) -> list[int]:
        """Steps of the first job's checkpoints on storage."""
        if not self.plans(name):
            return []
        resources = self.plan(name).resources
        return [step for step in [last_step(f"{self.job_folder(name)}/scratch", resources)] if step]

    def until_step(self, name: str, step: int = 100) -> None:
        """Waits until the first job of an experiment has a checkpoint of this step on storage."""
        until(lambda: max(self.checkpoints(name), default=0) >= step, f"{name} has reached step {step}")

    def attempts(self, name: str) -> list[dict[str, Any]]:
        """Attempts at the first job, oldest first."""
        return [attempt.model_dump() for attempt in attempts_of(self.job_folder(name))]

    def limits_until_end(self, run_id: str, name: str) -> list[str]:
        """Memory limits of the pods that trained for an experiment, until its run has failed."""
        found: dict[str, str] = {}

        def look() -> bool:
            for pod in self.cluster.pods(experiment=name, stage="train"):
                found.setdefault(pod["metadata"]["creationTimestamp"], pod["spec"]["containers"][0]["resources"]["limits"]["memory"])
            return self.state(run_id) == "failed"

        until(look, f"{name} has failed", 300)
        return [found[created_at] for created_at in sorted(found)]

    def state(self, run_id: str) -> str:
        """The state of a run."""
        with self.airflow() as airflow:
            return airflow.dag_run(DAG_ID, run_id).state

    def wait(self, run_id: str, limit_s: float = 400) -> str:
        """The state in which a run ends."""
        until(lambda: self.state(run_id) in ("success", "failed"), f"{run_id} has ended", limit_s)
        return self.state(run_id)
