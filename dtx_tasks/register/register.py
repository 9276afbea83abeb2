"""Publishes every job, then registers the best: once, however often it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dtx_tasks.errors import TransientError
from dtx_tasks.plan import CODE_VERSIONS
from dtx_tasks.records import LLMCheckpoint, RegisteredLLM, digest_of, slug
from dtx_tasks.storage import read_record, write_record
from dtx_tasks.tracking import is_configured, publish_experiment, register_version, tracking_errors

if TYPE_CHECKING:
    from dtx_tasks.records import BestVersion, ExperimentPlan, Layout, RunReference

ALIAS = "candidate"


def register(plan: ExperimentPlan, verdict: BestVersion, run: RunReference, layout: Layout) -> RegisteredLLM | None:
    """Brings MLflow up to date and registers the best version.

    Args:
        plan: What was done.
        verdict: What came of it.
        run: The DAG run.
        layout: Where the records are.

    Returns:
        The registered version; None when the base is the best: nothing is registered then.

    Raises:
        TransientError: No MLflow is configured, or it cannot be reached.
    """
    if not is_configured():
        raise TransientError("No MLflow is configured.", "Set MLFLOW_TRACKING_URI.")
    folder = layout.experiment(plan.name, plan.plan_id)
    job_runs = publish_experiment(plan, verdict, run, layout)
    if verdict.is_base:
        return None
    checkpoint = read_record(f"{layout.job(verdict.best_id)}/result.json", LLMCheckpoint)
    if checkpoint is None:
        raise TransientError(f"The checkpoint of {verdict.best_name} is not on storage.", "Clear its train task.")
    uri = f"{layout.job(verdict.best_id)}/checkpoint"
    with tracking_errors():
        version = register_version(
            plan.registered_name,
            uri,
            checkpoint.digest,
            ALIAS,
            _lineage(plan, verdict, run),
            job_runs[verdict.best_id],
            f"{layout.base}/registered/{slug(plan.registered_name)}.claim",
        )
    record = RegisteredLLM(
        code_version=CODE_VERSIONS["register"],
        inputs={"verdict": verdict.digest},
        digest=digest_of([plan.registered_name, version, checkpoint.digest], 64),
        libraries={},
        registered_name=plan.registered_name,
        version=version,
        alias=ALIAS,
        checkpoint_uri=uri,
        mlflow_run_id=job_runs[verdict.best_id],
    )
    write_record(f"{folder}/registered.json", record)
    return record


def _lineage(plan: ExperimentPlan, verdict: BestVersion, run: RunReference) -> dict[str, str]:
    job = next(job for job in plan.jobs if job.job_id == verdict.best_id)
    best = verdict.candidates[0]
    return {
        "dtx.experiment": plan.name,
        "dtx.plan_id": plan.plan_id,
        "dtx.job_id": job.job_id,
        "dtx.llm": job.llm.name,
        "dtx.llm_revision": job.llm.revision,
        "dtx.dataset": job.dataset_name,
        "dtx.prepared_id": job.prepared_id,
        "dtx.hyperparameters": job.group_name,
        "dtx.seed": str(job.seed),
        "dtx.dag_id": run.dag_id,
        "dtx.dag_run_id": run.run_id,
        f"dtx.validation.{verdict.metric}": f"{best.validation:.4f}",
    }
