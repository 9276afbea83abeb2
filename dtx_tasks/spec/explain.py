"""From pydantic's errors to sentences: where, what is wrong, what would be right."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from dtx_tasks.errors import Mistake, nearest
from dtx_tasks.spec.base import DEFINED_HERE, TAGS_OF_UNIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

    from dtx_tasks.spec.base import SpecModel

Schema = dict[str, Any]

UNWRITTEN = TAGS_OF_UNIONS | {"<<"}
"""Parts of a place that are no key of the author's: tags of unions, and YAML's merge."""

REFERENCE = "docs/spec.md"

OTHER_WORDS = {
    "bf16": ("compute_type: bf16", "compute_type"),
    "fp16": ("compute_type: fp16", "compute_type"),
    "load_in_4bit": ("quantization_bit: 4", "quantization_bit"),
    "load_in_8bit": ("quantization_bit: 8", "quantization_bit"),
}
"""Keys of other programs, what says the same here, and the key of that."""

QLORA = "QLoRA is `finetuning_type: lora` with `quantization_bit: 4`."

NUMBER = r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
QUOTED = {"float_type": NUMBER, "int_type": r"[-+]?[0-9]+", "bool_type": "true|false"}
"""For pydantic's errors about text: that which would be right without its quotes."""

BOUNDS = {
    "greater_than": ("must be greater than", "gt"),
    "greater_than_equal": ("must be at least", "ge"),
    "less_than": ("must be less than", "lt"),
    "less_than_equal": ("must be at most", "le"),
}


def key_path(place: tuple[str | int, ...]) -> str:
    """`("jobs", 2, "lora_rank")` as `jobs[2].lora_rank`, without the tags that pydantic adds for unions."""
    path = ""
    for part in place:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part not in UNWRITTEN:
            path += f".{part}" if path else part
    return path


def explain(error: ValidationError, kind: type[SpecModel]) -> Iterator[Mistake]:
    """One mistake for each of pydantic's errors.

    Args:
        error: What pydantic raised.
        kind: The model that was validated; its JSON Schema knows the fields and their descriptions.
    """
    schema = kind.model_json_schema()
    for detail in error.errors(include_url=False):
        # A list whose only items are wrong counts as empty for pydantic: the items' own mistakes say more.
        if detail["type"] == "too_short" and detail["input"]:
            continue
        yield _explain_one(detail, schema)


def _explain_one(detail: ErrorDetails, schema: Schema) -> Mistake:
    place, kind, context = detail["loc"], detail["type"], detail.get("ctx", {})
    path, got = key_path(place), f"(got {_shown(detail.get('input'))})"
    if kind == "extra_forbidden":
        known = _keys_at(schema, place[:-1])
        other, key = OTHER_WORDS.get(str(place[-1]), ("", ""))
        remedy = f"Write `{other}`." if key in known else nearest(str(place[-1]), known, REFERENCE)
        return Mistake(path, f"is not a known key {got}", remedy)
    if kind == "missing":
        return Mistake(path, "is missing", _sample(schema, place))
    if kind in BOUNDS:
        words, key = BOUNDS[kind]
        return Mistake(path, f"{words} {context[key]} {got}", _advice(schema, place))
    if kind == "literal_error":
        expected = [part.strip("' ") for part in str(context["expected"]).replace(" or ", ", ").split(",")]
        remedy = QLORA if detail.get("input") == "qlora" and "lora" in expected else nearest(str(detail.get("input")), expected, REFERENCE)
        return Mistake(path, f"is not one of the choices {got}", remedy)
    if kind == "json_invalid":
        return Mistake(path, "holds half a surrogate pair such as \\ud800, or is nested too deeply", "Write the character itself.")
    return Mistake(path, f"{_sentence(detail)} {got}", _way_out(detail) or _advice(schema, place))


def _way_out(detail: ErrorDetails) -> str:
    """What is meant by a value of the wrong kind, where that is plain."""
    written = detail.get("input")
    if not isinstance(written, str):
        return ""
    if detail["type"] == "string_pattern_mismatch" and "/" in written and {"llm", "llms"} & set(detail["loc"]):
        source = written if "://" in written or written.startswith((".", "/", "~")) else f"hf://{written}"
        kept = "a model of the hub" if source.startswith("hf://") else "a model that has no name yet"
        return f"Names have no slash: {kept} is written `{{name: {PurePosixPath(written).name}, source: {source}}}`."
    quoted = QUOTED.get(detail["type"])
    return "Write it without quotes." if quoted and re.fullmatch(quoted, written) else ""


def _sentence(detail: ErrorDetails) -> str:
    message = detail["msg"]
    if detail["type"] == "model_type" and detail["loc"] and detail["loc"][-1] == DEFINED_HERE:
        return "must be a name or a definition"
    wanted = {
        "string_type": "must be text",
        "int_type": "must be a whole number",
        "int_from_float": "must be a whole number",
        "float_type": "must be a number",
        "bool_type": "must be true or false",
        "tuple_type": "must be a list",
        "model_type": "must be a mapping",
        "model_attributes_type": "must be a mapping",
        "string_pattern_mismatch": "holds characters that are not allowed here",
        "too_short": "must not be empty",
        "string_too_short": "must not be empty",
        "finite_number": "must be a finite number",
    }
    return wanted.get(detail["type"], message[0].lower() + message[1:])


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _keys_at(schema: Schema, place: tuple[str | int, ...]) -> list[str]:
    return [key for node in _nodes_at(schema, place) for key in node.get("properties", {})]


def _advice(schema: Schema, place: tuple[str | int, ...]) -> str:
    for node in _nodes_at(schema, place):
        if "description" in node:
            return str(node["description"])
    return ""


def _sample(schema: Schema, place: tuple[str | int, ...]) -> str:
    for node in _nodes_at(schema, place):
        if node.get("examples"):
            return f"{node.get('description', '')} For example `{place[-1]}: {node['examples'][0]}`.".strip()
    return _advice(schema, place)


def _nodes_at(schema: Schema, place: tuple[str | int, ...]) -> list[Schema]:
    """Every part of the schema that describes a place; unions make it several."""
    nodes = _alternatives(schema, schema)
    for part in place:
        if part in UNWRITTEN:
            continue
        steps = [node["items"] if isinstance(part, int) else node["properties"][part] for node in nodes if _has(node, part)]
        nodes = [found for step in steps for found in _alternatives(step, schema)]
    return nodes


def _has(node: Schema, part: str | int) -> bool:
    return "items" in node if isinstance(part, int) else part in node.get("properties", {})


def _alternatives(node: Schema, root: Schema) -> list[Schema]:
    """A node and what it refers to or is a union of; the description of the field comes first."""
    found = [node]
    if "$ref" in node:
        found += _alternatives(root["$defs"][node["$ref"].rsplit("/", 1)[1]], root)
    for choice in (*node.get("anyOf", ()), *node.get("oneOf", ()), *node.get("allOf", ())):
        found += _alternatives(choice, root)
    return found
