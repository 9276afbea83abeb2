"""The pods that are made for a stage: what they ask for, what they carry, and that no text of the author's gets into them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from dtx_tasks.catalog.backend import Backend, load_backend, load_pod_template
from dtx_tasks.entrypoints.documents import write_plan
from dtx_tasks.entrypoints.failures import count_failure
from dtx_tasks.errors import HostMemoryError, PreemptedError, SpecError
from dtx_tasks.launch.pods import StageCall, base_container, pod_of
from dtx_tasks.launch.several import SeveralNodes
from dtx_tasks.storage import write_record
from tests.builders import Store, make_attempt, make_experiment, make_plan

LABEL_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?")
"""Source: kubernetes.io, Labels and Selectors, syntax."""

NASTY = "试 {{ conn.x }} $(rm) " + "x" * 30


def make_backend(**changes: Any) -> Backend:
    """A cluster with GPUs."""
    return Backend(name="c", backend="kubernetes", **({"gpu_resource": "nvidia.com/gpu"} | changes))


def make_call(root: Path, stage: str = "train", name: str = "shop", **resources: Any) -> StageCall:
    """A stage of an experiment with these resources."""
    plan = make_plan(make_experiment(name=name, resources=resources))
    uris = write_plan(plan, str(root))
    uri = {"fetch": uris.bases, "prepare": uris.prepare, "train": uris.packs, "score": uris.packs, "score_base": uris.bases}[stage][0]
    return StageCall(stage, uri, "0123456789ab", {"dag_id": "d", "run_id": NASTY, "task_id": "t", "map_index": 0}, 2, 1_800_000_000)


def make_pod(call: StageCall, **backend: Any) -> dict[str, Any]:
    """The pod of a call, from the project's own template."""
    return pod_of(call, make_backend(**backend), load_pod_template(make_backend()))


def resources_of(call: StageCall, **backend: Any) -> dict[str, dict[str, str]]:
    """What the stage's container asks for."""
    found: dict[str, dict[str, str]] = base_container(make_pod(call, **backend))["resources"]
    return found


@pytest.mark.parametrize("stage", ["fetch", "prepare", "train", "score", "score_base"])
def test_pod_runs_the_same_command_as_a_local_process(tmp_path: Path, stage: str) -> None:
    """URIs and a key: nothing of the author's."""
    call = make_call(tmp_path, stage, NASTY)
    assert base_container(make_pod(call))["args"] == [
        *("-m", "dtx_tasks.entrypoints", stage),
        *("--document", call.document_uri),
        *("--run-key", "0123456789ab"),
    ]


@pytest.mark.parametrize(("stage", "gpus"), [("fetch", None), ("prepare", None), ("train", "4"), ("score", "1"), ("score_base", "1")])
def test_only_what_uses_gpus_asks_for_them(tmp_path: Path, stage: str, gpus: str | None) -> None:
    """A GPU that waits for a download is a GPU hour wasted."""
    found = resources_of(make_call(tmp_path, stage, processes=4))
    assert found["requests"].get("nvidia.com/gpu") == found["limits"].get("nvidia.com/gpu") == gpus


def test_cluster_without_gpus_is_asked_for_none(tmp_path: Path) -> None:
    """Training on CPUs is a matter of configuration."""
    assert "nvidia.com/gpu" not in resources_of(make_call(tmp_path), gpu_resource=None)["limits"]


def test_resources_of_the_experiment_replace_those_of_the_template(tmp_path: Path) -> None:
    """Memory for the pod, CPUs for each process."""
    assert resources_of(make_call(tmp_path, memory="64Gi", cpus=3, processes=2), gpu_resource=None) == {
        "requests": {"cpu": "6", "memory": "64Gi"},
        "limits": {"memory": "64Gi"},
    }
    assert resources_of(make_call(tmp_path, "prepare", memory="64Gi"), gpu_resource=None)["limits"] == {"memory": "16Gi"}


@pytest.mark.parametrize(("memory", "raised"), [("64Gi", "98304Mi"), ("300Mi", "450Mi")])
def test_memory_that_was_not_enough_is_raised_by_half(tmp_path: Path, memory: str, raised: str) -> None:
    """In the round in which it was not; another round begins with what is asked for."""
    call = make_call(tmp_path, memory=memory)
    count_failure("train", _job_id(call), call.document, _layout(tmp_path), call.run_key, HostMemoryError("too much"))
    assert resources_of(call)["limits"]["memory"] == raised
    other = StageCall(call.stage, call.document_uri, "another round", call.owner, 1, call.deadline)
    assert resources_of(other)["limits"]["memory"] == memory


