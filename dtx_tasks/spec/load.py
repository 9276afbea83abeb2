"""From text to a spec: every mistake of a file at once, with its key path, its line and what would be right."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from dtx_tasks.errors import Mistake, SpecError, spec_error
from dtx_tasks.spec.base import SpecModel
from dtx_tasks.spec.explain import explain, key_path

Spec = TypeVar("Spec", bound=SpecModel)
Location = tuple[str | int, ...]


class SpecLoader(yaml.SafeLoader):
    """YAML 1.2's scalars: `1e-4` is a number, `no` is text, a date is text."""


SpecLoader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"^(true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("null", r"^(~|null|Null|NULL|)$", "~nN\0"),
    ("int", r"^[-+]?[0-9]+$", "-+0123456789"),
    ("float", r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$|^[-+]?\.(inf|Inf|INF)$|^\.(nan|NaN|NAN)$", "-+0123456789."),
    ("merge", r"^<<$", "<"),
):
    SpecLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), list(_first) + ([""] if _tag == "null" else []))

# What JSON can hold, and no more: an explicit tag such as `!!binary` is a mistake of the file.
SpecLoader.yaml_constructors = {
    tag: construct
    for tag, construct in yaml.SafeLoader.yaml_constructors.items()
    if tag is None or tag.rpartition(":")[2] in ("bool", "null", "float", "str", "seq", "map")
}
# YAML 1.1 would read 010 as 8.
SpecLoader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(loader.construct_scalar(node)))  # type: ignore[arg-type]

MAX_PLACES = 100_000
"""More values than any experiment has: a few aliases of aliases stand for billions."""


@dataclass(frozen=True)
class SpecDocument:
    """The text of a spec, taken apart.

    Attributes:
        name: What messages call it, a path as a rule.
        data: The mapping that was read.
        lines: For each place in the data the 1-based line it stands on; empty where the source has no lines.
    """

    name: str
    data: dict[str, Any]
    lines: dict[Location, int] = field(default_factory=dict)

    def located(self, mistakes: tuple[Mistake, ...]) -> SpecError:
        """The mistakes with the lines of this document, as one error."""
        by_path = {key_path(place): line for place, line in self.lines.items()}
        return spec_error(self.name, [_with_line(mistake, by_path) for mistake in mistakes])


def _with_line(mistake: Mistake, by_path: dict[str, int]) -> Mistake:
    path = mistake.key_path
    while path and path not in by_path:
        path = re.sub(r"(\.[^.\[]*|\[[^\[]*|^[^.\[]+)$", "", path)
    return Mistake(mistake.key_path, mistake.problem, mistake.remedy, mistake.line or by_path.get(path))


def load_text(text: str, name: str) -> SpecDocument:
    """Reads YAML or JSON.

    Args:
        text: The file's text.
        name: Its path; decides between JSON (`.json`) and YAML.

    Raises:
        SpecError: The text is neither, repeats a key, or is no mapping.
    """
    if PurePath(name).suffix == ".json":
        return SpecDocument(name, _mapping(_load_json(text, name), name))
    try:
        node = yaml.compose(text, Loader=SpecLoader)
        lines: dict[Location, int] = {}
        _walk(node, (), lines, name)
        data = yaml.load(text, Loader=SpecLoader)  # noqa: S506 - SpecLoader is a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = f"this is not YAML: {error.problem or error.context}"
        raise spec_error(name, [Mistake("", problem, "Check the indentation and the quotes.", mark.line + 1 if mark else None)]) from None
    except (yaml.YAMLError, ValueError, KeyError) as error:
        raise spec_error(name, [Mistake("", f"this is not YAML: {' '.join(str(error).split())}")]) from None
    except RecursionError:
        raise _too_deep(name) from None
    return SpecDocument(name, _mapping(data, name), lines)


def parse(document: SpecDocument, kind: type[Spec]) -> Spec:
    """Checks a document against a kind of spec.

    Raises:
        SpecError: With every mistake of the document.
    """
    try:
        # The JSON mode of strict validation takes arrays for tuples; nothing else is looser.
        return kind.model_validate_json(json.dumps(document.data))
    except ValidationError as error:
        raise document.located(tuple(explain(error, kind))) from None


def _load_json(text: str, name: str) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        seen = [key for key, _ in pairs]
        twice = {key for key in seen if seen.count(key) > 1}
        if twice:
            raise spec_error(name, [Mistake(key, "stands twice", "Keep one of them.") for key in sorted(twice)])
        return dict(pairs)

    try:
        return json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise spec_error(name, [Mistake("", f"this is not JSON: {error.msg}", line=error.lineno)]) from None
    except ValueError as error:
        raise spec_error(name, [Mistake("", f"this is not JSON: {error}")]) from None
    except RecursionError:
        raise _too_deep(name) from None


def _too_deep(name: str) -> SpecError:
    return spec_error(name, [Mistake("", "is nested too deeply", "No experiment needs more than ten levels.")])


def _mapping(data: Any, name: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        found = "nothing" if data is None else f"a {type(data).__name__}"
        raise spec_error(name, [Mistake("", f"the file holds {found}", "It must be a mapping, beginning with `kind: FinetuneExperiment`.")])
    return data


def _walk(node: yaml.Node | None, place: Location, lines: dict[Location, int], name: str) -> None:
    """Notes the line of every place, and refuses a key that is no text, or stands twice in one mapping."""
    if node is None:
        return
    lines.setdefault(place, node.start_mark.line + 1)
    if len(lines) > MAX_PLACES:
        raise spec_error(name, [Mistake("", f"holds more than {MAX_PLACES} values", "Aliases of aliases multiply: write out what is meant.")])
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _walk(item, (*place, index), lines, name)
    elif isinstance(node, yaml.MappingNode):
        keys: set[str] = set()
        for key, value in node.value:
            here = (*place, _key_of(key, keys, place, name))
            lines[here] = key.start_mark.line + 1
            _walk(value, here, lines, name)


def _key_of(key: yaml.Node, seen: set[str], place: Location, name: str) -> str:
    line = key.start_mark.line + 1
    if not isinstance(key, yaml.ScalarNode):
        raise spec_error(name, [Mistake(key_path(place), "a key must be text", "Put text with braces or brackets in quotes.", line)])
    if key.value in seen:
        raise spec_error(name, [Mistake(key_path((*place, key.value)), "stands twice", "Keep one of them.", line)])
    seen.add(key.value)
    return str(key.value)
