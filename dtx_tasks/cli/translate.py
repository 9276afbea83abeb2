"""`dtx import`: a training file of another program as an experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dtx_tasks.cli.experiment import read_spec
from dtx_tasks.errors import SpecError
from dtx_tasks.spec import FinetuneExperiment, parse
from dtx_tasks.spec.load import SpecDocument
from dtx_tasks.translate import Ground, translation


def add_to(app: typer.Typer) -> None:
    """Adds this command."""
    app.command("import")(import_training)


def import_training(
    file: Annotated[Path, typer.Argument(help="A training YAML of LLaMA-Factory or axolotl.", show_default=False)],
    out: Annotated[Path, typer.Option(help="The experiment to write.")] = Path("experiment.yaml"),
    gpus: Annotated[int, typer.Option(min=1, max=64, help="GPUs of each machine that it was trained on: they count in the batch.")] = 1,
    nodes: Annotated[int, typer.Option(min=1, max=64, help="Machines that it was trained on.")] = 1,
) -> None:
    """Make an experiment of a training file of LLaMA-Factory or axolotl, and say what became of each line."""
    if out.exists():
        raise SpecError(f"{out} exists already.", "Choose another name by --out, or remove it first.")
    found = translation(read_spec(file)[0], Ground(file.parent, out.parent, nodes, gpus), file.stem)
    parse(SpecDocument(str(out), found.experiment), FinetuneExperiment)
    typer.echo("\n".join(line.text(str(file)) for line in found.lines))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(found.as_text(file.name), encoding="utf-8")
    counted = ", ".join(f"{found.counts[outcome]} {outcome}" for outcome in ("translated", "not needed", "not possible", "assumed"))
    typer.echo(f"Wrote {out}: {counted}. Next: dtx validate {out}")
