"""What `dtx doctor` says, from answers of the API as they are."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from dtx_tasks.catalog.backend import load_backend, load_pod_template
from dtx_tasks.cli import findings
from dtx_tasks.cli.doctor import trial_pod
from dtx_tasks.errors import SpecError, TransientError
from dtx_tasks.launch.probe import check_storage
from dtx_tasks.launch.rights import rights_of
from dtx_tasks.spec import Target
from tests.unit.cli.test_commands import dtx

REPOSITORY = Path(__file__).resolve().parents[3]
IMAGE = "dtx-trainer:1"


def make_node(name: str = "n1", *, ready: bool = True, cordoned: bool = False, labels: dict[str, str] | None = None, **offers: str) -> dict[str, Any]:
    """A node as the API gives it."""
    status = {"allocatable": offers, "conditions": [{"type": "Ready", "status": str(ready)}]}
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": {"unschedulable": True} if cordoned else {}, "status": status}


def make_pod(node: str = "n1", phase: str = "Running", **requests: str) -> dict[str, Any]:
    """A pod of somebody's."""
    return {"spec": {"nodeName": node, "containers": [{"resources": {"requests": requests}}, {}]}, "status": {"phase": phase}}


def make_trial(phase: str = "Pending", *, state: dict[str, Any] | None = None, conditions: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """The trial pod as the API gives it."""
    statuses = [{"name": "base", "image": IMAGE, "state": state}] if state else []
    spec = {"containers": [{"name": "base", "image": IMAGE}]}
    return {"spec": spec, "status": {"phase": phase, "containerStatuses": statuses, "conditions": conditions or []}}


def line(found: findings.Finding) -> str:
    return str(found)


def test_missing_namespace_has_its_command() -> None:
    """The fix can be pasted."""
    said = line(findings.namespace("dtx", None))
    assert said == "FAIL  namespace dtx: is not there. `kubectl create namespace dtx`, or `kubectl apply -f deploy/namespaces.yaml`."


def test_level_of_a_namespace_is_said() -> None:
    """None at all is well, with advice."""
    restricted = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    assert line(findings.namespace("dtx", restricted)) == "ok    namespace dtx: enforces Pod Security `restricted`."
    assert "passes `restricted`: `kubectl label namespace dtx" in line(findings.namespace("dtx", {"metadata": {}}))


def test_missing_rights_are_named() -> None:
    """Each, as verb and resource."""
    asked = rights_of(load_backend("kubernetes"))
    missing = [right for right in asked if right.resource == "pods/log" or right.verb == "delete"]
    said = line(findings.rights("me", asked, missing, "deploy/rbac.yaml"))
    assert said.startswith("FAIL  rights of me: 3 of 10 are missing: delete pods, get pods/log, delete jobsets. `kubectl apply -f deploy/rbac.yaml`")
    assert line(findings.rights("me", asked, [], "")) == "ok    rights of me: all 10 are there."


def test_what_may_not_be_looked_at_is_no_failure() -> None:
    """But is said."""
    found = findings.not_allowed("nodes")
    assert found.state == "?"
    assert line(found) == "?     nodes: not checked: you may not look at it. Run the doctor as an administrator of the cluster."


def test_missing_extension_has_its_fix() -> None:
    """The caller knows which."""
    assert line(findings.served("JobSet", None, "Install it.")) == "FAIL  JobSet: is not installed. Install it."
    assert line(findings.served("JobSet", {}, "Install it.")) == "ok    JobSet: is installed."


def test_queue_is_looked_for_in_the_namespace() -> None:
    """A LocalQueue belongs to one."""
    assert line(findings.queue("q", "dtx", None)).startswith("FAIL  queue q: there is no LocalQueue q in dtx. deploy/kueue.yaml has an example")
    assert line(findings.queue("q", "dtx", {"spec": {"clusterQueue": "gpus"}})) == "ok    queue q: of the ClusterQueue gpus."


def test_references_of_a_template_are_found() -> None:
    """Of volumes, variables, pull secrets and the account; what is optional is not looked for."""
    container = {
        "envFrom": [{"secretRef": {"name": "a"}}, {"configMapRef": {"name": "b", "optional": True}}],
        "env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "c", "key": "k"}}}, {"name": "Y", "value": "1"}],
    }
    volumes = [
        {"name": "v", "persistentVolumeClaim": {"claimName": "d"}},
        {"name": "w", "configMap": {"name": "e"}},
        {"name": "x", "secret": {"secretName": "g"}},
        {"name": "s", "emptyDir": {}},
    ]
    spec = {"containers": [container], "volumes": volumes, "imagePullSecrets": [{"name": "f"}], "serviceAccountName": "h"}
    wanted = [
        ("secrets", "a"),
        ("secrets", "c"),
        ("persistentvolumeclaims", "d"),
        ("configmaps", "e"),
        ("secrets", "g"),
        ("secrets", "f"),
        ("serviceaccounts", "h"),
    ]
    assert list(findings.references({"spec": spec})) == wanted


def test_missing_reference_is_named() -> None:
    """With its kind and where it should be."""
    said = line(findings.reference("secrets", "dtx-storage", "dtx", None))
    assert said.startswith("FAIL  secret dtx-storage: the pod template refers to it, and it is not in dtx. deploy/storage.yaml")


def test_free_gpus_are_counted() -> None:
    """What ended pods had asked for is free; nodes that take no pods do not count."""
    gpu = "nvidia.com/gpu"
    nodes = [make_node(**{gpu: "8"}), make_node("n2", cordoned=True, **{gpu: "8"}), make_node("n3", ready=False, **{gpu: "8"}), make_node("n4", cpu="4")]
    pods = [make_pod(**{gpu: "3"}), make_pod(phase="Succeeded", **{gpu: "4"}), make_pod("n2", **{gpu: "1"})]
    assert line(findings.capacity(nodes, pods, gpu, {})) == "ok    nodes with nvidia.com/gpu: 1 of 4; 5 of 8 free."
    assert line(findings.capacity(nodes, [make_pod(**{gpu: "8"})], gpu, {})).endswith("0 of 8 free: pods will wait.")


def test_free_cpus_may_be_fractions() -> None:
    """Requests are in thousandths."""
    assert "1.5 of 2 free" in line(findings.capacity([make_node(cpu="2")], [make_pod(cpu="500m")], "cpu", {}))


def test_nodes_without_the_resource_fail() -> None:
    """Or without the labels that the template asks for."""
    gpu = "nvidia.com/gpu"
    assert line(findings.capacity([make_node(cpu="2")], [], gpu, {})).startswith("FAIL  nodes with nvidia.com/gpu: none of 1 nodes takes pods and has it.")
    said = line(findings.capacity([make_node(**{gpu: "8"})], [], gpu, {"gpu": "h100"}))
    assert "has it and the labels {'gpu': 'h100'}. Install the device plugin of your GPUs; or correct `gpu_resource`" in said


def test_storage_of_one_machine_fails() -> None:
    """Pods cannot see it."""
    assert line(findings.storage("/home/me/store", None)) == (
        "FAIL  storage /home/me/store: is a folder of this machine, which pods cannot see. Set DTX_ROOT to s3://BUCKET/PREFIX, for Airflow too."
    )
    assert line(findings.storage("s3://b/p", None)) == "ok    storage s3://b/p: writes, reads, refuses to write over, and removes."
    assert line(findings.storage("s3://b/p", TransientError("No key.", "Set one."))) == "FAIL  storage s3://b/p: No key. Set one."


def test_pod_that_ended_well_says_what_that_proves() -> None:
    """The image, and storage from inside."""
    done = make_trial("Succeeded", state={"terminated": {"exitCode": 0}})
    assert (
        line(findings.pod(done, IMAGE, "s3://b/p", "", 5))
        == "ok    pod of the template: dtx-trainer:1 started, has this version's program, and reaches s3://b/p."
    )


def test_pod_without_its_image_says_so() -> None:
    """In the kubelet's words."""
    pod = make_trial(state={"waiting": {"reason": "ImagePullBackOff", "message": "not found"}})
    said = line(findings.pod(pod, IMAGE, "s3://b/p", "", 5))
    assert said.startswith("FAIL  pod of the template: SpecError: The image 'dtx-trainer:1' cannot be had: ImagePullBackOff: not found")


def test_pod_that_failed_says_its_last_words() -> None:
    """Those of its termination log; else of its log, such as of an image without this program."""
    told = '{"class": "TransientError", "message": "s3://b/p: no.", "hint": "Mend it."}'
    ended = make_trial("Failed", state={"terminated": {"exitCode": 75, "message": told}})
    assert "TransientError: s3://b/p: no. Mend it." in line(findings.pod(ended, IMAGE, "s3://b/p", "noise", 5))
    ended = make_trial("Failed", state={"terminated": {"exitCode": 1}})
    assert "It said last: No module named dtx_tasks.launch.probe" in line(findings.pod(ended, IMAGE, "s3://b/p", "No module named dtx_tasks.launch.probe\n", 5))


@pytest.mark.parametrize(
    ("pod", "words"),
    [
        (make_trial(conditions=[{"type": "PodScheduled", "status": "False", "message": "0/3 nodes"}]), "No node has a place for the pod: 0/3 nodes"),
        (make_trial(conditions=[{"type": "PodScheduled", "status": "True"}]), "its image is still on its way"),
        (make_trial("Running", state={"running": {}}), "Does its storage answer?"),
    ],
)
def test_pod_that_does_not_end_says_why(pod: dict[str, Any], words: str) -> None:
    """Waiting for a place, for its image, or for an answer."""
    said = line(findings.pod(pod, IMAGE, "s3://b/p", "", 120))
    assert "has not ended after 120 s: " in said
    assert words in said


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (200, "{}", "ok    MLflow http://mlflow:5000: answers."),
        (403, "Invalid Host header - possible DNS rebinding attack detected", "Add mlflow:5000 to MLFLOW_SERVER_ALLOWED_HOSTS of its server."),
        (401, "", "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"),
        (0, "Connection refused", "answered nothing: Connection refused. Correct MLFLOW_TRACKING_URI"),
        (502, "Bad\n gateway", "answered 502: Bad gateway"),
    ],
)
def test_mlflow_has_its_fix(status: int, body: str, words: str) -> None:
    """A wrong name, a login, or no server."""
    assert words in line(findings.mlflow("http://mlflow:5000", status, body))


