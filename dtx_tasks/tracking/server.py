"""The connection to MLflow, and what counts as MLflow being out of reach."""

from __future__ import annotations

import os
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from dtx_tasks.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow import MlflowClient

PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "15"}
"""MLflow's own defaults, 7 retries of 120 s, would hold a task for a quarter of an hour: Airflow retries better."""


def is_configured() -> bool:
    """Whether there is an MLflow to publish to."""
    return bool(os.environ.get("MLFLOW_TRACKING_URI"))


@cache
def connect() -> MlflowClient:
    """The client; one for the process."""
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    return MlflowClient()


@contextmanager
def tracking_errors() -> Iterator[None]:
    """Turns MLflow's own errors into ones that are retried."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        raise TransientError(f"MLflow at {os.environ.get('MLFLOW_TRACKING_URI')} did not answer as it should: {error}.") from error
