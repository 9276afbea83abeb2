"""Airflow: operators and tasks that adapt `launch` and the light stages to a DAG."""

from dtx_tasks.orchestration.dag import experiment_dag
from dtx_tasks.orchestration.form import trigger_form
from dtx_tasks.orchestration.housekeeping import housekeeping_dags
from dtx_tasks.orchestration.scheduled import scheduled_dags

__all__ = ["experiment_dag", "housekeeping_dags", "scheduled_dags", "trigger_form"]
