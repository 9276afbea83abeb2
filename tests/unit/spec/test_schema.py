"""The JSON Schema that editors check an experiment with."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from dtx_tasks.settings import bundled_folder
from dtx_tasks.spec import experiment_schema, load_text
from tests.builders import EXPERIMENT

EXAMPLES = sorted((bundled_folder("config") / "experiments").glob("*.yaml"))


def problems(spec: dict[str, Any]) -> list[str]:
    schema = json.loads(experiment_schema())
    return [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(spec)]


def test_schema_is_a_schema() -> None:
    """It is valid by the draft that it names."""
    schema = json.loads(experiment_schema())
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_schema_accepts_the_examples(path: Path) -> None:
    """What is shipped as an example is right by the schema."""
    assert problems(load_text(path.read_text(), path.name).data) == []


def test_there_are_examples() -> None:
    """Without one the test above would say nothing."""
    assert EXAMPLES


def test_schema_refuses_an_unknown_key() -> None:
    """An editor underlines a misspelt key."""
    assert problems({**EXPERIMENT, "paralelism": 3}) == ["Additional properties are not allowed ('paralelism' was unexpected)"]


@pytest.mark.parametrize("change", [{"parallelism": 0}, {"name": "a/b"}, {"matrix": {}}, {"selection": {"metric": "exact"}}, {"kind": "Job"}])
def test_schema_refuses_what_loading_refuses(change: dict[str, Any]) -> None:
    """Bounds, names, missing keys and choices are in the schema too."""
    assert len(problems({**EXPERIMENT, **change})) == 1


def test_schema_describes_its_keys() -> None:
    """Editors show what a key means, in both languages."""
    assert json.loads(experiment_schema())["properties"]["parallelism"]["description"].endswith("任务并行数")


def test_schema_in_the_repository_is_the_present_one() -> None:
    """Renew it with `dtx schema > config/schema/experiment.schema.json`."""
    assert (bundled_folder("config") / "schema" / "experiment.schema.json").read_text(encoding="utf-8") == experiment_schema()
