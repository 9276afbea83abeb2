"""An experiment through Airflow whose stages are pods: on a real cluster, with S3."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from mlflow import MlflowClient

from tests.cluster.place import LONG, REPOSITORY
from tests.recipes.world import QUICK
from tests.running import until

if TYPE_CHECKING:
    from tests.cluster.place import ClusterPlace

pytestmark = pytest.mark.cluster


def test_experiment_runs_in_pods(place: ClusterPlace) -> None:
    """From a file on the author's machine to a verdict, with the DAG and the file of a laptop."""
    run_id = place.submit(place.experiment("pods", [QUICK]))
    assert place.wait(run_id) == "success", place.dtx("watch", run_id).stdout
    assert "tiny / words / quick" in place.must("leaderboard", run_id)
    assert place.cluster.pods(experiment="pods") == []


def test_training_is_heard_while_it_runs_and_kept(place: ClusterPlace) -> None:
    """In the log of its task, by `dtx logs`, and on storage when the pod is gone."""
    run_id = place.submit(place.experiment("heard", [{**LONG, "learning_rate": 2e-3}]))
    until(lambda: '"event": "step"' in place.log(run_id, "finetune.train"), "the task's log tells of a step")
    assert place.state(run_id) == "running"
    assert '"event": "step"' in place.must("logs", "tiny-words-long", "--run", run_id)
    followed = place.must("logs", "tiny-words-long", "--run", run_id, "--follow")
    assert '"step": 1200, "total": 1200' in followed
    assert place.wait(run_id) == "success"
    kept = place.kept_logs("heard", "train")
    assert '"step": 1200, "total": 1200' in kept
    assert place.log(run_id, "finetune.train").count('"event": "step", "step": 600,') == 1


def test_pod_goes_on_while_airflow_is_killed(place: ClusterPlace) -> None:
    """Scheduler, its workers, and triggerer: the pod is found again and never started twice."""
    run_id = place.submit(place.experiment("killed", [{**LONG, "learning_rate": 2.1e-3}]))
    until(lambda: place.cluster.pods(experiment="killed", stage="train"), "there is a pod")
    pod = place.cluster.pods(experiment="killed", stage="train")[0]["metadata"]["uid"]
    place.kill("scheduler")
    place.until_step("killed")
    place.kill("triggerer")
    place.kill("scheduler")
    living = place.cluster.pods(experiment="killed", stage="train")
    assert [item["metadata"]["uid"] for item in living] == [pod]
    assert place.wait(run_id) == "success"
    assert [attempt["error_class"] for attempt in place.attempts("killed")] == [""]


def test_pod_goes_on_while_the_api_server_is_away(place: ClusterPlace) -> None:
    """Nothing is deleted or started again: it is asked again until it answers."""
    shared = Path(os.environ.get("DTX_SHARED", REPOSITORY.parent / "shared"))
    server = Path(os.environ.get("DTX_CLUSTER_STATE", "/var/lib/dtx-cluster"), "pids/kube-apiserver")
    if not (server.exists() and (shared / "cluster/up").exists()):
        pytest.skip("kills the API server of the cluster in ../shared/cluster, and this is another one")
    run_id = place.submit(place.experiment("away", [{**LONG, "learning_rate": 2.4e-3}]))
    place.until_step("away")
    os.kill(int(server.read_text()), signal.SIGKILL)
    until(lambda: "is asked again" in place.log(run_id, "finetune.train"), "the triggerer has noticed")
    # Kueue, where it is installed, answers for the deployments of others, and has lost the server too.
    until(lambda: subprocess.run([shared / "cluster/up"], check=False, capture_output=True).returncode == 0, "the server is back", 300)
    assert place.wait(run_id) == "success"
    assert [attempt["error_class"] for attempt in place.attempts("away")] == [""]


def test_cancelled_pod_saves_and_goes(place: ClusterPlace) -> None:
    """Within its grace, after a checkpoint; what is started again goes on from there."""
    path = place.experiment("cancelled", [{**LONG, "max_steps": 3000, "learning_rate": 2.2e-3}])
    run_id = place.submit(path)
    place.until_step("cancelled")
    place.must("cancel", run_id)
    until(lambda: not place.cluster.pods(experiment="cancelled"), "the pod is gone", 60)
    assert place.state(run_id) == "failed"
    reached = max(place.checkpoints("cancelled"))
    assert place.wait(place.submit(path)) == "success"
    assert place.attempts("cancelled")[-1]["started_from_step"] == reached


def test_orphans_are_removed(place: ClusterPlace) -> None:
    """A pod whose time is over goes, whoever made it; one that a task waits for stays."""
    run_id = place.submit(place.experiment("kept", [{**LONG, "learning_rate": 2.3e-3}]))
    until(lambda: place.cluster.pods(experiment="kept", stage="train"), "there is a pod")
    place.cluster.run_orphan("left-over")
    with place.airflow() as airflow:
        cleaning = airflow.trigger("housekeeping", {})
        until(lambda: airflow.dag_run("housekeeping", cleaning).finished, "housekeeping has ended")
    until(lambda: "left-over" not in place.cluster.names(), "the orphan is gone", 60)
    assert place.cluster.pods(experiment="kept", stage="train")
    assert place.wait(run_id) == "success"


def test_best_version_is_registered_where_it_lies(place: ClusterPlace) -> None:
    """MLflow is told the URI on S3: nothing is copied."""
    run_id = place.submit(place.experiment("registered", [{**QUICK, "name": "enough", "max_steps": 300}], registered_name="shop"))
    assert place.wait(run_id) == "success"
    client = MlflowClient(place.mlflow_url)
    (version,) = client.search_model_versions("name = 'shop'")
    assert version.source == f"{place.job_folder('registered')}/checkpoint"
