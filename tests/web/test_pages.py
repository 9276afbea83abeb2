"""What the pages say: of a run, of a mapped task, and where the links lead."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from dtx_tasks.entrypoints.failures import note_failure
from dtx_tasks.errors import DataError, DivergedError
from dtx_tasks.report import write_report
from dtx_tasks.select import select
from dtx_tasks.storage import append_line, claim, write_bytes, write_record
from dtx_tasks.tracking.publish import Published, published_uri
from dtx_tasks.tracking.runs import ParentRun, parent_uri
from dtx_tasks.web.experiment import find_experiment
from tests.builders import make_experiment, make_matrix, make_plan
from tests.web.conftest import DAG_ID, RUN_ID, make_two_jobs

if TYPE_CHECKING:
    from dtx_tasks.records import RunReference
    from tests.builders import Store
    from tests.web.conftest import Site

TRAIN = "/tasks/finetune.train?map_index="
HOSTILE = "<script>alert(1)<script>{{7777*7777}}{% include 'run.html.jinja' %}"


def finished(site: Site) -> Store:
    """An experiment with a verdict and a report."""
    store = site.carry_out()
    store.finish()
    select(store.plan, store.layout)
    write_report(store.plan, store.layout)
    return store


def test_a_run_shows_its_verdict_and_its_leaderboard(site: Site):
    """Every candidate, the base among them."""
    store = finished(site)
    text = site.log_in().get().text
    assert "Leaderboard" in text
    assert all(job.name in text for job in store.plan.jobs)
    assert "base (base)" in text


def test_a_run_that_is_at_work_shows_how_far_it_is(site: Site):
    """One of two jobs is scored: the page comes again by itself."""
    store = site.carry_out()
    store.score_job(store.plan.jobs[0], validation=[1.0], test=[1.0])
    text = site.log_in().get().text
    assert "jobs scored 1 / 2" in text
    assert 'value="0.5"' in text
    assert 'data-refresh="10"' in text


def test_a_finished_run_does_not_come_again_by_itself(site: Site):
    """Nothing on it will change."""
    finished(site)
    assert "data-refresh" not in site.log_in().get().text


def test_a_run_without_a_verdict_shows_why(site: Site):
    """The report is there, the verdict is not."""
    store = site.carry_out()
    pack = store.plan.packs[0]
    note_failure("train", pack.jobs[0].job_id, pack, store.layout, "round", DivergedError("The loss is nan at step 3.", "Try a lower one."))
    write_report(store.plan, store.layout)
    text = site.log_in().get().text
    assert "No job could be judged" in text
    assert "The loss is nan at step 3." in text


def test_the_report_is_served_as_it_is_but_runs_nothing(site: Site):
    """Whatever got into the file."""
    store = finished(site)
    write_bytes(f"{store.folder}/report.html", b"<script>1</script>")
    answer = site.log_in().get("/report")
    assert answer.text == "<script>1</script>"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert "script-src" not in answer.headers["content-security-policy"]


def test_a_report_that_is_not_written_yet_is_explained(site: Site):
    """And not linked to."""
    site.carry_out()
    answer = site.log_in().get("/report")
    assert answer.status_code == 404
    assert "at the end" in answer.text
    assert "/report" not in site.get().text


@pytest.mark.parametrize("number", [0, 1])
def test_a_mapped_task_shows_its_own_pack(site: Site, number: int):
    """The map index counts the plan's packs."""
    store = site.carry_out()
    text = site.log_in().get(f"{TRAIN}{number}").text
    assert store.plan.packs[number].jobs[0].name in text
    assert store.plan.packs[1 - number].jobs[0].name not in text


def test_a_pack_that_trains_shows_its_latest_loss(site: Site):
    """From the events, the last line of which may still be being written."""
    store = site.carry_out()
    job = store.plan.jobs[0]
    uri = f"{store.layout.job(job.job_id)}/events.jsonl"
    for step in (1, 2):
        append_line(uri, json.dumps({"event": "step", "step": step, "total": 9, "loss": 3.5 / step, "eta_s": 7.2, "tokens_per_s": 10.0}))
    with claim(f"{store.layout.job(job.job_id)}/claim.json", "a test"):
        text = site.log_in().get(f"{TRAIN}0").text
    assert "training" in text
    assert "1.750" in text
    assert "<polyline" in text


def test_a_failed_job_shows_its_reason(site: Site):
    """With what to do about it."""
    store = site.carry_out()
    pack = store.plan.packs[1]
    note_failure("train", pack.jobs[0].job_id, pack, store.layout, "round", DivergedError("The loss is nan at step 3.", "Try a lower one."))
    assert "The loss is nan at step 3. Try a lower one." in site.log_in().get(f"{TRAIN}1").text


def test_a_prepared_dataset_shows_its_rows(site: Site):
    """Of the task `prepare`."""
    finished(site)
    assert "20 tokens" in site.log_in().get("/tasks/prepare?map_index=0").text


def test_a_dataset_that_cannot_be_prepared_shows_its_reason(site: Site):
    """Its jobs fail with the same one."""
    store = site.carry_out()
    document = store.plan.prepared[0]
    note_failure("prepare", document.prepared_id, document, store.layout, "round", DataError("rows.jsonl:3: no output."))
    assert "rows.jsonl:3: no output." in site.log_in().get("/tasks/prepare?map_index=0").text


