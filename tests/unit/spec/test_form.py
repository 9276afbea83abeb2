"""What Airflow's trigger form sends, and what comes without it."""

from typing import Any

import pytest

from dtx_tasks.spec import FinetuneExperiment, SpecDocument, parse
from dtx_tasks.spec.form import spec_of

FIELDS: dict[str, Any] = {
    "form": "1",
    "name": "shop",
    "description": "",
    "registered_name": None,
    "llms": ["base"],
    "datasets": ["rows"],
    "hyperparameters": ["quick"],
    "seeds": [0],
    "metric": "bleu",
    "max_new_tokens": 64,
    "parallelism": 3,
    "processes": 2,
    "deepspeed": None,
    "spec": None,
    "spec_uri": None,
}


def test_fields_of_the_form_are_a_spec() -> None:
    """Every field lands where the spec has it; what is empty is left out."""
    assert spec_of(FIELDS) == {
        "kind": "FinetuneExperiment",
        "name": "shop",
        "matrix": {"llms": ["base"], "datasets": ["rows"], "hyperparameters": ["quick"], "seeds": [0]},
        "selection": {"metric": "bleu"},
        "scoring": {"max_new_tokens": 64},
        "parallelism": 3,
        "resources": {"processes": 2},
    }


def test_spec_of_the_form_loads() -> None:
    """What the form makes is valid by the spec."""
    spec = spec_of(FIELDS)
    assert isinstance(spec, dict)
    assert parse(SpecDocument("the request", spec), FinetuneExperiment).parallelism == 3


def test_whole_spec_replaces_the_fields() -> None:
    """A spec in the form's last field counts alone."""
    assert spec_of({**FIELDS, "spec": {"name": "other"}}) == {"name": "other"}


def test_spec_uri_replaces_the_fields() -> None:
    """So does the address of one."""
    assert spec_of({**FIELDS, "spec_uri": "/data/e.yaml"}) == "/data/e.yaml"


@pytest.mark.parametrize("conf", [{}, {"name": "shop"}, {"name": "shop", "matrix": {"llms": ["base"]}}])
def test_request_without_the_form_gets_no_example_values(conf: dict[str, Any]) -> None:
    """A partial request by REST stays partial, and is refused later."""
    assert spec_of(conf) == conf


def test_request_may_name_a_spec_by_its_address() -> None:
    """`spec_uri` alone is an address; beside other keys it is a mistake that the spec refuses."""
    assert spec_of({"spec_uri": "/data/e.yaml"}) == "/data/e.yaml"
    assert spec_of({"spec_uri": "/data/e.yaml", "name": "x"}) == {"spec_uri": "/data/e.yaml", "name": "x"}


def test_text_in_braces_is_kept() -> None:
    """The form's text is the author's, templates included."""
    spec = spec_of({**FIELDS, "name": "{{ 7*7 }}"})
    assert isinstance(spec, dict)
    assert spec["name"] == "{{ 7*7 }}"
