"""Commands for named resources: `dtx dataset`, `llm`, `hyperparameters`, `scoring` and `plugin-parameters`, all by the same functions."""

from __future__ import annotations

import getpass
import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from dtx_tasks.catalog import KINDS, Kind
from dtx_tasks.cli.experiment import read_spec
from dtx_tasks.cli.tables import resource_table, version_table
from dtx_tasks.cli.team import Team
from dtx_tasks.entrypoints.resources import bundled_digest, create_resource, delete_resource, edit_resource, list_resources, resource_versions, show_resource
from dtx_tasks.errors import SpecError
from dtx_tasks.resolve import Origin
from dtx_tasks.spec import SpecDocument, dump_text, load_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dtx_tasks.catalog import Version
    from dtx_tasks.entrypoints.resources import Saved

Name = Annotated[str, typer.Argument(help="Its name.", show_default=False)]
Definition = Annotated[
    Path,
    typer.Argument(
        help="A YAML or JSON file with the definition, from whose folder relative paths count; `-` reads standard input.", show_default=False, allow_dash=True
    ),
]
MaybeDefinition = Annotated[Path | None, typer.Argument(help="As for create; without it $EDITOR opens.", show_default=False, allow_dash=True)]
Note = Annotated[str, typer.Option(help="Why, in a few words; kept with the version.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for other programs.")]
AsYaml = Annotated[bool, typer.Option("--yaml", help="Print the definition alone, as create and edit read it.")]
VersionNumber = Annotated[int | None, typer.Option("--version", min=1, help="Which version; the latest by default.", show_default=False)]
BasedOn = Annotated[int | None, typer.Option(min=1, help="The version that FILE was made from: a later one by somebody else is not lost.", show_default=False)]


def add_to(app: typer.Typer, first: Mapping[str, Callable[[typer.Typer], None]]) -> None:
    """Adds a group of commands for each kind.

    Args:
        app: Where they go.
        first: By the word of a kind what adds commands that only this one has, to stand in front of the others.
    """
    for kind in KINDS:
        app.add_typer(_group(kind, first.get(kind.command)), name=kind.command)


def _group(kind: Kind, add_first: Callable[[typer.Typer], None] | None) -> typer.Typer:
    group = typer.Typer(no_args_is_help=True)

    def remember(context: typer.Context) -> None:
        context.obj = kind

    group.callback(help=f"{kind.purpose}: named and versioned, bundled ones and your own.")(remember)
    if add_first:
        add_first(group)
    for word, command in (("list", list_all), ("show", show), ("create", create), ("edit", edit), ("delete", delete)):
        group.command(word, rich_help_panel=f"Named {kind.plural}")(command)
    return group


def create(context: typer.Context, file: Definition, note: Note = "", team: Team = "default") -> None:
    """Save a new one, under the name in its file."""
    document, origin = _read(file)
    _say(context.obj, create_resource(context.obj, document, origin, team=team, author=_author(), note=note))


def list_all(context: typer.Context, team: Team = "default", as_json: AsJson = False) -> None:
    """List the bundled ones and your own."""
    found = list_resources(context.obj, team=team)
    if as_json:
        lines = [{"name": item.name, "is_bundled": item.version is None, **(_facts(item.version) if item.version else {})} for item in found]
        typer.echo(json.dumps(lines, ensure_ascii=False, indent=1))
        return
    Console().print(resource_table(context.obj.plural, found))


def show(context: typer.Context, name: Name, version: VersionNumber = None, as_yaml: AsYaml = False, as_json: AsJson = False, team: Team = "default") -> None:
    """Show a definition and its versions."""
    kind: Kind = context.obj
    content, found = show_resource(kind, name, version, team=team)
    text = dump_text(_ordered(kind, content))
    if as_yaml:
        typer.echo(text, nl=False)
        return
    shown: dict[str, Any] = {"kind": kind.name, "name": name, "is_bundled": found is None, "content": content}
    if found is None:
        _print_bundled(kind, name, text, shown if as_json else None)
    else:
        _print_own(kind, found, resource_versions(kind, name, team=team), text, shown if as_json else None)


