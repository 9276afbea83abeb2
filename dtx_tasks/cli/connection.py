"""The Airflow that commands talk to: the one the environment names, else the embedded stack."""

from __future__ import annotations

import os

from dtx_tasks import stack
from dtx_tasks.settings import home
from dtx_tasks.stack.rest import Airflow, AirflowUnreachable


def connect() -> Airflow:
    """A client.

    DTX_AIRFLOW_URL with DTX_AIRFLOW_TOKEN, or with DTX_AIRFLOW_USERNAME and DTX_AIRFLOW_PASSWORD, names another Airflow.

    Raises:
        AirflowUnreachable: Nothing is configured and no embedded stack runs.
    """
    url = os.environ.get("DTX_AIRFLOW_URL")
    if url:
        return Airflow(
            url,
            username=os.environ.get("DTX_AIRFLOW_USERNAME", ""),
            password=os.environ.get("DTX_AIRFLOW_PASSWORD", ""),
            token=os.environ.get("DTX_AIRFLOW_TOKEN", ""),
        )
    state = stack.status(home())
    if state is None:
        raise AirflowUnreachable(f"No embedded stack runs in {home()}. Start it with `dtx up`, or name an Airflow in DTX_AIRFLOW_URL.")
    return Airflow(state.airflow_url, username=state.username, password=state.password)
