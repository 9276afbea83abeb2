"""`dtx export`: a trained model as a folder that any other program loads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dtx_tasks.cli.team import Team
from dtx_tasks.errors import SpecError
from dtx_tasks.fetch.export import export as write_model
from dtx_tasks.records import Layout
from dtx_tasks.settings import root

SAFETENSORS = "safetensors"
REFUSED = {"gguf": "GGUF is written by llama.cpp's own converter, which is not on PyPI and so not among the pinned libraries."}


def add_to(app: typer.Typer) -> None:
    """Adds this command."""
    app.command()(export)


def export(
    name: Annotated[str, typer.Argument(help="A job's id, or a registered model: NAME, or NAME@3.", show_default=False)],
    folder: Annotated[Path, typer.Argument(help="Where to; empty, or not there yet.", show_default=False)],
    form: Annotated[str, typer.Option("--format", help="How weights are written.")] = SAFETENSORS,
    team: Team = "default",
) -> None:
    """Write a trained model as one folder: whole weights (an adapter merged into its base), tokenizer, chat template, generation config."""
    if form != SAFETENSORS:
        reason = REFUSED.get(form, f"There is no format {form!r}.")
        raise SpecError(reason, f"Leave --format out, then with llama.cpp: convert_hf_to_gguf.py {folder}" if form in REFUSED else f"Use {SAFETENSORS}.")
    write_model(name, folder.resolve(), Layout(root(), team))
    typer.echo(f"Wrote {folder}: load it with transformers, or serve it with vLLM.")
