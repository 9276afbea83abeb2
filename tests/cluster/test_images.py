"""The images as pods in a namespace with the Pod Security level `restricted`, with a read-only root file system."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, NamedTuple

import pytest

from dtx_tasks import __version__
from tests.cluster.place import ClusterPlace
from tests.recipes.world import QUICK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cluster.place import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

NAMESPACE = "dtx-test-images"
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
WRITABLE = ("/tmp", "/scratch", "/cache")


class Said(NamedTuple):
    """How a command ended."""

    code: int
    text: str


class Pod(NamedTuple):
    """A running pod of an image."""

    name: str

    def run(self, *command: str) -> Said:
        """Runs a command in it."""
        return kubectl("exec", "--namespace", NAMESPACE, self.name, "--", *command)

    def python(self, program: str) -> Said:
        """Runs a program by the `python` of its PATH."""
        return self.run("python", "-c", program)


def kubectl(*arguments: str, given: str = "") -> Said:
    done = subprocess.run(["kubectl", *arguments], check=False, input=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return Said(done.returncode, done.stdout.strip())


def apply(manifest: dict[str, object]) -> None:
    done = kubectl("apply", "--filename", "-", given=json.dumps(manifest))
    assert done.code == 0, done.text


def is_imported(image: str) -> bool:
    return f"/{image} " in kubectl("get", "nodes", "--output", "jsonpath={.items[*].status.images[*].names[*]} ").text + " "


def started(name: str) -> Pod:
    """A pod that waits for commands."""
    image = f"{name}:{os.environ.get('TAG', __version__)}"
    if not is_imported(image):
        pytest.skip(f"no node has {image}: container/README.md says how to build and import it")
    mounts = [{"name": path.strip("/"), "mountPath": path} for path in WRITABLE]
    volumes: list[dict[str, object]] = [{"name": path.strip("/"), "emptyDir": {}} for path in WRITABLE]
    container = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "Never",
        "args": ["sleep", "infinity"],
        "securityContext": RESTRICTED,
        "volumeMounts": mounts,
    }
    spec = {"containers": [container], "volumes": volumes, "automountServiceAccountToken": False, "terminationGracePeriodSeconds": 5}
    apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec})
    ready = kubectl("wait", "--namespace", NAMESPACE, f"pod/{name}", "--for", "condition=Ready", "--timeout", "120s")
    assert ready.code == 0, ready.text
    return Pod(name)


@pytest.fixture(scope="module")
def restricted() -> Iterator[None]:
    """A namespace that refuses whatever is not `restricted`."""
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("KUBECONFIG is not set: no cluster to run pods on")
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}})
    yield
    kubectl("delete", "namespace", NAMESPACE)


@pytest.fixture(scope="module")
def trainer(restricted: None) -> Pod:
    return started("dtx-trainer")


@pytest.fixture(scope="module")
def airflow(restricted: None) -> Pod:
    return started("dtx-airflow")


@pytest.fixture(params=["trainer", "airflow"])
def either(request: pytest.FixtureRequest) -> Pod:
    """Each of the two, for what holds for both."""
    pod: Pod = request.getfixturevalue(request.param)
    return pod


def test_runs_as_nobody_special(either: Pod):
    """Uid 1000, below an init that passes signals on, and the image cannot be written to."""
    assert either.run("id", "-u") == (0, "1000")
    assert either.run("cat", "/proc/1/comm") == (0, "tini")
    assert "Read-only file system" in either.run("touch", "/opt/dtx/x").text


def test_has_no_compiler(either: Pod):
    """Nothing is compiled where jobs run."""
    assert either.python("import shutil; print([name for name in ('cc', 'c++', 'gcc', 'g++', 'clang', 'nvcc') if shutil.which(name)])") == (0, "[]")


def test_brings_bytecode(either: Pod):
    """Bytecode cannot be written at run time, and without it every start compiles thousands of modules."""
    said = either.run("python", "-v", "-c", "import dtx_tasks.spec, httpx")
    stale = [line for line in said.text.splitlines() if "bytecode is stale" in line or line.startswith("# wrote")]
    assert said.code == 0
    assert "/opt/dtx/lib/python3.11/site-packages/httpx/__pycache__/__init__.cpython-311.pyc matches" in said.text
    assert stale == []


def test_brings_the_bundled_configuration(either: Pod):
    """The catalog is in the wheel, and found there."""
    said = either.python("from dtx_tasks.catalog import config_folder; print(sorted(path.name for path in config_folder().iterdir()))")
    assert "'deepspeed', 'experiments'" in said.text


def test_trainer_imports_what_trains(trainer: Pod):
    """Torch and what is built on it is there."""
    said = trainer.python("import torch, transformers, trl, deepspeed, dtx_tasks.train.job")
    assert said.code == 0, said.text


def test_trainer_has_no_airflow(trainer: Pod):
    """What trains does not know who asked for it."""
    assert "No module named 'airflow'" in trainer.python("import airflow").text


def test_trainer_has_deepspeeds_operator(trainer: Pod):
    """DeepSpeed on a CPU would compile it otherwise, when a training starts."""
    said = trainer.python("from deepspeed.accelerator import get_accelerator as a; print(a().create_op_builder('ShareMemCommBuilder').load().__file__)")
    assert "/opt/dtx/lib/python3.11/site-packages/deepspeed/ops/comm/" in said.text


def test_trainer_says_how_to_start_a_stage(trainer: Pod):
    """The command of a pod of the Kubernetes backend."""
    said = trainer.run("python", "-m", "dtx_tasks.entrypoints", "--help")
    assert said.code == 0
    assert "--run-key" in said.text


def test_airflow_is_the_pinned_version(airflow: Pod):
    """The lock file's, and not what a constraint file would bring."""
    assert airflow.run("airflow", "version").text.splitlines()[-1] == "3.3.2"


