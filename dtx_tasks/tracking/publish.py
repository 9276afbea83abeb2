"""Copies what a job's records say to its MLflow run, from where the last copy ended."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from dtx_tasks.plan import is_estimate
from dtx_tasks.plan.identity import learned_values
from dtx_tasks.records import BestVersion, ExperimentPlan, FailureRecord, FinetuneJob, Layout, LLMCheckpoint, Record, RunReference, ScoreCards, StageDocument
from dtx_tasks.storage import claim_within, read_lines, read_record, unique_owner, write_record
from dtx_tasks.tracking.runs import ensure_parent, ensure_run, experiment_id, first_run
from dtx_tasks.tracking.series import figures
from dtx_tasks.tracking.server import connect, is_configured, tracking_errors

if TYPE_CHECKING:
    from mlflow.entities import Metric

WAIT_S = 60.0

BATCH = 1000
"""Metrics in one request: MLflow's limit."""


class Published(Record):
    """How far a job's records are copied."""

    mlflow_run_id: str
    mlflow_experiment_id: str = ""
    offset: int = 0
    """Bytes of the events that are copied."""
    last_step: int = 0
    last_validation: int = 0
    """The step of the last one that is copied."""
    checkpoint_digest: str = ""
    scores_digest: str = ""
    status: str = "RUNNING"


def publish_job(job: FinetuneJob, document: StageDocument, scoring_id: str, layout: Layout, *, is_last: bool = False) -> str:
    """Brings a job's MLflow run up to date.

    Args:
        job: Which job.
        document: Any document of the experiment.
        scoring_id: Of the ScoreCards to copy.
        layout: Where the records are.
        is_last: Nothing more will come: also set the run's final status.

    Returns:
        The MLflow run's id.

    Raises:
        ClaimedError: Somebody else is publishing this job.
    """
    uri = published_uri(job.job_id, layout.experiment(document.experiment_name, document.plan_id))
    # The last word must be said; before that, somebody else's publishing is as good.
    with claim_within(f"{uri}.claim", unique_owner(), WAIT_S if is_last else 0.0):
        before = read_record(uri, Published) or _begun(job, document, layout)
        after = _copy_scores(job, scoring_id, layout, _copy_checkpoint(job, document, layout, _copy_events(job, layout, before)))
        if is_last:
            after = _finish(job, document, layout, after)
        if after != before or before.offset == 0:
            write_record(uri, after)
        return after.mlflow_run_id


def publish_experiment(plan: ExperimentPlan, verdict: BestVersion | None, run: RunReference, layout: Layout) -> dict[str, str]:
    """Brings the MLflow runs of a DAG run and of all its jobs up to date and ends them.

    Args:
        plan: What was done.
        verdict: What came of it; None when nothing could be judged.
        run: The DAG run.
        layout: Where the records are.

    Returns:
        The MLflow run's id of each job; nothing where no MLflow is configured.

    Raises:
        TransientError: MLflow cannot be reached.
    """
    if not is_configured():
        return {}
    with tracking_errors():
        job_runs = {job.job_id: publish_job(job, plan.packs[0], plan.scoring.scoring_id, layout, is_last=True) for job in plan.jobs}
        publish_verdict(plan, verdict, run, job_runs, layout)
    return job_runs


def publish_verdict(plan: ExperimentPlan, verdict: BestVersion | None, run: RunReference, job_runs: dict[str, str], layout: Layout) -> str:
    """Brings a DAG run's MLflow run up to date and ends it.

    Args:
        plan: What was done.
        verdict: What came of it; None when nothing could be judged.
        run: The DAG run.
        job_runs: MLflow run id of each job.
        layout: Where its records are.

    Returns:
        The MLflow run's id.
    """
    client, parent = connect(), ensure_parent(run, layout)
    report_uri = f"{layout.experiment(plan.name, plan.plan_id)}/report.html"
    tags = {"dtx.report_uri": report_uri, "dtx.num_jobs": str(len(plan.jobs))}
    if verdict:
        tags |= {"dtx.best": verdict.best_name, "dtx.best_id": verdict.best_id, "mlflow.note.content": verdict.reason}
        best = verdict.candidates[0]
        found = {"validation": best.validation, "test": best.test}
        _log(parent, _now({f"best/{split}/{verdict.metric}": value for split, value in found.items() if value is not None}))
    children = sorted(job_runs.values())
    if children:
        tags["dtx.job_runs"] = ",".join(children)[:5000]
    _tag(parent, tags)
    client.set_terminated(parent, "FINISHED" if verdict else "FAILED")
    return parent


def published_uri(job_id: str, folder: str) -> str:
    """Where it is noted how far a job is copied.

    Args:
        job_id: Of the job.
        folder: Of the experiment.
    """
    return f"{folder}/tracking/{job_id}.json"


def tags_of(job: FinetuneJob, plan_id: str) -> dict[str, str]:
    """What a job's run is found by.

    Args:
        job: Which job.
        plan_id: Of the plan that it is part of.
    """
    tags = {"dtx.role": "job", "dtx.plan_id": plan_id, "dtx.job_id": job.job_id, "dtx.llm": job.llm.name, "dtx.dataset": job.dataset_name}
    return tags | {"dtx.hyperparameters": job.group_name} | ({"dtx.changes": job.changes[:5000]} if job.changes else {})


