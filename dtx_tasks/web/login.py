"""Airflow's own login and permissions: an app that a plugin mounts inherits none of them."""

from __future__ import annotations

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import requires_access_dag, requires_authenticated
from fastapi import Depends

LOGGED_IN = Depends(requires_authenticated())
READS_RUN = Depends(requires_access_dag("GET", DagAccessEntity.RUN))
READS_TASK = Depends(requires_access_dag("GET", DagAccessEntity.TASK_INSTANCE))
