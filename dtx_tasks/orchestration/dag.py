"""The DAG of an experiment: the flow of docs/design.md, expanded when it runs."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, TriggerRule, literal, task, task_group

from dtx_tasks.catalog.backend import load_backend
from dtx_tasks.orchestration.tasks import list_packs, list_prepare, plan_run, register_best, report_run, select_best
from dtx_tasks.settings import retry_delay_s

if TYPE_CHECKING:
    from airflow.sdk import Param

STAGE_RETRIES = 24
"""At most so many; the stages themselves refuse earlier, by the budgets of the failure table."""

REGISTER_RETRIES = 10
"""With growing pauses: MLflow may be away for more than an hour."""

LIGHT_RETRIES = 3
"""For tasks that are killed, or whose storage is away; what the author must mend fails at once."""

GRID_NAME = "{{ task.document_name }}"


def experiment_dag(
    dag_id: str, *, team: str, params: dict[str, Param] | None = None, schedule: str | None = None, spec_file: str | None = None, doc_md: str = ""
) -> DAG:
    """Builds the DAG.

    Args:
        dag_id: Its name.
        team: Whose experiments it runs.
        params: The trigger form.
        schedule: A cron expression; None for runs on request.
        spec_file: The experiment of every run; None where each request brings one.
        doc_md: What the UI shows about it.
    """
    with DAG(
        dag_id,
        schedule=schedule,
        catchup=False,
        params=params or {},
        tags=["dtx", team],
        doc_md=doc_md,
        max_active_runs=16,
        max_active_tasks=256,
        is_paused_upon_creation=False,
        # A list or a spec must arrive as it was written.
        render_template_as_native_obj=False,
        # The file that builds it decides which DAGs there are.
        auto_register=False,
    ) as dag:
        _build(team, spec_file)
    return dag


def _build(team: str, spec_file: str | None) -> None:
    bases: Any = task(task_id="plan", **_light())(plan_run)(team, literal(spec_file) if spec_file else None)
    prepared: Any = task(task_id="list_datasets", **_light())(list_prepare)()
    packs: Any = task(task_id="list_packs", **_light())(list_packs)()
    fetch = _mapped("fetch", bases)
    prepare = _mapped("prepare", prepared, trigger_rule=TriggerRule.ALL_DONE)

    @task_group(group_id="finetune")
    def finetune(document_uri: str) -> None:
        """One pack: trained, then scored."""
        train = _stage("train", document_uri=document_uri, trigger_rule=TriggerRule.ALL_DONE)
        score = _stage("score", document_uri=document_uri)
        train >> score

    jobs = finetune.expand(document_uri=packs)
    score_base = _mapped("score_base", bases, trigger_rule=TriggerRule.ALL_DONE)
    select: Any = task(task_id="select", trigger_rule=TriggerRule.ALL_DONE, **_light())(select_best)()
    register: Any = task(task_id="register", **_retries(REGISTER_RETRIES))(register_best)()
    report: Any = task(task_id="report", trigger_rule=TriggerRule.ALL_DONE, **_light())(report_run)()
    bases >> [prepared, packs]
    fetch >> prepare >> [jobs, score_base] >> select >> register >> report


def _mapped(stage: str, uris: Any, **settings: Any) -> Any:
    return _operator().partial(task_id=stage, stage=stage, map_index_template=GRID_NAME, **_heavy(), **settings).expand(document_uri=uris)


def _stage(stage: str, **settings: Any) -> Any:
    return _operator()(task_id=stage, stage=stage, map_index_template=GRID_NAME, **_heavy(), **settings)


def _operator() -> Any:
    """What runs stages on this backend; the provider for Kubernetes takes seconds to import."""
    if load_backend().backend == "kubernetes":
        from dtx_tasks.orchestration.pods import PodStageOperator

        return PodStageOperator
    from dtx_tasks.orchestration.operator import StageOperator

    return StageOperator


def _heavy() -> dict[str, Any]:
    return {**_retries(STAGE_RETRIES), "pool": load_backend().airflow_pool}


def _light() -> dict[str, Any]:
    return _retries(LIGHT_RETRIES)


def _retries(count: int) -> dict[str, Any]:
    return {"retries": count, "retry_delay": _delay(), "retry_exponential_backoff": 2.0, "max_retry_delay": timedelta(minutes=10)}


def _delay() -> timedelta:
    return timedelta(seconds=retry_delay_s())