def _begun(job: FinetuneJob, document: StageDocument, layout: Layout) -> Published:
    began = first_run(layout, document.experiment_name, document.plan_id)
    tags = tags_of(job, document.plan_id)
    if began:
        tags |= {"mlflow.parentRunId": ensure_parent(began, layout), "dtx.dag_id": began.dag_id, "dtx.dag_run_id": began.run_id}
    experiment = experiment_id(layout, document.experiment_name)
    run_id = ensure_run(experiment, f"{document.plan_id}:{job.job_id}", job.name, tags)
    _log_inputs(run_id, job)
    return Published(mlflow_run_id=run_id, mlflow_experiment_id=experiment)


def _log_inputs(run_id: str, job: FinetuneJob) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag, Param

    values = {"llm": job.llm.name, "dataset": job.dataset_name, "hyperparameters": job.group_name, "seed": job.seed}
    if not is_estimate(job.hyperparameters):
        values["num_steps"] = job.num_steps
    params = [Param(key, str(value)) for key, value in {**values, **learned_values(job.hyperparameters)}.items()]
    connect().log_batch(run_id, params=params)
    source = json.dumps({"prepared_id": job.prepared_id})
    dataset = Dataset(name=job.dataset_name, digest=job.prepared_id, source_type="dtx", source=source)
    connect().log_inputs(run_id, datasets=[DatasetInput(dataset, tags=[InputTag("mlflow.data.context", "train")])])


def _copy_events(job: FinetuneJob, layout: Layout, state: Published) -> Published:
    from mlflow.entities import Metric

    uri = f"{layout.job(job.job_id)}/events.jsonl"
    lines, offset = read_lines(uri, state.offset)
    if lines and not lines[0].startswith("{"):
        # Somebody removed the job's folder, and it was trained anew: the offset is one of other words.
        lines, offset = read_lines(uri)
    metrics: list[Metric] = []
    last = {"step": state.last_step, "validation": state.last_validation}
    for event in map(json.loads, lines):
        # A resumed attempt repeats the steps behind its checkpoint, to the same figures.
        if event["event"] in last and event["step"] > last[event["event"]]:
            last[event["event"]] = event["step"]
            metrics += [Metric(name, value, int(event["at"] * 1000), event["step"]) for name, value in figures(event).items()]
    _log(state.mlflow_run_id, metrics)
    return state.model_copy(update={"offset": offset, "last_step": last["step"], "last_validation": last["validation"]})


def _copy_checkpoint(job: FinetuneJob, document: StageDocument, layout: Layout, state: Published) -> Published:
    checkpoint = read_record(f"{layout.job(job.job_id)}/result.json", LLMCheckpoint)
    if checkpoint is None or checkpoint.digest == state.checkpoint_digest:
        return state
    names = ("final_loss", "train_s", "num_trained_tokens", "num_trained_parameters", "peak_memory_bytes")
    _log(state.mlflow_run_id, _now({f"train/{name}": float(getattr(checkpoint, name)) for name in names}))
    tags = {"dtx.checkpoint_uri": f"{layout.job(job.job_id)}/checkpoint", "dtx.checkpoint_digest": checkpoint.digest}
    if checkpoint.made_for != f"{document.experiment_name} {document.plan_id}":
        tags["dtx.reused_from"] = checkpoint.made_for
    _tag(state.mlflow_run_id, tags)
    return state.model_copy(update={"checkpoint_digest": checkpoint.digest})


def _copy_scores(job: FinetuneJob, scoring_id: str, layout: Layout, state: Published) -> Published:
    folder = layout.score(job.job_id, scoring_id)
    scored = read_record(f"{folder}/scores.json", ScoreCards)
    if scored is None or scored.digest == state.scores_digest:
        return state
    values: dict[str, float] = {}
    for card in scored.cards.values():
        for score in card.scores.values():
            if score.value is not None:
                values[f"{card.split}/{score.metric}"] = score.value
            if score.standard_error is not None:
                values[f"{card.split}/{score.metric}_standard_error"] = score.standard_error
    _log(state.mlflow_run_id, _now(values))
    _tag(state.mlflow_run_id, {"dtx.predictions_uri": f"{folder}/files/predictions.jsonl"})
    return state.model_copy(update={"scores_digest": scored.digest})


def _finish(job: FinetuneJob, document: StageDocument, layout: Layout, state: Published) -> Published:
    status = "FINISHED" if state.scores_digest else "FAILED"
    if status == "FAILED":
        folder = f"{layout.experiment(document.experiment_name, document.plan_id)}/failures"
        known = (read_record(f"{folder}/{stage}/{job.job_id}.json", FailureRecord) for stage in ("train", "score"))
        failure = next((record for record in known if record), None)
        _tag(state.mlflow_run_id, {"dtx.failure": f"{failure.error_class}: {failure.message}"[:5000] if failure else "no result"})
    if status != state.status:
        connect().set_terminated(state.mlflow_run_id, status)
    return state.model_copy(update={"status": status})


def _now(values: dict[str, float]) -> list[Metric]:
    from mlflow.entities import Metric

    return [Metric(name, value, int(time.time() * 1000), 0) for name, value in values.items()]


def _log(run_id: str, metrics: list[Metric]) -> None:
    for start in range(0, len(metrics), BATCH):
        connect().log_batch(run_id, metrics=metrics[start : start + BATCH])


def _tag(run_id: str, tags: dict[str, str]) -> None:
    from mlflow.entities import RunTag

    connect().log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])
