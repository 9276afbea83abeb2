"""Every way in which a pod can end badly, provoked for real: what the task says, and what happens next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.cluster.place import LONG, apply, kubectl
from tests.recipes.world import QUICK
from tests.running import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cluster.place import ClusterPlace

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def ready(place: ClusterPlace) -> ClusterPlace:
    """A place in which the base is fetched and scored and the data is prepared: only training is left to every experiment."""
    assert place.wait(place.submit(place.experiment("ready", [QUICK]))) == "success"
    return place


def training(place: ClusterPlace, name: str) -> list[dict[str, Any]]:
    """The pods that train for an experiment."""
    return place.cluster.pods(experiment=name, stage="train")


def test_image_that_cannot_be_had_fails_at_once(ready: ClusterPlace) -> None:
    """One try, and the reason with what to correct."""
    with ready.changed(image="nowhere/missing:1"):
        run_id = ready.submit(ready.experiment("bad-image", [{**QUICK, "learning_rate": 1e-3}]))
        assert ready.wait(run_id) == "failed"
    assert [task.try_number for task in ready.tasks(run_id, "finetune.train")] == [1]
    assert "The image 'nowhere/missing:1' cannot be had: " in ready.log(run_id, "finetune.train")
    assert training(ready, "bad-image") == []


def test_pod_that_the_cluster_refuses_fails_at_once(ready: ClusterPlace) -> None:
    """The API's own words say why."""
    with ready.changed_template(lambda pod: pod["spec"]["containers"][0]["securityContext"].update(privileged=True, allowPrivilegeEscalation=True)):
        run_id = ready.submit(ready.experiment("refused", [{**QUICK, "learning_rate": 1.1e-3}]))
        assert ready.wait(run_id) == "failed"
    assert [task.try_number for task in ready.tasks(run_id, "finetune.train")] == [1]
    assert "violates PodSecurity" in ready.log(run_id, "finetune.train")


def test_missing_secret_fails_at_once(ready: ClusterPlace) -> None:
    """The kubelet's words name it."""
    with ready.changed_template(lambda pod: pod["spec"]["containers"][0]["envFrom"].append({"secretRef": {"name": "not-there"}})):
        run_id = ready.submit(ready.experiment("no-secret", [{**QUICK, "learning_rate": 1.2e-3}]))
        assert ready.wait(run_id) == "failed"
    assert [task.try_number for task in ready.tasks(run_id, "finetune.train")] == [1]
    assert 'secret "not-there" not found' in ready.log(run_id, "finetune.train")


def test_pod_without_a_place_says_what_is_missing(ready: ClusterPlace) -> None:
    """After the time that it may wait, in the scheduler's words."""
    with ready.changed(schedule_timeout_s=5):
        run_id = ready.submit(ready.experiment("too-large", [{**QUICK, "learning_rate": 1.3e-3}], resources={"cpus": 500}))
        until(lambda: "Insufficient cpu" in ready.log(run_id, "finetune.train"), "the log says what is missing")
        ready.must("cancel", run_id)
    assert "No node has a place for the pod" in ready.log(run_id, "finetune.train")


def test_out_of_memory_is_tried_once_with_more(ready: ClusterPlace) -> None:
    """The container's limit is raised by half; then it is the author's turn."""
    run_id = ready.submit(ready.experiment("small", [{**QUICK, "learning_rate": 1.4e-3}], resources={"memory": "300Mi"}))
    limits = ready.limits_until_end(run_id, "small")
    assert limits == ["300Mi", "450Mi"]
    assert [task.try_number for task in ready.tasks(run_id, "finetune.train")] == [2]
    assert "HostMemoryError" in ready.log(run_id, "finetune.train")


def test_deadline_ends_a_pod_for_good(ready: ClusterPlace) -> None:
    """It guards the cluster: nobody may have been left to end it."""
    with ready.changed(deadline_s=15):
        run_id = ready.submit(ready.experiment("overdue", [{**LONG, "max_steps": 20000, "learning_rate": 1.5e-3}]))
        assert ready.wait(run_id) == "failed"
    assert "The pod ran longer than a pod may." in ready.log(run_id, "finetune.train")
    assert [task.try_number for task in ready.tasks(run_id, "finetune.train")] == [1]


def test_evicted_pod_resumes_from_its_last_checkpoint(ready: ClusterPlace) -> None:
    """It saves within its grace, and another one goes on from there."""
    run_id = ready.submit(ready.experiment("evicted", [{**LONG, "learning_rate": 1.6e-3}]))
    ready.until_step("evicted")
    name = training(ready, "evicted")[0]["metadata"]["name"]
    ready.cluster.evict(name)
    assert ready.wait(run_id) == "success"
    first, second = ready.attempts("evicted")
    assert first["error_class"] == "PreemptedError"
    assert second["started_from_step"] == first["reached_step"] > 0


def test_pod_that_is_gone_is_replaced(ready: ClusterPlace) -> None:
    """As when a node is lost: nothing is left to look at."""
    run_id = ready.submit(ready.experiment("lost", [{**LONG, "learning_rate": 1.7e-3}]))
    ready.until_step("lost")
    name = training(ready, "lost")[0]["metadata"]["name"]
    kubectl("delete", "pod", name, "-n", ready.cluster.namespace, "--force", "--grace-period=0")
    assert ready.wait(run_id) == "success"
    first, second = ready.attempts("lost")
    assert (first["error_class"], second["error_class"]) == ("PreemptedError", "")
    assert second["started_from_step"] >= 100


@pytest.fixture
def urgent() -> Iterator[str]:
    """A priority before which other pods have to go."""
    apply({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "dtx-urgent"}, "value": 1000})
    yield "dtx-urgent"
    kubectl("delete", "priorityclass", "dtx-urgent")


def test_preempted_pod_makes_room_and_comes_back(ready: ClusterPlace, urgent: str) -> None:
    """Preemption is nobody's fault: it has a budget of its own."""
    run_id = ready.submit(ready.experiment("preempted", [{**LONG, "learning_rate": 1.8e-3}], resources={"cpus": 1}))
    ready.until_step("preempted")
    ready.cluster.run_pod("urgent", cpu="1500m", seconds=5, priority=urgent)
    assert ready.wait(run_id) == "success"
    first, *_, last = ready.attempts("preempted")
    assert (first["error_class"], last["error_class"]) == ("PreemptedError", "")
    assert last["started_from_step"] >= 100
