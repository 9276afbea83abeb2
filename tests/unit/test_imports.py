"""What importing a package brings along: the light ones stay light."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROBE = """
import importlib, json, runpy, sys
target, baseline = sys.argv[1:]
if baseline:
    importlib.import_module(baseline)
before = set(sys.modules)
runpy.run_path(target) if target.endswith(".py") else importlib.import_module(target)
print(json.dumps(sorted({name.partition(".")[0] for name in set(sys.modules) - before})))
"""
HEAVY = {"torch", "transformers", "mlflow", "numpy", "airflow", "sqlalchemy", "alembic"}
DAGS = Path(__file__).parents[2] / "dags"


def brought(target: str, baseline: str = "", **environment: str) -> set[str]:
    """The top-level packages that an import adds."""
    command = [sys.executable, "-c", PROBE, target, baseline]
    said = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **environment}).stdout
    return set(json.loads(said.splitlines()[-1]))


@pytest.mark.parametrize("package", ["dtx_tasks.errors", "dtx_tasks.spec", "dtx_tasks.records", "dtx_tasks.plan"])
def test_lower_layers_bring_pydantic_and_yaml_alone(package: str) -> None:
    """They are imported everywhere, by Airflow's parser among others."""
    found = {name for name in brought(package) - set(sys.stdlib_module_names) if not name.startswith("_")}
    # The last one is of PyYAML's own C part.
    known = {"dtx_tasks", "pydantic", "pydantic_core", "yaml", "annotated_types", "typing_extensions", "typing_inspection", "cython_runtime"}
    assert found <= known


@pytest.mark.parametrize("package", ["dtx_tasks.entrypoints.__main__", "dtx_tasks.launch", "dtx_tasks.cli", "dtx_tasks.template"])
def test_upper_layers_bring_no_framework(package: str) -> None:
    """A command answers at once, and a worker without torch can run it."""
    assert brought(package) & HEAVY - {"numpy"} == set()


@pytest.mark.parametrize("dag", sorted(DAGS.glob("*.py")), ids=lambda path: path.name)
def test_dag_file_brings_no_framework(dag: Path, tmp_path: Path) -> None:
    """Airflow reads it again and again; what `airflow.sdk` itself brings is Airflow's."""
    found = brought(str(dag), "airflow.sdk", AIRFLOW_HOME=str(tmp_path), DTX_HOME=str(tmp_path))
    assert found & HEAVY - {"airflow"} == set()
