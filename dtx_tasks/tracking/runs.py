"""MLflow experiments and runs, found by a key or created: publishing twice leaves one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dtx_tasks.records import Layout, Record, RunReference, slug
from dtx_tasks.storage import claim_within, is_remote, list_names, local_path, read_record, unique_owner, write_record
from dtx_tasks.tracking.server import connect

if TYPE_CHECKING:
    from collections.abc import Mapping

RUN_KEY = "dtx.run_key"
WAIT_S = 30.0


class ParentRun(Record):
    """The MLflow run of a DAG run."""

    mlflow_experiment_id: str
    mlflow_run_id: str


def experiment_id(layout: Layout, name: str) -> str:
    """The MLflow experiment of a FinetuneExperiment, whose artifacts lie beside the team's other folders."""
    from mlflow.exceptions import MlflowException

    client, title = connect(), f"dtx/{name}" if layout.team == "default" else f"dtx/{layout.team}/{name}"
    found = client.get_experiment_by_name(title)
    if found is None:
        try:
            return str(client.create_experiment(title, _address(layout.artifacts(name)), {"dtx.team": layout.team}))
        except MlflowException:
            # Somebody else created it in between.
            found = client.get_experiment_by_name(title)
            if found is None:
                raise
    return str(found.experiment_id)


def _address(uri: str) -> str:
    return uri if is_remote(uri) else local_path(uri).resolve().as_uri()


def find_run(experiment: str, key: str) -> str | None:
    """The id of the run with a key, the oldest one should there be several."""
    quoted = key.replace("'", "")
    runs = connect().search_runs([experiment], f"tags.`{RUN_KEY}` = '{quoted}'", order_by=["attributes.start_time ASC"], max_results=1)
    return str(runs[0].info.run_id) if runs else None


def ensure_run(experiment: str, key: str, name: str, tags: Mapping[str, str]) -> str:
    """The id of the run with a key, created where there is none."""
    found = find_run(experiment, key)
    if found:
        return found
    return str(connect().create_run(experiment, run_name=name, tags={**tags, RUN_KEY: key}).info.run_id)


def first_run(layout: Layout, experiment_name: str, plan_id: str) -> RunReference | None:
    """The DAG run that began a plan: the jobs' runs are children of its run."""
    folder = f"{layout.experiment(experiment_name, plan_id)}/runs"
    known = [read_record(f"{folder}/{name}", RunReference) for name in list_names(folder)]
    return min((run for run in known if run), key=lambda run: run.started_at, default=None)


def ensure_parent(run: RunReference, layout: Layout) -> str:
    """The MLflow run of a DAG run; noted beside the experiment's other records."""
    uri = parent_uri(run, layout)
    # Publishers of different jobs meet here.
    with claim_within(f"{uri}.claim", unique_owner(), WAIT_S):
        noted = read_record(uri, ParentRun)
        if noted and _is_there(noted.mlflow_run_id):
            return noted.mlflow_run_id
        experiment = experiment_id(layout, run.experiment_name)
        tags = {"dtx.role": "experiment", "dtx.plan_id": run.plan_id, "dtx.dag_id": run.dag_id, "dtx.dag_run_id": run.run_id}
        found = ensure_run(experiment, f"{run.plan_id}:{run.run_id}", run.run_id, tags)
        write_record(uri, ParentRun(mlflow_experiment_id=experiment, mlflow_run_id=found))
        return found


def _is_there(run_id: str) -> bool:
    """Whether MLflow still has a run: its database may have been set up anew."""
    from mlflow.exceptions import MlflowException

    try:
        connect().get_run(run_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise
    return True


def parent_uri(run: RunReference, layout: Layout) -> str:
    """Where the MLflow run of a DAG run is noted."""
    return f"{layout.experiment(run.experiment_name, run.plan_id)}/tracking/runs/{slug(f'{run.dag_id} {run.run_id}', 90)}.json"
