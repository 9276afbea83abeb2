"""Removes what is left in the cluster and belongs to nobody: no task waits for it, or its time is over."""

from __future__ import annotations

import json
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, get_current_context, task
from airflow.sdk.exceptions import AirflowException

from dtx_tasks.catalog.backend import load_backend
from dtx_tasks.launch.pods import MANAGED_BY
from dtx_tasks.orchestration.connection import use_connection
from dtx_tasks.settings import root
from dtx_tasks.storage import list_names

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dtx_tasks.orchestration.cluster import WorkloadClient

EVERY = timedelta(minutes=10)

YOUNG_S = 600.0
"""What is younger may belong to a task whose state is just changing."""

ALIVE = frozenset({"running", "deferred", "queued", "scheduled", "up_for_retry", "up_for_reschedule", "restarting", "awaiting_input"})
"""States of a task instance that waits for its pod, or will look for it."""


def housekeeping_dags(dag_id: str, doc_md: str = "") -> dict[str, DAG]:
    """The DAG by its id; none where stages are local processes, which end with their tasks.

    Args:
        dag_id: Its name.
        doc_md: What the UI shows about it.
    """
    if load_backend().backend != "kubernetes":
        return {}
    with DAG(dag_id, schedule=EVERY, catchup=False, max_active_runs=1, tags=["dtx"], doc_md=doc_md, is_paused_upon_creation=False, auto_register=False) as dag:
        task(task_id="remove_orphans", retries=2)(remove_orphans)()
    return {dag_id: dag}


def remove_orphans() -> int:
    """Removes orphans of every team; how many."""
    from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook
    from kubernetes.client.exceptions import ApiException

    from dtx_tasks.orchestration.cluster import WorkloadClient

    use_connection()
    backend, removed, refused = load_backend(), 0, list[str]()
    cluster = WorkloadClient(KubernetesHook(conn_id="kubernetes_default").api_client)
    teams = [team for team in list_names(root()) if "{team}" in backend.namespace] or ["default"]
    for namespace in sorted({backend.namespace.format(team=team) for team in teams}):
        try:
            removed += _remove_orphans(cluster, namespace)
        except ApiException as error:
            # The namespaces of other teams are looked after all the same.
            refused.append(f"{namespace}: {error.status} {error.reason}")
    if refused:
        raise AirflowException(f"Some namespaces could not be looked at: {'; '.join(refused)}")
    return removed


def _remove_orphans(cluster: WorkloadClient, namespace: str) -> int:
    orphans = [
        item
        for item in cluster.managed(namespace, f"app.kubernetes.io/managed-by={MANAGED_BY}")
        if is_orphan(item["metadata"], state_of(item["metadata"]), time.time())
    ]
    for item in orphans:
        print(f"Removing {item['kind']} {namespace}/{item['metadata']['name']}: nobody waits for it.")
        cluster.remove(item["kind"], item["metadata"]["name"], namespace)
    return len(orphans)


def is_orphan(metadata: dict[str, Any], state: str | None, now: float) -> bool:
    """Whether an object belongs to nobody.

    Args:
        metadata: Of a pod or workload.
        state: Of the task instance that made it; None when there is none.
        now: Unix time.
    """
    annotations = metadata.get("annotations", {})
    deadline = float(annotations.get("dtx/deadline", 0))
    is_overdue = 0 < deadline < now
    return is_overdue or (state not in ALIVE and now - _made_at(metadata) > YOUNG_S)


def state_of(metadata: dict[str, Any]) -> str | None:
    """The state of the task instance that made an object."""
    owner = json.loads(metadata.get("annotations", {}).get("dtx/owner", "{}"))
    if not owner:
        return None
    ti: Any = get_current_context()["ti"]
    found = ti.get_task_states(
        dag_id=owner["dag_id"],
        task_ids=[owner["task_id"]],
        run_ids=[owner["run_id"]],
        map_index=owner["map_index"] if owner["map_index"] >= 0 else None,
    )
    states: Iterable[str | None] = found.get(owner["run_id"], {}).values()
    return next((str(state) for state in states if state), None)


def _made_at(metadata: dict[str, Any]) -> float:
    return datetime.fromisoformat(metadata["creationTimestamp"]).timestamp()