def test_airflow_has_no_torch(airflow: Pod):
    """Some 5 GB that no task of Airflow uses."""
    assert "No module named 'torch'" in airflow.python("import torch").text


def test_airflow_reaches_kubernetes_and_postgresql(airflow: Pod):
    """The provider, and the drivers of both of Airflow's connections."""
    said = airflow.python("import airflow.providers.cncf.kubernetes, asyncpg, psycopg2")
    assert said.code == 0, said.text


def test_airflow_finds_the_dags(airflow: Pod):
    """By the settings of the image."""
    said = airflow.python("from airflow.dag_processing.dagbag import DagBag; bag = DagBag(); print(bag.import_errors, sorted(bag.dags))")
    errors, dags = said.text.splitlines()[-1].split(" ", 1)
    assert errors == "{}"
    assert "'finetune_experiment'" in dags


def test_airflow_finds_the_plugin(airflow: Pod):
    """By the settings of the image."""
    assert "dtx" in airflow.run("airflow", "plugins", "--output", "plain").text


def test_airflow_has_mlflows_server(airflow: Pod):
    """One image for both."""
    assert "--backend-store-uri" in airflow.run("mlflow", "server", "--help").text


@pytest.fixture(scope="module")
def place(trainer: Pod, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterPlace]:
    """An Airflow of this machine whose pods run the trainer image, without anything of this checkout."""
    place = ClusterPlace(tmp_path_factory.mktemp("images"), cluster, f"dtx-trainer:{__version__}")
    place.must("up")
    yield place
    place.dtx("down")


def test_experiment_runs_from_the_images(place: ClusterPlace) -> None:
    """The quickstart's flow, its pods made from the project's own template, under `restricted`."""
    run_id = place.submit(place.experiment("from-images", [QUICK]))
    assert place.wait(run_id, 900) == "success", place.log(run_id, "finetune.train")


def test_two_machines_share_their_state_by_deepspeed(place: ClusterPlace) -> None:
    """With its standard launcher: each machine starts its own ranks, and none needs ssh. The image has the operator that other pods would compile."""
    group = {**QUICK, "name": "sharded", "compute_type": "fp32", "learning_rate": 3e-3}
    run_id = place.submit(place.experiment("pair-sharded", [group], resources={"nodes": 2, "deepspeed": "zero2"}))
    assert place.wait(run_id, 900) == "success", place.log(run_id, "finetune.train")
    assert [attempt["error_class"] for attempt in place.attempts("pair-sharded")] == [""]
