"""What the plugin tells Airflow; light, since Airflow loads plugins in every task as well."""

from __future__ import annotations

from typing import Any

PREFIX = "/dtx"

# Without a leading slash: with one, the links lead nowhere when Airflow's address has a path.
VIEWS = [
    {
        "name": "实验 Experiment",
        "href": f"{PREFIX[1:]}/dags/{{DAG_ID}}/runs/{{RUN_ID}}",
        "destination": "dag_run",
        "url_route": "dtx-experiment",
    },
    {
        "name": "任务 Jobs",
        "href": f"{PREFIX[1:]}/dags/{{DAG_ID}}/runs/{{RUN_ID}}/tasks/{{TASK_ID}}?map_index={{MAP_INDEX}}",
        "destination": "task_instance",
        "url_route": "dtx-jobs",
    },
]


def mounted_app() -> dict[str, Any]:
    """The pages' app and where it is mounted."""
    # Importing Airflow's login check costs 2 s, which no task should pay.
    from dtx_tasks.web.app import make_app

    return {"app": make_app(), "url_prefix": PREFIX, "name": "DTX"}
