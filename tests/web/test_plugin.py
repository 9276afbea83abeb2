"""What Airflow is told, and what telling it costs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dtx_tasks.tracking.places import address
from dtx_tasks.web import VIEWS

PLUGIN = Path(__file__).parents[2] / "plugins" / "dtx.py"


def test_links_are_on_runs_and_on_mapped_tasks():
    """One click from each of them."""
    assert [view["destination"] for view in VIEWS] == ["dag_run", "task_instance"]


def test_addresses_are_relative():
    """With a slash in front they would miss the path that Airflow is reached by."""
    assert not any(view["href"].startswith("/") for view in VIEWS)


def test_airflow_loads_the_plugin(tmp_path: Path):
    """By its own rules, with the app that it mounts."""
    code = (
        "from airflow import plugins_manager as p; plugins, errors = p._get_plugins(); apps, _ = p.get_fastapi_plugins();"
        "print([(one.name, [app['url_prefix'] for app in one.fastapi_apps]) for one in plugins if one.name == 'dtx'], errors)"
    )
    environment = {**os.environ, "AIRFLOW_HOME": str(tmp_path), "AIRFLOW__CORE__PLUGINS_FOLDER": str(PLUGIN.parent), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[-1] == "[('dtx', ['/dtx'])] {}"


def test_loading_the_plugin_imports_no_login_check():
    """Every task loads plugins: the app, with the API server's modules, is made only when it is asked for."""
    code = "import sys, dtx_tasks.web; print({'fastapi', 'airflow', 'mlflow', 'jinja2'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "set()"


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("https://user:secret@mlflow.example/base/", "https://mlflow.example/base"),
        ("sqlite:////tmp/mlflow.db", ""),
        ("javascript:alert(1)", ""),
        ("", ""),
    ],
)
def test_the_address_of_mlflow_is_one_for_browsers(uri: str, shown: str, monkeypatch: pytest.MonkeyPatch):
    """Without a password, and none at all where MLflow is a database."""
    monkeypatch.delenv("DTX_MLFLOW_URL", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert address() == shown


def test_people_may_reach_mlflow_by_another_address(monkeypatch: pytest.MonkeyPatch):
    """Tasks use the one inside the cluster."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    monkeypatch.setenv("DTX_MLFLOW_URL", "https://mlflow.example.com/")
    assert address() == "https://mlflow.example.com"