def test_raised_memory_stays_raised(tmp_path: Path) -> None:
    """Whatever ends the next attempt."""
    call = make_call(tmp_path, memory="64Gi")
    attempt = make_attempt("HostMemoryError", run_key=call.run_key)
    write_record(f"{_layout(tmp_path).job(_job_id(call))}/attempts/1.json", attempt)
    count_failure("train", _job_id(call), call.document, _layout(tmp_path), call.run_key, PreemptedError("taken away"))
    assert resources_of(call)["limits"]["memory"] == "98304Mi"


def test_labels_are_what_kubernetes_takes(tmp_path: Path) -> None:
    """Whatever the experiment is called; whose pod it is stands in the annotations."""
    pod = make_pod(make_call(tmp_path, name=NASTY))
    assert all(LABEL_VALUE.fullmatch(value) for value in pod["metadata"]["labels"].values()), pod["metadata"]["labels"]
    assert {"dtx/experiment", "dtx/item", "dtx/stage", "dtx/team", "dtx/try"} <= pod["metadata"]["labels"].keys()
    assert json.loads(pod["metadata"]["annotations"]["dtx/owner"])["run_id"] == NASTY
    assert pod["metadata"]["annotations"]["dtx/deadline"] == "1800000000"


def test_pod_ends_by_itself_and_has_time_to_save(tmp_path: Path) -> None:
    """Whatever becomes of Airflow."""
    spec = make_pod(make_call(tmp_path), deadline_s=99, grace_s=33)["spec"]
    assert (spec["activeDeadlineSeconds"], spec["terminationGracePeriodSeconds"], spec["restartPolicy"]) == (99, 33, "Never")


def test_queue_is_kueues_label(tmp_path: Path) -> None:
    """On the pod, or on the workload of several machines; never on both."""
    call = make_call(tmp_path, nodes=2)
    assert make_pod(call, queue="gpus")["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gpus"
    several = make_several(call, queue="gpus")
    assert several.manifest["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gpus"
    assert several.manifest["spec"]["suspend"] is True
    assert "kueue.x-k8s.io/queue-name" not in several.manifest["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["metadata"]["labels"]


def test_image_of_the_backend_comes_before_the_templates(tmp_path: Path) -> None:
    """One template serves several images."""
    assert base_container(make_pod(make_call(tmp_path)))["image"] == "dtx-trainer:latest"
    assert base_container(make_pod(make_call(tmp_path), image="mine:2"))["image"] == "mine:2"


def make_several(call: StageCall, **backend: Any) -> SeveralNodes:
    """The workload of a pack on several machines."""
    return SeveralNodes.of(call, make_backend(**backend), load_pod_template(make_backend()), "dtx")


def test_same_try_of_several_machines_has_the_same_name(tmp_path: Path) -> None:
    """So that making it twice finds the first one; its pods' names fit Kubernetes."""
    call = make_call(tmp_path, nodes=64)
    first, second = make_several(call), make_several(call)
    assert first == second
    assert len(f"{first.name}-nodes-0-63-abcde") <= 63


@pytest.mark.parametrize("kind", ["jobset", "job"])
def test_machines_of_a_pack_know_the_first_one(tmp_path: Path, kind: str) -> None:
    """By its name in the cluster's DNS."""
    several = make_several(make_call(tmp_path, nodes=2), several_nodes=kind)
    spec = several.manifest["spec"]["replicatedJobs"][0]["template"]["spec"] if kind == "jobset" else several.manifest["spec"]
    assert (spec["completions"], spec["parallelism"], spec["completionMode"], spec["backoffLimit"]) == (2, 2, "Indexed", 0)
    names = {item["name"]: item.get("value") for item in spec["template"]["spec"]["containers"][0]["env"]}
    assert names["DTX_COORDINATOR"] == {"jobset": "dtx-0123456789ab-nodes-0-0.dtx-0123456789ab", "job": "dtx-0123456789ab-0.dtx-0123456789ab"}[kind]
    assert (several.service is not None) is (kind == "job")


def test_bundled_backends_can_be_used() -> None:
    """Both kinds; and the template is a Pod."""
    assert (load_backend("local").backend, load_backend("kubernetes").backend) == ("local", "kubernetes")
    assert load_pod_template(load_backend("kubernetes"))["kind"] == "Pod"


def test_unknown_backend_names_those_that_exist() -> None:
    """With the nearest."""
    with pytest.raises(SpecError, match="Did you mean 'kubernetes'"):
        load_backend("kubernets")


def _job_id(call: StageCall) -> str:
    found: str = call.document.jobs[0].job_id  # type: ignore[attr-defined]
    return found


def _layout(root: Path) -> Any:
    return Store(root, make_plan()).layout
