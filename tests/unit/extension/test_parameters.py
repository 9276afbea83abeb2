"""The parameters of plugins, checked by their schema."""

from typing import Any

import pytest

from dtx_tasks.errors import Mistake, SpecError
from dtx_tasks.extension import Declaration, checked_parameters

PROPERTIES: dict[str, Any] = {
    "min_characters": {"type": "integer", "minimum": 1, "default": 10, "description": "Shorter answers are left out."},
    "words": {"type": "array", "items": {"type": "string"}},
    "mode": {"enum": ["strict", "loose"]},
}


def declared(**schema: Any) -> Declaration:
    return Declaration(version="1", parameters={"properties": PROPERTIES, **schema})


def told(given: dict[str, Any], **schema: Any) -> list[str]:
    found = checked_parameters("clean", declared(**schema), given)
    assert isinstance(found, list)
    return [mistake.text("e.yaml") for mistake in found if isinstance(mistake, Mistake)]


def test_defaults_are_filled_in() -> None:
    """So that a default written out is the same preparation."""
    assert checked_parameters("clean", declared(), {"mode": "strict"}) == {"min_characters": 10, "mode": "strict"}
    assert checked_parameters("clean", declared(), {"min_characters": 10}) == checked_parameters("clean", declared(), {})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"min_character": 3}, ".min_character: is not a known parameter (got 3). Did you mean 'min_characters'? Known: min_characters, mode, words."),
        ({"min_characters": "3"}, ".min_characters: must be a whole number (got '3'). Shorter answers are left out."),
        ({"min_characters": 0}, ".min_characters: must be at least 1 (got 0). Shorter answers are left out."),
        ({"words": ["a", 1]}, ".words[1]: must be text (got 1)."),
        ({"mode": "lose"}, ".mode: must be one of ['strict', 'loose'] (got 'lose')."),
        ({"min_characters": float("inf")}, ".min_characters: must be a whole number (got inf). Shorter answers are left out."),
    ],
)
def test_wrong_parameter_is_told_with_its_place(given: dict[str, Any], said: str) -> None:
    """And with what would be right."""
    assert told(given)[0] == f"e.yaml: .parameters{said}"


def test_every_mistake_is_told_at_once() -> None:
    """Those that are missing, too."""
    lines = told({"mode": 1, "wrods": 2}, required=["words", "mode"])
    assert [line.split(": ")[1] for line in sorted(lines)] == [".parameters.mode", ".parameters.words", ".parameters.wrods"]
    assert "e.yaml: .parameters.words: is missing." in lines


def test_infinity_is_refused_wherever_it_stands() -> None:
    """An identity is made of JSON, which has none."""
    assert told({"x": [float("nan")]}, additionalProperties=True) == ["e.yaml: .parameters: hold a number that is infinite or none. Write a finite one."]


def test_schema_may_allow_other_names() -> None:
    """Where a plugin passes them on."""
    assert checked_parameters("clean", declared(additionalProperties=True), {"x": 1}) == {"min_characters": 10, "x": 1}


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "array"}, "The plugin 'clean' is broken: its parameters are declared as 'array'. They must be a JSON Schema of the type object."),
        ({"properties": {"x": {"type": "int"}}}, "The plugin 'clean' is broken: its parameters are no JSON Schema: properties.x.type: 'int' is not valid"),
        ({"properties": {"mode": {"$ref": "https://example.org/x.json"}}}, "The plugin 'clean' is broken: its parameters refer to what is not there"),
    ],
)
def test_wrong_schema_is_the_plugins_fault(schema: dict[str, Any], said: str) -> None:
    """And nothing is asked for over the network."""
    with pytest.raises(SpecError, match=said.replace("'", ".")):
        checked_parameters("clean", declared(**schema), {"mode": "strict"})
