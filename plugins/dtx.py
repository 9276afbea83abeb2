"""Airflow plugin: one click from a DAG run, and from each mapped task, to its MLflow run and its report."""

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from dtx_tasks.web import VIEWS, mounted_app


class DtxPlugin(AirflowPlugin):
    """The pages of dtx_tasks.web."""

    name = "dtx"
    external_views = VIEWS

    @property
    def fastapi_apps(self) -> list[dict[str, Any]]:
        """Made when the API server asks: every task loads this file too."""
        return [mounted_app()]
