"""Airflow's own login and permissions: an app that a plugin mounts inherits none of them."""

from __future__ import annotations

from typing import Annotated

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import requires_access_dag, requires_authenticated
from airflow.models.dag import DagTag
from airflow.utils.session import create_session
from fastapi import Depends, HTTPException
from sqlalchemy import select

LOGGED_IN = Depends(requires_authenticated())
READS_RUN = Depends(requires_access_dag("GET", DagAccessEntity.RUN))
STARTS_RUN = Depends(requires_access_dag("POST", DagAccessEntity.RUN))
READS_TASK = Depends(requires_access_dag("GET", DagAccessEntity.TASK_INSTANCE))


def _team_of(dag_id: str) -> str:
    """Whose experiments a DAG runs: `experiment_dag` tags it so. Whoever may start them may bring rows for them."""
    with create_session() as session:
        tags = set(session.scalars(select(DagTag.name).where(DagTag.dag_id == dag_id)))
    teams = tags - {"dtx"}
    if "dtx" not in tags or len(teams) != 1:
        raise HTTPException(404, f"The DAG {dag_id!r} is not there, or runs no experiments of one team.")
    return str(teams.pop())


Team = Annotated[str, Depends(_team_of)]
