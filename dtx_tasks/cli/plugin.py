"""`dtx plugin`: what is installed."""

from __future__ import annotations

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dtx_tasks.errors import SpecError
from dtx_tasks.extension import declaration_of, installed


def add_to(app: typer.Typer) -> None:
    """Adds this group of commands."""
    group = typer.Typer(name="plugin", help="Data plugins, which rewrite the rows of Datasets.", no_args_is_help=True)
    # A group of one command would otherwise be that command.
    group.callback()(lambda: None)
    group.command("list")(list_plugins)
    app.add_typer(group)


def list_plugins() -> None:
    """List the data plugins of this environment, with their parameters, and what is wrong with those that cannot be used."""
    table = Table("name", "version", "parameters", "description", title="Data plugins", title_justify="left")
    for name in installed():
        table.add_row(name, *map(Text, _facts(name)))
    Console().print(table)


def _facts(name: str) -> tuple[str, str, str]:
    try:
        declaration = declaration_of(name)
    except SpecError as error:
        return "-", "", str(error)
    properties = declaration.parameters.get("properties")
    return declaration.version, ", ".join(properties) if isinstance(properties, dict) else "", declaration.description
