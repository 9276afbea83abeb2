"""Saves, shows and deletes named resources: what `dtx dataset` and its like do, and what a page or a request would do.

Definitions are checked as `resolve` would check them, so that what is saved can be used.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dtx_tasks.catalog import config_folder, content_of, digest_of_version, has_own_resources, load_catalog, open_catalog, own_resources
from dtx_tasks.entrypoints.references import users_of
from dtx_tasks.errors import Mistake, SpecError, nearest
from dtx_tasks.resolve import Allowed, check_parameters, files_of, merged_values, resolve_dataset, resolve_llm, with_parameters
from dtx_tasks.settings import root
from dtx_tasks.spec import LLM, SPLITS, Dataset, HyperparameterGroup, PluginParameters, SpecDocument, parse

if TYPE_CHECKING:
    from dtx_tasks.catalog import Catalog, Kind, Version
    from dtx_tasks.resolve import Origin
    from dtx_tasks.spec.base import SpecModel


@dataclass(frozen=True)
class Saved:
    """What became of a definition.

    Attributes:
        version: The one that is the latest now.
        is_new: Whether this call made it; the same content again is no new version.
        problem: What is wrong with the rows of a Dataset; empty when nothing is.
    """

    version: Version
    is_new: bool
    problem: str


@dataclass(frozen=True)
class Listed:
    """One line of a list.

    Attributes:
        name: Of the resource.
        description: What its author wrote about it.
        version: The latest of the user's own; None for a bundled one.
        is_hidden: It is bundled and the user's own: experiments that name it are refused.
    """

    name: str
    description: str
    version: Version | None
    is_hidden: bool = False


@dataclass(frozen=True)
class _Checked:
    """A definition that can be used."""

    content: dict[str, Any]
    files: dict[str, str]
    problem: str


def create_resource(kind: Kind, document: SpecDocument, origin: Origin, *, team: str, author: str, note: str = "") -> Saved:
    """Saves a new resource of the user's own.

    Args:
        kind: What it is.
        document: Its definition.
        origin: What its relative paths count from, and where its paths may lead.
        team: Whose it is.
        author: Who saves it.
        note: Why, in a few words.

    Raises:
        SpecError: With every mistake of the definition; or its name is taken, by a bundled one too.
    """
    checked = _checked(kind, document, origin, team)
    version = own_resources(team).create(kind, checked.content, checked.files, author=author, note=note)
    return Saved(version, True, checked.problem)


def edit_resource(kind: Kind, name: str, document: SpecDocument, origin: Origin, *, based_on: int, team: str, author: str, note: str = "") -> Saved:
    """Saves a new version of a resource.

    Args:
        kind: What it is.
        name: Its name.
        document: The whole definition, as it is to be.
        origin: What its relative paths count from, and where its paths may lead.
        based_on: The version that the author had before them.
        team: Whose it is.
        author: Who saves it.
        note: Why, in a few words.

    Raises:
        ConflictError: Somebody has saved another version since; it says who and what.
        SpecError: With every mistake of the definition; or there is no such resource.
    """
    latest = resource_versions(kind, name, team=team)[0]
    checked = _checked(kind, document, origin, team)
    if checked.content["name"] != name:
        problem = f"an edit does not rename (got {checked.content['name']!r})"
        raise document.located((Mistake("name", problem, f"Write {name!r}, or create the new one and delete this one."),))
    version = own_resources(team).edit(kind, checked.content, checked.files, based_on=based_on, author=author, note=note)
    return Saved(version, version.number > latest.number, checked.problem)


def list_resources(kind: Kind, *, team: str) -> list[Listed]:
    """Every resource of a kind by name, bundled and the team's own.

    Args:
        kind: What to list.
        team: Whose.
    """
    bundled = _bundled(kind)
    own = own_resources(team).latest(kind) if has_own_resources() else []
    found = [Listed(name, _described(spec), None) for name, spec in bundled.items()]
    found += [Listed(version.name, str(version.content.get("description", "")), version, version.name in bundled) for version in own]
    return sorted(found, key=lambda item: (item.name, item.version is not None))


def resource_versions(kind: Kind, name: str, *, team: str) -> list[Version]:
    """Every version of one of the user's own, newest first.

    Args:
        kind: What it is.
        name: Its name, without a version.
        team: Whose.

    Raises:
        SpecError: There is none of this name, or it is bundled.
    """
    found = own_resources(team).versions(kind, name) if has_own_resources() else []
    if found:
        return found
    bundled = _bundled(kind)
    if name in bundled:
        raise SpecError(f"{kind.name} {name!r} is bundled and read-only.", f"`dtx {kind.command} show {name} --yaml` prints it: create your own from that.")
    names = {*bundled, *(item.name for item in list_resources(kind, team=team))}
    raise SpecError(f"There is no {kind.name} of this name (got {name!r}).", nearest(name, names, kind.listing))


def show_resource(kind: Kind, name: str, number: int | None = None, *, team: str) -> tuple[dict[str, Any], Version | None]:
    """The definition of a resource.

    Args:
        kind: What it is.
        name: Its name.
        number: Which version of the user's own; by default the latest.
        team: Whose.

    Returns:
        The definition, and the version; None for a bundled one.

    Raises:
        SpecError: There is no such resource, or no such version of it.
    """
    bundled = load_catalog(config_folder())
    own = own_resources(team).versions(kind, name) if has_own_resources() else []
    if name in bundled.of(kind) and not own and number is None:
        # With absolute paths, so that it can be saved as one's own from any folder.
        return content_of(_placed(bundled.of(kind)[name], bundled.folders[kind.name, name])), None
    versions = own or resource_versions(kind, name, team=team)
    found = next((version for version in versions if number in (None, version.number)), None)
    if found is None:
        raise SpecError(f"{kind.name} {name!r} has no version {number}.", f"It has: {', '.join(str(version.number) for version in reversed(versions))}.")
    return found.content, found


def bundled_digest(kind: Kind, name: str) -> str:
    """The version of a bundled resource: the digest of its definition and of the files that it names now.

    Args:
        kind: What it is.
        name: Its name.

    Raises:
        SpecError: The files that it names are not there.
    """
    catalog = load_catalog(config_folder())
    spec, folder = catalog.of(kind)[name], catalog.folders[kind.name, name]
    document = SpecDocument(f"{kind.name} {name} of {folder}", content_of(spec))
    files, _ = _files(document, spec, Allowed(folder, None), catalog)
    return digest_of_version(kind, content_of(spec), files)


def delete_resource(kind: Kind, name: str, *, team: str) -> None:
    """Removes one of the user's own with all its versions.

    Args:
        kind: What it is.
        name: Its name.
        team: Whose.

    Raises:
        SpecError: An experiment or another resource refers to it; or there is no such one.
    """
    resource_versions(kind, name, team=team)
    users = users_of(kind, name, team=team, root=root())
    if users:
        shown = "\n".join(f"- {user}" for user in users)
        raise SpecError(f"{kind.name} {name!r} is still needed:\n{shown}\nRemove those first, or leave it: `edit` makes a new version of it.")
    own_resources(team).delete(kind, name)


def _bundled(kind: Kind) -> dict[str, SpecModel]:
    return dict(load_catalog(config_folder()).of(kind))


def _described(spec: SpecModel) -> str:
    return str(getattr(spec, "description", ""))


def _checked(kind: Kind, document: SpecDocument, origin: Origin, team: str) -> _Checked:
    spec = _placed(parse(document, kind.model), origin.folder)
    content = content_of(spec)
    if "name" not in content:
        raise document.located((Mistake("name", "is missing", "A named resource has a name."),))
    if content["name"] in _bundled(kind):
        problem = f"is the name of a bundled {kind.name} (got {content['name']!r})"
        raise document.located((Mistake("name", problem, "Bundled ones are read-only and are never hidden: choose another name."),))
    files, problem = _files(document, spec, Allowed(None, origin.roots), open_catalog(team))
    return _Checked(content, files, problem)


def _files(document: SpecDocument, spec: SpecModel, allowed: Allowed, catalog: Catalog) -> tuple[dict[str, str], str]:
    """Digests of the files that a definition names, and what is wrong with their rows."""
    if isinstance(spec, Dataset):
        told = with_parameters(spec, catalog.parameters)
        dataset = told if isinstance(told, list) else resolve_dataset(told, allowed)
        if isinstance(dataset, list):
            raise _located(document, dataset)
        return files_of(dataset.source), dataset.source.problem
    if isinstance(spec, LLM):
        found = resolve_llm(spec, allowed)
        if isinstance(found, Mistake):
            raise _located(document, [found])
        return files_of(found), ""
    mistakes = _mistakes(spec, catalog)
    if mistakes:
        raise _located(document, mistakes)
    return {}, ""


def _mistakes(spec: SpecModel, catalog: Catalog) -> list[Mistake]:
    """What is wrong with a definition that names no files."""
    if isinstance(spec, PluginParameters):
        return check_parameters(spec)
    values = merged_values(spec, catalog.groups) if isinstance(spec, HyperparameterGroup) else None
    return [values] if isinstance(values, Mistake) else []


def _located(document: SpecDocument, mistakes: list[Mistake]) -> SpecError:
    return document.located(tuple(Mistake(mistake.key_path.removeprefix("."), mistake.problem, mistake.remedy) for mistake in mistakes))


def _placed(spec: SpecModel, folder: Path | None) -> SpecModel:
    """The definition with absolute paths: it is read from other folders later. Links stay links, since what they lead to may change."""
    if isinstance(spec, Dataset):
        return spec.model_copy(update={split: _absolute(written, folder) for split in SPLITS if (written := spec.path_of(split))})
    if isinstance(spec, LLM):
        return spec.model_copy(update={key: _absolute(written, folder) for key in ("source", "base") if (written := getattr(spec, key))})
    if isinstance(spec, HyperparameterGroup) and spec.reward_model:
        return spec.model_copy(update={"reward_model": _absolute(spec.reward_model, folder)})
    return spec


def _absolute(written: str, folder: Path | None) -> str:
    """A path of this machine made absolute; anything with a scheme, such as `s3:` or `made:`, stays."""
    if folder is None or ":" in written.partition("/")[0]:
        return written
    try:
        return os.path.abspath(folder / Path(written).expanduser())
    except RuntimeError:
        # A home of nobody: the check says so.
        return written
