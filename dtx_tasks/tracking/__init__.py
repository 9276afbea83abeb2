"""MLflow: what the records say, copied to where people look; never the other way."""

from dtx_tasks.tracking.live import published_live
from dtx_tasks.tracking.places import job_url, run_url
from dtx_tasks.tracking.publish import publish_experiment, publish_job
from dtx_tasks.tracking.registry import register_version
from dtx_tasks.tracking.server import is_configured, tracking_errors

__all__ = ["is_configured", "job_url", "publish_experiment", "publish_job", "published_live", "register_version", "run_url", "tracking_errors"]
