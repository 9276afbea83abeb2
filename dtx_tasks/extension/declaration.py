"""What a plugin says of itself: found by its entry point, and read from its package without importing it."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, JsonValue

from dtx_tasks.errors import SpecError, nearest
from dtx_tasks.spec import SpecDocument, load_text, parse
from dtx_tasks.spec.base import SpecModel

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "dtx.data_plugins"
FILE_NAME = "dtx_plugin.yaml"


class Declaration(SpecModel):
    """What stands below a plugin's name in the file of its package."""

    version: Annotated[str, Field(min_length=1, examples=['"1.0"'])]
    """Text in quotes; raised whenever other rows come out."""

    description: str = ""
    """What it does, for `dtx plugin list`."""

    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    """JSON Schema of an object; names that are not among its `properties` are mistakes unless it allows them."""


def installed() -> list[str]:
    """The names of all plugins, whether or not they can be used."""
    return sorted({point.name for point in entry_points(group=GROUP)})


def entry_point_of(name: str) -> EntryPoint:
    """What leads to a plugin.

    Raises:
        SpecError: No package offers it, or several do.
    """
    found = list(entry_points(group=GROUP, name=name))
    if not found:
        remedy = "Install its package where experiments are planned and where rows are prepared."
        raise SpecError(f"There is no plugin {name!r} in {sys.prefix}.", f"{nearest(name, installed())} {remedy}")
    if len(found) > 1:
        packages = sorted(point.dist.name if point.dist else "?" for point in found)
        raise SpecError(f"The plugin {name!r} is offered by several packages: {', '.join(packages)}.", "Remove all but one of them.")
    return found[0]


def declaration_of(name: str) -> Declaration:
    """What a plugin declares of itself.

    Raises:
        SpecError: There is no such plugin, or its package does not declare it as it must.
    """
    path = _file_of(entry_point_of(name))
    try:
        document = load_text(path.read_text(encoding="utf-8-sig"), str(path))
        if name not in document.data:
            raise broken(name, f"{path} does not declare it", f"It declares {', '.join(document.data)}: its names are those of the entry points.")
        return parse(_below(document, name), Declaration)
    except (OSError, UnicodeDecodeError) as error:
        raise broken(name, f"{path} cannot be read: {error}") from None
    except SpecError as error:
        if not error.mistakes:
            raise
        raise broken(name, str(error)) from None


def broken(name: str, problem: str, remedy: str = "Mend its package, or install another version of it.") -> SpecError:
    """A plugin that is installed and cannot be used."""
    return SpecError(f"The plugin {name!r} is broken: {problem.rstrip('.')}.", remedy)


def _file_of(point: EntryPoint) -> Path:
    """Where a plugin is declared: beside the module of its entry point."""
    if not point.pattern.match(point.value):
        raise broken(point.name, f"its entry point names no object (got {point.value!r})", "Write it as package.module:function.")
    folders = _folders_of(point)
    found = next((folder / FILE_NAME for folder in folders if (folder / FILE_NAME).is_file()), None)
    if found is None:
        looked_in = f"there is no {FILE_NAME} in {' or '.join(map(str, folders))}"
        raise broken(point.name, looked_in, "Its package must declare it there, and its wheel must hold that file.")
    return found


def _folders_of(point: EntryPoint) -> list[Path]:
    """The folders of the package that the module of an entry point is in, or is.

    Only the outermost package is looked up by Python: looking up what is in a package would import it.
    """
    outermost, *parts = point.module.split(".")
    try:
        spec = find_spec(outermost)
    except ValueError:
        spec = None
    if spec is None or spec.submodule_search_locations is None:
        problem = f"there is no package {outermost!r}" if spec is None else f"the module {outermost!r} is in no package"
        raise broken(point.name, problem, f"Its entry point is {point.value!r}: the module must be in a package, beside {FILE_NAME}.")
    folders = list(map(Path, spec.submodule_search_locations))
    for part in parts:
        inner = [folder / part for folder in folders if (folder / part).is_dir()]
        if not inner and not any(any(folder.glob(f"{part}.*")) for folder in folders):
            raise broken(point.name, f"there is no module {point.module!r}", f"Its entry point is {point.value!r}.")
        folders = inner or folders
    return folders


def _below(document: SpecDocument, name: str) -> SpecDocument:
    """What stands below one key, with its lines."""
    lines = {place[1:]: line for place, line in document.lines.items() if place[:1] == (name,)}
    data = document.data[name]
    if not isinstance(data, dict):
        raise broken(name, f"{document.name} declares it as {data!r}", 'It must have at least a version: `version: "1.0"`.')
    return SpecDocument(document.name, data, lines)
