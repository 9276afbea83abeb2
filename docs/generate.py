"""Generates what follows from the code: the JSON Schema, the spec reference, the templates and the pages. `--check` only compares."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docs import imported, models, templates, training
from dtx_tasks.dataset import CODES
from dtx_tasks.spec import (
    LLM,
    Columns,
    Dataset,
    FinetuneExperiment,
    HyperparameterGroup,
    JobEntry,
    Matrix,
    Plugin,
    PluginParameters,
    Resources,
    Scoring,
    Selection,
    Subset,
    Tags,
    experiment_schema,
)
from dtx_tasks.spec.experiment import Combination
from dtx_tasks.template import TEMPLATES

if TYPE_CHECKING:
    from dtx_tasks.spec.base import SpecModel

REPOSITORY = Path(__file__).resolve().parent.parent
PARTS: tuple[type[SpecModel], ...] = (
    FinetuneExperiment,
    Matrix,
    JobEntry,
    Combination,
    LLM,
    Dataset,
    Columns,
    Tags,
    Subset,
    Plugin,
    PluginParameters,
    HyperparameterGroup,
    Scoring,
    Selection,
    Resources,
)
INTRODUCTION = """\
# Spec reference

Generated from the code by `make docs`. A file is YAML or JSON; unknown keys are mistakes.
Where a resource is expected, its name refers to the catalog and a mapping defines it in place.
"""
FINDINGS_INTRODUCTION = """\
# What can be said about rows

Generated from the code by `make docs`. `dtx dataset check` says each with file, line, column and a hint; planning and preparing run the same checks of rows.
An error stops the Dataset that it is in, and no other; a warning stops nothing.
The exception is `leakage`, which stops an experiment unless its `allow_leakage` gives a reason.
"""


def main() -> int:
    """Writes every generated file; with --check says which ones are not current."""
    wanted = {"config/schema/experiment.schema.json": experiment_schema(), "docs/spec.md": spec_reference(), "docs/findings.md": findings_reference()}
    wanted |= {"docs/templates.md": templates.page(), "docs/training.md": training.page(), "docs/import.md": imported.page()}
    wanted |= {"docs/models.md": models.page(), "dtx_tasks/plan/architectures.json": models.architectures()}
    wanted |= {f"dtx_tasks/template/{name}.jinja": templates.jinja_of(name, template) for name, template in TEMPLATES.items()}
    stale = [name for name, text in wanted.items() if not (REPOSITORY / name).exists() or (REPOSITORY / name).read_text(encoding="utf-8") != text]
    if "--check" in sys.argv:
        for name in stale:
            sys.stderr.write(f"{name} is not current: run `make docs`.\n")
        return 1 if stale else 0
    for name in stale:
        (REPOSITORY / name).write_text(wanted[name], encoding="utf-8")
    return 0


def spec_reference() -> str:
    """Every part of a spec as a table."""
    return "\n".join([INTRODUCTION, *(_part(part) for part in PARTS)])


def findings_reference() -> str:
    """Every code of `dtx dataset check` as a table."""
    rows = [f"| `{code}` | {severity} | {meaning} |" for code, (severity, meaning) in CODES.items()]
    return "\n".join([FINDINGS_INTRODUCTION, "| code | severity | meaning |", "| --- | --- | --- |", *rows, ""])


def _part(part: type[SpecModel]) -> str:
    schema = part.model_json_schema()
    required = set(schema.get("required", ()))
    rows = [_row(key, node, schema, key in required) for key, node in schema["properties"].items()]
    summary = (part.__doc__ or "").strip().splitlines()[0]
    return "\n".join([f"## {part.__name__}\n", f"{summary}\n", "| key | type | default | what it is |", "| --- | --- | --- | --- |", *rows, ""])


def _row(key: str, node: dict[str, Any], schema: dict[str, Any], is_required: bool) -> str:
    default = "**needed**" if is_required else f"`{node['default']}`" if _is_plain(node.get("default")) else ""
    description = " ".join(str(node.get("description", "")).split()).replace("|", "\\|")
    return f"| `{key}` | {_type(node, schema)} | {default} | {description} |"


def _is_plain(value: Any) -> bool:
    return value is not None and not isinstance(value, dict)


def _type(node: dict[str, Any], schema: dict[str, Any]) -> str:
    if "$ref" in node:
        name = node["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{name.lower()})"
    choices = node.get("anyOf") or node.get("oneOf")
    if choices:
        return " or ".join(_type(choice, schema) for choice in choices if choice.get("type") != "null")
    if "enum" in node or "const" in node:
        return ", ".join(f"`{value}`" for value in node.get("enum", [node.get("const")]))
    if node.get("type") == "array":
        return f"list of {_type(node['items'], schema)}"
    return _bounded(str(node.get("type", "anything")), node)


def _bounded(name: str, node: dict[str, Any]) -> str:
    words = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    bounds = [f"{word} {node[key]}" for key, word in words.items() if key in node]
    return ", ".join([name, *bounds])


if __name__ == "__main__":
    sys.exit(main())
