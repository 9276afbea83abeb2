"""The plugin's app on a storage root of its own, with Airflow's real login check."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from dtx_tasks.entrypoints.documents import note_run, write_plan
from tests.builders import Store, make_experiment, make_matrix, make_plan

_AIRFLOW_HOME = TemporaryDirectory(prefix="dtx-airflow-")
if "airflow" not in sys.modules:
    # Airflow reads it when it is imported, and would use the developer's own database.
    os.environ["AIRFLOW_HOME"] = _AIRFLOW_HOME.name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fastapi import FastAPI
    from httpx import Response

    from dtx_tasks.records import ExperimentPlan

DAG_ID = "finetune_experiment"
RUN_ID = "manual__2026-11-21T13:25:32.838114+00:00"


@dataclass(frozen=True)
class Site:
    """The app, and what lies on its storage root."""

    app: FastAPI
    root: Path

    @property
    def client(self) -> TestClient:
        """A browser without a login, unless `log_in` was called."""
        return TestClient(self.app, raise_server_exceptions=False)

    def log_in(self, role: str | None = "viewer") -> Site:
        """Whoever comes is logged in with a role."""
        from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
        from airflow.api_fastapi.core_api.security import get_user

        self.app.dependency_overrides[get_user] = lambda: SimpleAuthManagerUser(username="vera", role=role)
        return self

    def has_dag(self, dag_id: str = DAG_ID, *tags: str) -> Site:
        """Airflow knows a DAG, with its tags."""
        from airflow.models.dag import DagModel, DagTag
        from airflow.models.dagbundle import DagBundleModel
        from airflow.utils.session import create_session

        with create_session() as session:
            session.merge(DagBundleModel(name="dags"))
            session.flush()
            session.merge(DagModel(dag_id=dag_id, bundle_name="dags", tags=[DagTag(dag_id=dag_id, name=tag) for tag in tags]))
        return self

    def carry_out(self, plan: ExperimentPlan | None = None, dag_id: str = DAG_ID, run_id: str = RUN_ID) -> Store:
        """A run has planned an experiment."""
        plan = plan or make_two_jobs()
        write_plan(plan, str(self.root))
        note_run(plan, str(self.root), dag_id, run_id)
        return Store(self.root, plan)

    def get(self, rest: str = "", dag_id: str = DAG_ID, run_id: str = RUN_ID) -> Response:
        """A page of a run."""
        return self.client.get(f"/dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}{rest}")


def make_two_jobs(**changes: Any) -> ExperimentPlan:
    """A plan of two packs of one job."""
    return make_plan(make_experiment(matrix=make_matrix(hyperparameters=["quick", "slow"]), **changes))


@pytest.fixture(scope="session")
def airflow_is_ready() -> None:
    """Its login manager, and the tables that a permission is looked up in."""
    from airflow import settings
    from airflow.api_fastapi.app import init_auth_manager
    from airflow.models.base import Base
    from airflow.models.dag import DagModel, DagTag
    from airflow.models.dagbundle import DagBundleModel
    from airflow.models.team import Team, dag_bundle_team_association_table

    init_auth_manager()
    tables = [Team.__table__, DagBundleModel.__table__, DagModel.__table__, DagTag.__table__, dag_bundle_team_association_table]
    Base.metadata.create_all(settings.engine, tables=tables)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, airflow_is_ready: None) -> Iterator[Site]:
    """The app; nobody is logged in."""
    from dtx_tasks.web.app import make_app

    monkeypatch.setenv("DTX_ROOT", str(tmp_path / "store"))
    monkeypatch.setenv("DTX_MLFLOW_URL", "https://mlflow.example/")
    return Site(make_app(), tmp_path / "store")
