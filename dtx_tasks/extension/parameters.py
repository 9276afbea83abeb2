"""The parameters of a plugin, checked by the JSON Schema that its package declares."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from dtx_tasks.errors import Mistake, nearest
from dtx_tasks.extension.declaration import broken
from dtx_tasks.spec.explain import key_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jsonschema.exceptions import ValidationError
    from jsonschema.protocols import Validator

    from dtx_tasks.extension.declaration import Declaration

TYPES = {
    "string": "must be text",
    "integer": "must be a whole number",
    "number": "must be a number",
    "boolean": "must be true or false",
    "array": "must be a list",
    "object": "must be a mapping",
}
SENTENCES = {
    "type": "must be of the type {}",
    "enum": "must be one of {}",
    "const": "must be {}",
    "minimum": "must be at least {}",
    "maximum": "must be at most {}",
    "exclusiveMinimum": "must be greater than {}",
    "exclusiveMaximum": "must be less than {}",
    "multipleOf": "must be a multiple of {}",
    "minLength": "must have at least {} characters",
    "maxLength": "must have at most {} characters",
    "pattern": "must match {}",
    "minItems": "must have at least {} items",
    "maxItems": "must have at most {} items",
}


def checked_parameters(name: str, declaration: Declaration, given: Mapping[str, Any]) -> dict[str, Any] | list[Mistake]:
    """The parameters with the defaults of those left out, or what is wrong with them.

    Args:
        name: The plugin.
        declaration: What it declares.
        given: What the author wrote.

    Raises:
        SpecError: What the plugin declares is no JSON Schema of an object.
    """
    # Not imported with this module: a process that prepares rows needs none of it.
    from referencing.exceptions import Unresolvable

    schema = {"type": "object", "additionalProperties": False, **declaration.parameters}
    validator = _validator(name, schema)
    values = {**_defaults(schema), **given}
    try:
        mistakes = [mistake for error in validator.iter_errors(values) for mistake in _explain(error)]
    except Unresolvable as error:
        raise broken(name, f"its parameters refer to what is not there: {error}") from None
    mistakes += _not_finite(given)
    return list(dict.fromkeys(mistakes)) or values


def _validator(name: str, schema: dict[str, Any]) -> Validator:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import validator_for
    from referencing import Registry

    if schema["type"] != "object":
        raise broken(name, f"its parameters are declared as {schema['type']!r}", "They must be a JSON Schema of the type object.")
    kind = validator_for(schema, default=Draft202012Validator)
    try:
        kind.check_schema(schema)
    except SchemaError as error:
        raise broken(name, f"its parameters are no JSON Schema: {key_path(tuple(error.absolute_path))}: {error.message}") from None
    # An empty registry: nothing that a schema refers to is asked for over the network.
    return kind(schema, registry=Registry())


def _defaults(schema: Mapping[str, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = schema.get("properties", {})
    return {key: node["default"] for key, node in properties.items() if isinstance(node, dict) and "default" in node}


def _explain(error: ValidationError) -> Iterator[Mistake]:
    """What is wrong, under the key that it is wrong with."""
    place, rule = tuple(error.absolute_path), str(error.validator)
    schema = error.schema if isinstance(error.schema, dict) else {}
    known = schema.get("properties", {})
    if rule == "additionalProperties" and error.validator_value is False:
        for key in error.instance.keys() - known.keys():
            yield Mistake(_path(*place, key), f"is not a known parameter (got {_shown(error.instance[key])})", nearest(key, known))
    elif rule == "required":
        for key in error.validator_value:
            if key not in error.instance:
                yield Mistake(_path(*place, key), "is missing", _description(known.get(key)))
    else:
        yield Mistake(_path(*place), f"{_sentence(rule, error)} (got {_shown(error.instance)})", _description(schema))


def _sentence(rule: str, error: ValidationError) -> str:
    if rule == "type" and isinstance(error.validator_value, str) and error.validator_value in TYPES:
        return TYPES[error.validator_value]
    return SENTENCES[rule].format(_shown(error.validator_value)) if rule in SENTENCES else error.message


def _description(schema: object) -> str:
    return str(schema.get("description", "")) if isinstance(schema, dict) else ""


def _not_finite(given: Mapping[str, Any]) -> list[Mistake]:
    """YAML knows infinity, JSON and so an identity does not."""
    try:
        json.dumps(given, allow_nan=False)
    except ValueError:
        return [Mistake(_path(), "hold a number that is infinite or none", "Write a finite one.")]
    return []


def _path(*place: str | int) -> str:
    return f".{key_path(('parameters', *place))}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
