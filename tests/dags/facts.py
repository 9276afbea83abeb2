"""Prints what Airflow makes of the DAG files, as one line of JSON: run in a process of its own, with its own AIRFLOW_HOME."""

from __future__ import annotations

import json
import sys
from typing import Any

from airflow.dag_processing.dagbag import DagBag


def _task(task: Any) -> dict[str, Any]:
    return {
        "operator": task.task_type,
        "trigger_rule": str(getattr(task.trigger_rule, "value", task.trigger_rule)),
        "upstream": sorted(task.upstream_task_ids),
        "is_mapped": task.is_mapped or task.get_closest_mapped_task_group() is not None,
        "template_fields": list(task.template_fields),
        "map_index_template": task.map_index_template,
        "retries": task.retries,
        "pool": task.pool,
    }


def _dag(dag: Any) -> dict[str, Any]:
    return {
        "schedule": dag.schedule,
        "catchup": dag.catchup,
        "tags": sorted(dag.tags),
        "params": {key: dag.params.get_param(key).schema for key in dag.params},
        "defaults": dag.params.dump(),
        "native": dag.render_template_as_native_obj,
        "tasks": {task.task_id: _task(task) for task in dag.tasks},
    }


if __name__ == "__main__":
    bag = DagBag(dag_folder=sys.argv[1])
    facts = {"dags": {name: _dag(dag) for name, dag in bag.dags.items()}, "errors": bag.import_errors}
    print(json.dumps(facts, default=str))
