"""The Airflow that commands talk to: the one the environment names, else the embedded stack."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from dtx_tasks import stack
from dtx_tasks.settings import home
from dtx_tasks.stack.rest import Airflow, AirflowUnreachable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager


@contextmanager
def connect() -> Iterator[Airflow]:
    """A client; no other command stops the embedded stack under it.

    Raises:
        AirflowUnreachable: Nothing is configured and no embedded stack runs.
    """
    if os.environ.get("DTX_AIRFLOW_URL") or not home().exists():
        with client() as airflow:
            yield airflow
    else:
        with in_use(), client() as airflow:
            yield airflow


def in_use(*, stops: bool = False) -> AbstractContextManager[None]:
    """Keeps the embedded stack up meanwhile; what is told of that leaves standard output to the command.

    Args:
        stops: Whether a stack that a demo has started is stopped at the end, where nobody else uses it.
    """
    return stack.used(home(), lambda line: typer.echo(line, err=True), stops=stops)


def client() -> Airflow:
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
