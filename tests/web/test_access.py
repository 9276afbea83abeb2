"""Nothing is served without a login, without the permission to read the DAG, or from beside the run's own folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fastapi.routing import APIRoute
from starlette.routing import Route

from dtx_tasks.records import Layout
from dtx_tasks.storage import read_bytes, write_bytes
from tests.web.conftest import DAG_ID, RUN_ID, make_two_jobs

if TYPE_CHECKING:
    from tests.web.conftest import Site

PATHS = ["", "/report", "/tasks/finetune.train?map_index=0", "/tasks/select?map_index=%7BMAP_INDEX%7D"]


def test_every_route_asks_for_a_login(site: Site):
    """Also a route that is added later, and for an experiment that is there."""
    site.carry_out()
    routes = [route for route in site.app.routes if isinstance(route, Route)]
    known = {"dag_id": DAG_ID, "run_id": RUN_ID, "task_id": "x", "name": "page.css"}
    answers = {route.path: site.client.request(min(route.methods or ()), route.path.format(**known)).status_code for route in routes}
    assert set(answers.values()) == {401}, answers


def test_every_route_of_a_dag_asks_for_its_permission(site: Site):
    """Whoever may not read DAGs learns not even whether there is an experiment."""
    site.carry_out()
    routes = [route for route in site.log_in(None).app.routes if isinstance(route, APIRoute) and "{dag_id}" in route.path]
    known = {"dag_id": DAG_ID, "run_id": RUN_ID, "task_id": "x", "name": "rows.jsonl"}
    answers = {route.path: site.client.request(min(route.methods), route.path.format(**known)).status_code for route in routes}
    assert len(answers) == 4
    assert set(answers.values()) == {403}, answers


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json"])
def test_the_app_does_not_describe_itself(site: Site, path: str):
    """FastAPI would serve these without a login."""
    assert site.client.get(path).status_code == 404


def test_a_viewer_sees_a_run(site: Site):
    """Reading DAGs is enough."""
    site.carry_out()
    answer = site.log_in().get()
    assert answer.status_code == 200
    assert "shop" in answer.text


def test_the_end_of_a_session_is_explained(site: Site):
    """The frame in Airflow's page would show JSON otherwise."""
    assert "reload Airflow" in site.get().text


@pytest.mark.parametrize("path", PATHS)
def test_a_run_of_another_dag_shows_nothing(site: Site, path: str):
    """The tab is on every DAG of this Airflow."""
    site.carry_out()
    assert site.log_in().get(path, dag_id="somebody_elses").status_code == 404


@pytest.mark.parametrize("path", PATHS)
def test_another_run_of_the_dag_shows_nothing(site: Site, path: str):
    """A run shows its own experiment only."""
    site.carry_out()
    answer = site.log_in().get(path, run_id="manual__other")
    assert answer.status_code == 404
    assert "wait a moment" in answer.text


def test_the_permission_counts_for_the_run_that_the_record_names(site: Site):
    """A name that shortens to the same path is not taken for the run."""
    store = site.carry_out()
    layout = Layout(str(site.root), store.plan.team)
    write_bytes(layout.run_reference("open_dag", RUN_ID), read_bytes(layout.run_reference(DAG_ID, RUN_ID)))
    assert site.log_in().get(dag_id="open_dag").status_code == 404


@pytest.mark.parametrize("run_id", ["..", "../../runs", "..%2f..%2fplan", "%2e%2e", "/etc/passwd"])
def test_a_path_in_a_run_id_leads_nowhere(site: Site, run_id: str):
    """Ids are hashed into file names."""
    site.carry_out()
    assert site.log_in().get("/report", run_id=run_id).status_code == 404


@pytest.mark.parametrize("name", ["app.py", "..%2fapp.py", "%2e%2e/templates/run.html.jinja", "../app.py"])
def test_only_known_assets_are_served(site: Site, name: str):
    """Not the files beside them."""
    assert site.log_in().client.get(f"/assets/{name}").status_code == 404


def test_the_storage_of_every_team_is_looked_through(site: Site):
    """A scheduled experiment of another team has its own DAG."""
    site.carry_out(make_two_jobs(team="search"), dag_id="scheduled_shop", run_id="scheduled__1")
    assert site.log_in().get(dag_id="scheduled_shop", run_id="scheduled__1").status_code == 200


def test_pages_may_load_nothing_from_elsewhere(site: Site):
    """Nor be kept by a cache, nor be shown inside another site."""
    site.carry_out()
    headers = site.log_in().get().headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "'unsafe" not in headers["content-security-policy"]
    assert "frame-ancestors 'self'" in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"


def test_refusals_carry_the_same_headers(site: Site):
    """A page that says no is a page too."""
    assert "default-src 'none'" in site.get().headers["content-security-policy"]
