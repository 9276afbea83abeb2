"""The files of deploy/: what can be known about them without a cluster and without Airflow's chart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from dtx_tasks.catalog.backend import load_backend, load_pod_template
from dtx_tasks.launch.rights import rights_of

REPOSITORY = Path(__file__).resolve().parents[3]
DEPLOY = REPOSITORY / "deploy"


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


def values() -> dict[str, Any]:
    """What is given to the chart."""
    return dict(yaml.safe_load((DEPLOY / "airflow-values.yaml").read_text()))


def mistakes(wrong: dict[str, Any]) -> list[str]:
    """What the schema says about values."""
    schema = json.loads((DEPLOY / "airflow-values.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    return [error.message for error in Draft202012Validator(schema).iter_errors(wrong)]


def granted(*names: str) -> set[tuple[str, str, str]]:
    roles = [item for name in names for item in documents(name) if item["kind"] == "Role"]
    rules = [rule for role in roles for rule in role["rules"]]
    return {(group, resource, verb) for rule in rules for group in rule["apiGroups"] for resource in rule["resources"] for verb in rule["verbs"]}


def test_values_fit_their_schema() -> None:
    """Every key that is set is known to it."""
    assert mistakes(values()) == []


@pytest.mark.parametrize(("part", "key"), [(None, "executr"), ("apiServer", "replcas"), ("scheduler", "serviceacount"), ("triggerer", "logGroomer")])
def test_misspelt_key_fails(part: str | None, key: str) -> None:
    """At the top and inside a part."""
    wrong = values()
    (wrong[part] if part else wrong)[key] = {}
    assert mistakes(wrong) == [f"Additional properties are not allowed ({key!r} was unexpected)"]


def test_schema_has_no_spare_key() -> None:
    """It is a schema of what is set, as far as parts go."""
    schema = json.loads((DEPLOY / "airflow-values.schema.json").read_text())
    assert set(schema["properties"]) == set(values())
    assert set(schema["properties"]["scheduler"]["properties"]) == set(values()["scheduler"])


def test_no_probe_or_sidecar_of_the_official_image_is_left() -> None:
    """The chart's own call /entrypoint and /clean-logs, which our image does not have."""
    parts = [values()[name] for name in ("scheduler", "triggerer", "dagProcessor")]
    assert [part["livenessProbe"]["command"][:3] for part in parts] == [["airflow", "jobs", "check"]] * 3
    assert [part["logGroomerSidecar"]["enabled"] for part in parts] == [False] * 3


def test_database_names_its_driver() -> None:
    """SQLAlchemy takes a bare postgresql:// for psycopg 3, which is not in the image."""
    secrets = {item["metadata"]["name"]: item["stringData"] for item in documents("storage.yaml") if item["kind"] == "Secret"}
    assert secrets["dtx-airflow"]["connection"].startswith("postgresql+psycopg2://")
    assert secrets["dtx-mlflow"]["MLFLOW_BACKEND_STORE_URI"].startswith("postgresql+psycopg2://")


def test_secrets_hold_only_marked_places() -> None:
    """Nothing that could be taken for a value."""
    texts = [text for item in documents("storage.yaml") if item["kind"] == "Secret" for text in item["stringData"].values()]
    assert all("CHANGE-ME" in text for text in texts)


def test_roles_are_the_rights_that_the_doctor_asks_for() -> None:
    """One table, in dtx_tasks/launch/rights.py."""
    backend = load_backend("kubernetes")
    assert granted("rbac.yaml") == set(rights_of(backend))
    with_jobs = set(rights_of(backend.model_copy(update={"several_nodes": "job"})))
    assert granted("rbac.yaml", "rbac-jobs.yaml") == set(rights_of(backend)) | with_jobs


def test_accounts_of_the_values_are_those_of_the_role() -> None:
    """And nobody else is bound to it."""
    subjects = [subject["name"] for name in ("rbac.yaml", "rbac-jobs.yaml") for item in documents(name) for subject in item.get("subjects", [])]
    assert set(subjects) == {values()[part]["serviceAccount"]["name"] for part in ("scheduler", "triggerer")}
    assert values()["rbac"] == {"create": False}


def test_names_agree() -> None:
    """Secrets and ConfigMaps that the values and the pod template refer to are those of storage.yaml, or are made by docs/deploy.md."""
    made = {item["metadata"]["name"] for item in documents("storage.yaml")}
    for source in yaml.safe_load(values()["extraEnvFrom"]):
        assert next(iter(source.values()))["name"] in made
    base = load_pod_template(load_backend("kubernetes"))["spec"]["containers"][0]
    assert {next(iter(source.values()))["name"] for source in base["envFrom"]} <= made
    assert "create configmap dtx-config" in (REPOSITORY / "docs/deploy.md").read_text()


def test_every_file_is_explained() -> None:
    """In docs/deploy.md, by its name."""
    text = (REPOSITORY / "docs/deploy.md").read_text()
    assert [path.name for path in sorted(DEPLOY.iterdir()) if f"`deploy/{path.name}`" not in text] == []


def test_policies_select_what_pods_carry() -> None:
    """The labels of the pod template and of dtx_tasks/launch/pods.py."""
    labels = load_pod_template(load_backend("kubernetes"))["metadata"]["labels"]
    for policy in documents("network-policy.yaml"):
        wanted = dict(policy["spec"]["podSelector"].get("matchLabels", {}))
        assert wanted.pop("dtx/stage", "train") == "train"
        assert wanted.items() <= labels.items()
