"""Stages that wait for their turn in a queue of Kueue: deploy/kueue.yaml with a small quota, in the test's own namespace."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.cluster.place import REPOSITORY, apply, kubectl
from tests.recipes.world import QUICK
from tests.running import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cluster.place import ClusterPlace

pytestmark = pytest.mark.cluster

ROOM = {"cpu": "150m", "memory": "16Gi", "nvidia.com/gpu": "0"}
"""For one of the test's pods, which ask for 100m, and not for two."""


def make_queue(namespace: str, room: dict[str, str]) -> None:
    """The example, for any node."""
    flavor, queue, local = yaml.safe_load_all((REPOSITORY / "deploy/kueue.yaml").read_text())
    flavor |= {"metadata": {"name": namespace}, "spec": {}}
    queue["metadata"]["name"] = namespace
    queue["spec"]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] = namespace
    resources = [{"name": name, "nominalQuota": quota} for name, quota in room.items()]
    queue["spec"]["resourceGroups"][0]["flavors"] = [{"name": namespace, "resources": resources}]
    local |= {"metadata": {"name": "gpus", "namespace": namespace}, "spec": {"clusterQueue": namespace}}
    apply(flavor, queue, local)


@pytest.fixture(scope="module")
def queued(place: ClusterPlace) -> Iterator[ClusterPlace]:
    """The backend's pods wait in a queue."""
    if "clusterqueues.kueue.x-k8s.io" not in kubectl("get", "crd", "-o", "name"):
        pytest.skip("needs Kueue, and this cluster has none; ../shared/cluster/up --kueue adds it")
    namespace = place.cluster.namespace
    make_queue(namespace, ROOM)
    with place.changed(queue="gpus"):
        yield place
    kubectl("delete", "clusterqueue,resourceflavor", namespace, "--wait=false")


def is_gated(pod: dict[str, Any]) -> bool:
    """Whether a pod may not be given a node yet."""
    return any(item.get("reason") == "SchedulingGated" for item in pod["status"].get("conditions", []) if item["type"] == "PodScheduled")


def test_pod_waits_until_there_is_room(queued: ClusterPlace) -> None:
    """Two packs and room for one: the second pod starts when the first is gone, and nothing fails."""
    # Rates of no other test: a job that was trained before needs no pod.
    groups = [{**QUICK, "name": f"queued-{rate}", "learning_rate": rate} for rate in (5.1e-3, 6.1e-3)]
    run_id = queued.submit(queued.experiment("queued", groups, parallelism=2))
    seen: set[int] = set()

    def look() -> bool:
        pods = queued.cluster.pods(experiment="queued", stage="train")
        seen.add(sum(pod["status"]["phase"] == "Running" for pod in pods))
        return any(map(is_gated, pods)) and 1 in seen

    until(look, "a pod waits while another one runs")
    assert queued.wait(run_id) == "success", queued.log(run_id, "finetune.train")
    assert 2 not in seen


def test_machines_of_a_pack_are_let_in_together(queued: ClusterPlace) -> None:
    """A pack on two machines is no use with room for one: no pod is made before there is room for both."""
    run_id = queued.submit(queued.experiment("queued-pair", [{**QUICK, "learning_rate": 7e-3}], resources={"nodes": 2}))
    namespace = queued.cluster.namespace

    def waits() -> bool:
        found = json.loads(kubectl("get", "jobsets", "-n", namespace, "-l", "dtx/experiment=queued-pair", "-o", "json"))["items"]
        return [item["spec"]["suspend"] for item in found] == [True]

    until(waits, "the JobSet waits")
    until(lambda: "QuotaReserved" in kubectl("get", "workloads", "-n", namespace, "-o", "json"), "Kueue has looked at it")
    assert queued.cluster.pods(experiment="queued-pair", stage="train") == []
    make_queue(namespace, {**ROOM, "cpu": "250m"})
    assert queued.wait(run_id) == "success", queued.log(run_id, "finetune.train")
