"""Fine-tuning experiments by the clock: one Airflow dag for each file with a `schedule:` in the configured folder."""

from dtx_tasks.orchestration import scheduled_dags

globals().update(scheduled_dags())
