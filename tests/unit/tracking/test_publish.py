"""What of a job's events becomes its MLflow run, and that it stays one run; MLflow itself, on a database of the test's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from dtx_tasks.records import Difference, RunReference
from dtx_tasks.storage import append_line, write_record
from dtx_tasks.tracking import publish_job
from dtx_tasks.tracking.publish import tags_of
from dtx_tasks.tracking.series import figures
from dtx_tasks.tracking.server import connect
from tests.builders import Store, make_job, make_plan

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlflow import MlflowClient

PLAN = make_plan()
JOB, PACK = PLAN.jobs[0], PLAN.packs[0]


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowClient]:
    """An MLflow without a server."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    connect.cache_clear()
    yield connect()
    connect.cache_clear()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store on which two DAG runs carry the same plan out, one after the other."""
    made = Store(tmp_path / "store", PLAN)
    for number in (1, 2):
        run = RunReference(dag_id="d", run_id=f"run-{number}", started_at=float(number), team="default", experiment_name=PLAN.name, plan_id=PLAN.plan_id)
        write_record(f"{made.folder}/runs/{number}.json", run)
    return made


def attempt(store: Store, number: int, steps: range) -> str:
    """An attempt that tells of steps, and after the last of them of a validation; published, as it is while it runs."""
    told: list[dict[str, Any]] = [{"event": "started", "step": steps.start - 1}]
    told += [{"event": "step", "step": step, "loss": 10.0 - step, "lr": 1e-4, "metrics": {"rewards/margins": 0.1 * step}} for step in steps]
    told.append({"event": "validation", "step": steps.stop - 1, "loss": 2.0, "perplexity": 7.4})
    for event in told:
        append_line(f"{store.layout.job(JOB.job_id)}/events.jsonl", json.dumps({**event, "attempt": number, "at": 1000.0 + event["step"]}))
    return publish_job(JOB, PACK, PLAN.scoring.scoring_id, store.layout)


def curve(client: MlflowClient, run_id: str, name: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in client.get_metric_history(run_id, name)]


def test_job_is_one_run_over_its_retries(store: Store, client: MlflowClient) -> None:
    """The second attempt begins behind its checkpoint and repeats steps: each is there once, whoever publishes."""
    first = attempt(store, 1, range(1, 6))
    second = attempt(store, 2, range(4, 8))
    third = publish_job(JOB, PACK, PLAN.scoring.scoring_id, store.layout, is_last=True)
    assert first == second == third
    assert curve(client, first, "train/loss") == [(step, 10.0 - step) for step in range(1, 8)]
    assert curve(client, first, "eval/loss") == [(5, 2.0), (7, 2.0)]
    experiment = client.get_run(first).info.experiment_id
    jobs = client.search_runs([experiment], "tags.`dtx.role` = 'job'")
    assert [run.info.run_id for run in jobs] == [first]


def test_job_is_found_again_by_whoever_lost_the_note(store: Store, client: MlflowClient) -> None:
    """The run carries its key: a store that was moved without it makes no second one."""
    first = attempt(store, 1, range(1, 3))
    (store.root / "default").rename(store.root / "moved")  # type: ignore[operator]
    assert attempt(store, 2, range(1, 3)) == first


def test_figures_have_the_names_that_people_look_for() -> None:
    """MLflow shows what begins with `system/` on a page of its own; what is no number is left out."""
    event = {
        "event": "step",
        "loss": None,
        "perplexity": 9.0,
        "lr": 1e-4,
        "grad_norm": 0.5,
        "tokens_per_s": 90.0,
        "eta_s": 12.0,
        "metrics": {"rewards/accuracies": 0.75},
        "system": {"gpu_0_utilization_percentage": 80.0},
    }
    assert figures(event) == {
        "train/perplexity": 9.0,
        "train/learning_rate": 1e-4,
        "train/grad_norm": 0.5,
        "train/tokens_per_s": 90.0,
        "train/eta_s": 12.0,
        "train/rewards/accuracies": 0.75,
        "system/gpu_0_utilization_percentage": 80.0,
    }
    assert figures({"event": "validation", "loss": 2.0, "metrics": {"rewards/margins": 1.0}}) == {"eval/loss": 2.0, "eval/rewards/margins": 1.0}
    assert figures({"event": "checkpoint", "step": 3}) == {}


def test_run_names_the_group_and_its_changes() -> None:
    """Without any, there is no such tag."""
    job = make_job(max_steps=3)
    assert tags_of(job, "p")["dtx.hyperparameters"] == "quick"
    assert "dtx.changes" not in tags_of(job, "p")
    changed = job.model_copy(update={"difference": Difference(extends="lora", before={"max_steps": None})})
    assert tags_of(changed, "p")["dtx.changes"] == "quick is lora with max_steps: 3 (not set there)"