def test_trial_pod_is_the_template_with_a_small_task() -> None:
    """It keeps what may fail, such as secrets and volumes, and asks for next to nothing."""
    backend = load_backend("kubernetes").model_copy(update={"queue": "q", "image": IMAGE})
    template = load_pod_template(backend)
    pod = trial_pod(backend, template, "s3://b/p")
    container = pod["spec"]["containers"][0]
    assert (container["image"], container["args"]) == (IMAGE, ["-m", "dtx_tasks.launch.probe", "s3://b/p"])
    assert container["envFrom"] == template["spec"]["containers"][0]["envFrom"]
    assert container["resources"]["requests"] == {"cpu": "100m", "memory": "256Mi"}
    assert pod["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "q"
    assert template == load_pod_template(backend)


def test_storage_is_left_as_it_was(tmp_path: Any) -> None:
    """What was tried is gone."""
    check_storage(str(tmp_path))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_unknown_backend_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With the nearest name."""
    assert dtx(monkeypatch, "doctor", "--backend", "kubernets") == 2
    assert "There is no backend 'kubernets'" in capsys.readouterr().err
    with pytest.raises(SpecError, match="kubernetes"):
        load_backend("kubernets")


def test_local_backend_is_examined_as_before(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Any) -> None:
    """In one line."""
    monkeypatch.setenv("DTX_HOME", str(tmp_path))
    assert dtx(monkeypatch, "doctor", "--backend", "local") == 0
    assert capsys.readouterr().out.startswith(f"Well. Storage: {tmp_path / 'store'}; ")


def test_nodes_with_most_gpus_say_how_many_a_machine_has() -> None:
    """Where nothing asks for GPUs there are none."""
    nodes = [{"status": {"allocatable": {"nvidia.com/gpu": count}}} for count in ("4", "8")] + [{"status": {"allocatable": {}}}]
    assert findings.most_gpus(nodes, "nvidia.com/gpu") == 8
    assert findings.most_gpus(nodes, None) == findings.most_gpus([], "nvidia.com/gpu") == 0


@pytest.fixture
def own_backends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A configuration folder that may be written to."""
    shutil.copytree(REPOSITORY / "config", tmp_path / "config")
    monkeypatch.setenv("DTX_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("DTX_HOME", str(tmp_path / "home"))
    return tmp_path / "config" / "backends" / "local.yaml"


def test_target_is_measured_and_written(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], own_backends: Path) -> None:
    """What stood in the file besides stays, an older target goes; then the machine is as the file says."""
    own_backends.write_text(f"{own_backends.read_text()}target:\n  accelerator: cuda\n  count: 8\npoll_s: 5\n")
    assert dtx(monkeypatch, "doctor", "--backend", "local") == 3
    assert "accelerator is none (the file says cuda), count is 0 (the file says 8)" in capsys.readouterr().out
    assert dtx(monkeypatch, "doctor", "--backend", "local", "--write-target") == 0
    assert load_backend("local").target == Target()
    assert load_backend("local").poll_s == 5
    assert own_backends.read_text().startswith("# Stages are processes")
    assert dtx(monkeypatch, "doctor", "--backend", "local") == 0
