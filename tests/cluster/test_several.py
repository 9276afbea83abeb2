"""One pack on two machines: two pods that train one job over the pod network, by a JobSet and by a plain Job."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from dtx_tasks.records import LLMCheckpoint
from dtx_tasks.storage import read_lines, read_record, remove
from tests.cluster.place import kubectl
from tests.recipes.world import QUICK, make_trial
from tests.running import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cluster.place import ClusterPlace

pytestmark = pytest.mark.cluster

GROUP = {**QUICK, "name": "pair", "max_steps": 400, "save_steps": 50, "logging_steps": 1, "lora_dropout": 0.0, "compute_type": "fp32"}
KINDS = ["jobset", pytest.param("job", marks=pytest.mark.slow)]
"""Six minutes each: every landing runs the first."""


def submit(place: ClusterPlace, name: str) -> str:
    """Starts the experiment on two machines; the run's id."""
    return place.submit(place.experiment(name, [GROUP], resources={"nodes": 2}))


def losses(place: ClusterPlace, name: str) -> list[float]:
    """The loss of every step of the only attempt."""
    lines, _ = read_lines(f"{place.job_folder(name)}/events.jsonl")
    return [event["loss"] for event in map(json.loads, lines) if event["event"] == "step"]


def weights(place: ClusterPlace, name: str) -> str:
    """The digest of the adapter that training wrote."""
    record = read_record(f"{place.job_folder(name)}/result.json", LLMCheckpoint)
    assert record is not None
    return next(entry.sha256 for entry in record.files if entry.path == "adapter_model.safetensors")


def machines(place: ClusterPlace, name: str) -> dict[str, dict[str, Any]]:
    """The living pods that train for an experiment, by rank."""
    pods = [pod for pod in place.cluster.pods(experiment=name, stage="train") if pod["status"]["phase"] == "Running"]
    return {pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"]: pod for pod in pods}


def entrypoints_of(rank: str) -> list[psutil.Process]:
    """The first process of a machine's container: pods of this cluster are processes of this machine."""
    found = []
    for process in psutil.process_iter():
        try:
            if "dtx_tasks.entrypoints" in process.cmdline() and process.environ().get("JOB_COMPLETION_INDEX") == rank:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


@pytest.fixture(scope="module", params=KINDS)
def whole(request: pytest.FixtureRequest, place: ClusterPlace) -> tuple[str, str, list[float], str]:
    """An uninterrupted run: the kind of workload, the experiment's name, its losses and its weights; what it trained is removed."""
    name = f"pair-{request.param}"
    with place.changed(several_nodes=request.param):
        run_id = submit(place, name)
        assert place.wait(run_id) == "success", place.log(run_id, "finetune.train")
    log = place.log(run_id, "finetune.train")
    assert "rank 0: Running" in log
    assert "[rank 0] {" in log
    assert "rank 1: Running" in log
    found = request.param, name, losses(place, name), weights(place, name)
    remove(place.job_folder(name))
    return found


def test_two_machines_learn_what_one_does(whole: tuple[str, str, list[float], str], tmp_path: Path) -> None:
    """The losses of the first 20 steps, against one process on this machine."""
    _, _, found, _ = whole
    trial = make_trial(tmp_path, "alone", [GROUP]).ready()
    process = trial.process("train", trial.uris.packs[0])
    list(process.lines())
    assert process.wait() == 0
    alone = [event["loss"] for event in trial.events() if event["event"] == "step"]
    assert found[:20] == pytest.approx(alone[:20], rel=1e-5)


def test_machines_start_again_together(whole: tuple[str, str, list[float], str], place: ClusterPlace) -> None:
    """One rank is killed; both go on from the last checkpoint, to the same weights."""
    kind, name, _, expected = whole
    with place.changed(several_nodes=kind):
        run_id = submit(place, name)
        place.until_step(name)
        for process in entrypoints_of("1"):
            # With its init the container is gone, and with it the rest.
            with suppress(psutil.NoSuchProcess, ProcessLookupError):
                process.kill()
        assert place.wait(run_id) == "success", place.log(run_id, "finetune.train")
    first, *_, last = place.attempts(name)
    assert first["error_class"]
    assert last["started_from_step"] >= 100
    assert weights(place, name) == expected
    remove(place.job_folder(name))


def test_job_set_starts_again_by_itself(whole: tuple[str, str, list[float], str], place: ClusterPlace) -> None:
    """A machine that is taken away costs no try of the task; a plain Job needs Airflow's."""
    kind, name, _, expected = whole
    with place.changed(several_nodes=kind):
        run_id = submit(place, name)
        place.until_step(name)
        place.cluster.evict(machines(place, name)["1"]["metadata"]["name"])
        assert place.wait(run_id) == "success", place.log(run_id, "finetune.train")
    assert weights(place, name) == expected
    assert [task.try_number for task in place.tasks(run_id, "finetune.train")] == [1 if kind == "jobset" else 2]
    assert place.cluster.pods(experiment=name) == []
    remove(place.job_folder(name))


def test_cancelled_machines_save_and_go(place: ClusterPlace) -> None:
    """The workload is removed; what was learned stays."""
    run_id = place.submit(place.experiment("pair-cancelled", [{**GROUP, "max_steps": 20000}], resources={"nodes": 2}))
    place.until_step("pair-cancelled", 50)
    place.must("cancel", run_id)
    until(lambda: not place.cluster.pods(experiment="pair-cancelled"), "the pods are gone")
    until(lambda: not kubectl("get", "jobsets", "-n", place.cluster.namespace, "-l", "dtx/experiment=pair-cancelled", "-o", "name"), "the workload is gone")
    assert max(place.checkpoints("pair-cancelled")) >= 50
