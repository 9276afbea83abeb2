"""Where people find runs in MLflow's own pages; known from records, so that nobody has to ask MLflow."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit, urlunsplit

from dtx_tasks.storage import read_record
from dtx_tasks.tracking.publish import Published, published_uri
from dtx_tasks.tracking.runs import ParentRun, parent_uri

if TYPE_CHECKING:
    from dtx_tasks.records import Layout, RunReference


def address() -> str:
    """Where a browser reaches MLflow: DTX_MLFLOW_URL, else MLFLOW_TRACKING_URI without its password; empty for a database."""
    parts = urlsplit(os.environ.get("DTX_MLFLOW_URL") or os.environ.get("MLFLOW_TRACKING_URI", ""))
    if parts.scheme not in ("http", "https"):
        return ""
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))


def run_url(run: RunReference, layout: Layout) -> str:
    """The page of a DAG run's MLflow run; empty where there is none yet, or no MLflow.

    Args:
        run: The DAG run.
        layout: Where its records are.
    """
    return _page(read_record(parent_uri(run, layout), ParentRun))


def job_url(job_id: str, folder: str) -> str:
    """The page of a job's MLflow run; empty where there is none yet, or no MLflow.

    Args:
        job_id: Of the job.
        folder: Of the experiment.
    """
    return _page(read_record(published_uri(job_id, folder), Published))


def _page(run: ParentRun | Published | None) -> str:
    if run is None or not run.mlflow_experiment_id or not address():
        return ""
    place = f"experiments/{quote(run.mlflow_experiment_id, safe='')}/runs/{quote(run.mlflow_run_id, safe='')}"
    # MLflow 3 shows the pages of agents and traces otherwise.
    return f"{address()}/#/{place}?workflowType=machine_learning"
