"""The pages that the plugin adds to Airflow's UI: a DAG run's experiment, a mapped task's jobs, and the report."""

from dtx_tasks.web.views import VIEWS, mounted_app

__all__ = ["VIEWS", "mounted_app"]