def _print_bundled(kind: Kind, name: str, text: str, shown: dict[str, Any] | None) -> None:
    digest = bundled_digest(kind, name)
    if shown:
        typer.echo(json.dumps({**shown, "digest": digest}, ensure_ascii=False, indent=1))
    else:
        typer.echo(f"{kind.name} {name}, bundled and read-only: version {digest}\n\n{text}", nl=False)


def _print_own(kind: Kind, found: Version, versions: list[Version], text: str, shown: dict[str, Any] | None) -> None:
    if shown:
        typer.echo(json.dumps({**shown, **_facts(found), "versions": [_facts(item) for item in versions]}, ensure_ascii=False, indent=1))
    else:
        typer.echo(f"{kind.name} {found.label}\n\n{text}")
        Console().print(version_table(versions))


def edit(context: typer.Context, name: Name, file: MaybeDefinition = None, based_on: BasedOn = None, note: Note = "", team: Team = "default") -> None:
    """Save a new version, from a file or in $EDITOR."""
    kind: Kind = context.obj
    latest = resource_versions(kind, name, team=team)[0]
    if file is None:
        _say(kind, _edited_by_hand(kind, latest if based_on is None else _version(kind, name, based_on, team), note, team))
        return
    if based_on is None:
        hint = f"The latest is {latest.number}, by {latest.author}: if the file was made from that, add --based-on {latest.number}."
        raise SpecError(f"Which version of {name!r} was {file} made from?", hint)
    document, origin = _read(file)
    _say(kind, edit_resource(kind, name, document, origin, based_on=based_on, team=team, author=_author(), note=note))


def delete(context: typer.Context, name: Name, team: Team = "default") -> None:
    """Remove one of your own; refused while something refers to it."""
    delete_resource(context.obj, name, team=team)
    typer.echo(f"{context.obj.name} {name} is deleted.")


def _version(kind: Kind, name: str, number: int, team: str) -> Version:
    _, found = show_resource(kind, name, number, team=team)
    assert found is not None  # a bundled one has no versions
    return found


def _edited_by_hand(kind: Kind, before: Version, note: str, team: str) -> Saved:
    """What comes back from the editor; it is kept where it cannot be saved."""
    handle, path = tempfile.mkstemp(prefix=f"{kind.command}-", suffix=".yaml")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(dump_text(_ordered(kind, before.content)))
    _run_editor(Path(path))
    try:
        document, _ = read_spec(Path(path))
        saved = edit_resource(kind, before.name, document, Origin(Path.cwd()), based_on=before.number, team=team, author=_author(), note=note)
    except SpecError as error:
        again = f"dtx {kind.command} edit {shlex.quote(before.name)} {path} --based-on {before.number}"
        raise SpecError(f"{error}\nYour text is kept. Mend it, then: {again}", mistakes=error.mistakes) from None
    os.unlink(path)
    return saved


def _run_editor(path: Path) -> None:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        subprocess.run([*shlex.split(editor), path], check=True)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        path.unlink()
        raise SpecError(f"The editor {editor!r} failed: {error}.", "Set EDITOR, or name a file.") from None


def _read(file: Path) -> tuple[SpecDocument, Origin]:
    """A definition and what its paths count from: the file's folder, or this one for standard input."""
    if str(file) != "-":
        return read_spec(file)
    try:
        text = sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecError(f"standard input: is not UTF-8 text (byte {error.start}).", "Send it as UTF-8.") from None
    return load_text(text, "standard input"), Origin(Path.cwd())


def _ordered(kind: Kind, content: dict[str, Any]) -> dict[str, Any]:
    """The name first, then the rest as the reference has it."""
    return {key: content[key] for key in dict.fromkeys(("name", "description", *kind.model.model_fields)) if key in content}


def _facts(version: Version) -> dict[str, Any]:
    return version.model_dump(mode="json", include={"number", "digest", "files", "created_at", "author", "note"})


def _say(kind: Kind, saved: Saved) -> None:
    version = saved.version
    if saved.is_new:
        typer.echo(f"Saved {kind.name} {version.label} ({version.digest}).")
    else:
        typer.echo(f"{kind.name} {version.label} says this already: nothing was saved.")
    if saved.problem:
        typer.echo(f"It has bad rows, and jobs with it will fail: {saved.problem}")


def _author() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container's user need not have a name.
        return f"user {os.getuid()}"