@pytest.mark.parametrize("task_id", ["fetch", "score_base"])
def test_a_base_shows_what_it_is(site: Site, task_id: str):
    """Of the tasks `fetch` and `score_base`."""
    store = finished(site)
    assert store.plan.bases[0].llm.revision in site.log_in().get(f"/tasks/{task_id}?map_index=0").text


def test_a_base_that_is_fetched_and_not_scored_says_so(site: Site):
    """The two tasks share a document, and are at different points."""
    store = site.carry_out()
    store.fetch(store.plan.bases[0])
    assert "已取得 fetched" in site.log_in().get("/tasks/fetch?map_index=0").text
    assert "等待 waiting" in site.get("/tasks/score_base?map_index=0").text


def test_a_task_that_is_not_mapped_shows_the_run(site: Site):
    """Airflow leaves its placeholder in the address."""
    site.carry_out()
    assert "jobs scored 0 / 2" in site.log_in().get("/tasks/select?map_index=%7BMAP_INDEX%7D").text


@pytest.mark.parametrize("path", [f"{TRAIN}2", f"{TRAIN}99999999999", "/tasks/unknown?map_index=0"])
def test_a_task_outside_the_plan_shows_nothing(site: Site, path: str):
    """A friendly page, not a traceback."""
    site.carry_out()
    answer = site.log_in().get(path)
    assert answer.status_code == 404
    assert "nothing for this task" in answer.text


@pytest.mark.parametrize("path", ["", f"{TRAIN}0"])
def test_runs_link_to_their_mlflow_runs(site: Site, path: str):
    """That of the DAG run and that of the job."""
    store = site.carry_out()
    write_record(published_uri(store.plan.jobs[0].job_id, store.folder), Published(mlflow_run_id="job-run", mlflow_experiment_id="7"))
    write_record(parent_uri(run_of(site), store.layout), ParentRun(mlflow_experiment_id="7", mlflow_run_id="dag-run"))
    text = site.log_in().get(path).text
    assert 'href="https://mlflow.example/#/experiments/7/runs/job-run?' in text
    assert 'href="https://mlflow.example/#/experiments/7/runs/dag-run?' in text


@pytest.mark.parametrize("path", ["", f"{TRAIN}0"])
def test_without_mlflow_a_page_says_so(site: Site, path: str, monkeypatch: pytest.MonkeyPatch):
    """A database is no address for a browser."""
    monkeypatch.delenv("DTX_MLFLOW_URL")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////tmp/mlflow.db")
    store = site.carry_out()
    write_record(published_uri(store.plan.jobs[0].job_id, store.folder), Published(mlflow_run_id="job-run", mlflow_experiment_id="7"))
    answer = site.log_in().get(path)
    assert answer.status_code == 200
    assert "no address of MLflow" in answer.text


@pytest.mark.parametrize("path", ["", f"{TRAIN}0"])
def test_what_an_author_wrote_is_shown_and_never_run(site: Site, path: str):
    """Neither by the browser nor as a template."""
    matrix = make_matrix(hyperparameters=[HOSTILE])
    site.carry_out(make_plan(make_experiment(name=HOSTILE, description=HOSTILE, matrix=matrix)))
    text = site.log_in().get(path).text
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)&lt;script&gt;{{7777*7777}}" in text
    assert "60481729" not in text


def test_a_failure_message_is_shown_and_never_run(site: Site):
    """It may quote a row of the author's data."""
    store = site.carry_out()
    pack = store.plan.packs[0]
    note_failure("train", pack.jobs[0].job_id, pack, store.layout, "round", DataError(HOSTILE))
    assert "<script>alert" not in site.log_in().get().text + site.get(f"{TRAIN}0").text


def test_links_keep_the_path_that_airflow_is_reached_by(site: Site):
    """Behind a proxy that serves it below /airflow."""
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    finished(site)
    airflow = FastAPI(root_path="/airflow")
    airflow.mount("/dtx", site.log_in().app)
    text = TestClient(airflow).get(f"/airflow/dtx/dags/{DAG_ID}/runs/{RUN_ID.replace('+', '%2B')}").text
    assert 'href="/airflow/dtx/assets/page.css"' in text
    assert f'href="/airflow/dtx/dags/{DAG_ID}/runs/manual__2026-11-21T13%3A25%3A32.838114%2B00%3A00/report"' in text


def test_a_job_that_another_experiment_trained_is_marked(site: Site):
    """Its curve and its cost are not this run's."""
    store = site.carry_out()
    store.train(store.plan.jobs[0], made_for="earlier 1234")
    assert "earlier 1234" in site.log_in().get(f"{TRAIN}0").text


def test_a_plan_of_another_version_is_no_traceback(site: Site):
    """It cannot be read: the run has to be started again."""
    store = site.carry_out(make_two_jobs())
    write_bytes(f"{store.folder}/plan.json", b"{}")
    assert site.log_in().get().status_code == 404


def run_of(site: Site) -> RunReference:
    """The run as it is noted."""
    found = find_experiment(str(site.root), DAG_ID, RUN_ID)
    assert found is not None
    return found.run
