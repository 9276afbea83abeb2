"""Whose: the option that every command about a team's own things has."""

from __future__ import annotations

from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from dtx_tasks.errors import SpecError
from dtx_tasks.spec import TeamName


def _named(value: str) -> str:
    """The name becomes a folder of the storage root, and must not lead out of it."""
    try:
        return TypeAdapter(TeamName).validate_python(value)
    except ValidationError:
        raise SpecError(f"--team {value!r} is no name of a team.", "Use lower-case letters, digits and hyphens inside, at most 40.") from None


Team = Annotated[str, typer.Option(help="Whose: a team sees the bundled resources and its own.", callback=_named)]
