"""Commands that need no Airflow: init, schema, validate, plan, run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from dtx_tasks.cli.run import run_plan
from dtx_tasks.cli.tables import counted, leaderboard, plan_table, told_of
from dtx_tasks.entrypoints.planning import plan_document
from dtx_tasks.errors import SpecError
from dtx_tasks.plan import estimate_s
from dtx_tasks.resolve import Origin, finished_jobs, tokens_per_s
from dtx_tasks.settings import root
from dtx_tasks.spec import SpecDocument, experiment_schema, load_text

SpecFile = Annotated[Path, typer.Argument(help="The experiment's YAML or JSON file.", show_default=False)]

STARTER = """\
# yaml-language-server: $schema={schema}
kind: FinetuneExperiment
name: {name}
matrix:
  llms: [tiny-bilingual]
  datasets: [shop-bilingual, shop-zh]
  hyperparameters: [lora-quick, lora-timid]
selection:
  metric: exact_match
parallelism: 2
"""


def add_to(app: typer.Typer) -> None:
    """Adds these commands."""
    for command in (init, schema, validate, plan, run):
        app.command()(command)


def init(
    file: Annotated[Path, typer.Argument(help="The file to write.")] = Path("experiment.yaml"),
    name: Annotated[str, typer.Option(help="The experiment's name.")] = "my-experiment",
) -> None:
    """Write a starter experiment, and the JSON Schema that editors check it with."""
    if file.exists():
        raise SpecError(f"{file} exists already.", "Choose another name, or remove it first.")
    file.parent.mkdir(parents=True, exist_ok=True)
    schema_path = file.parent / "experiment.schema.json"
    schema_path.write_text(experiment_schema(), encoding="utf-8")
    file.write_text(STARTER.format(name=json.dumps(name, ensure_ascii=False), schema=schema_path.name), encoding="utf-8")
    typer.echo(f"Wrote {file} and {schema_path}. Next: dtx plan {file}")


def schema() -> None:
    """Print the JSON Schema of an experiment file."""
    typer.echo(experiment_schema(), nl=False)


def validate(file: SpecFile) -> None:
    """Check a file, everything that it names and the paths in it; every mistake at once."""
    found = plan_document(*read_spec(file))
    typer.echo("\n".join([f"{file}: valid: {counted(found.jobs, 'job')}, plan {found.plan_id}.", *told_of(found)]))


def plan(
    file: SpecFile,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
) -> None:
    """Print what a file comes to, without running anything."""
    found = plan_document(*read_spec(file))
    if as_json:
        typer.echo(found.model_dump_json(indent=1))
        return
    reused = finished_jobs(found, root())
    Console().print(plan_table(found, reused, estimate_s(found, reused, tokens_per_s(found, root()))))


def run(file: SpecFile) -> None:
    """Run an experiment here and now, without Airflow: the same stages, for debugging."""
    found = plan_document(*read_spec(file))
    verdict = run_plan(found, root())
    Console().print(leaderboard(verdict))


def read_spec(file: Path) -> tuple[SpecDocument, Origin]:
    """The text of a file, taken apart, and what its paths count from.

    Raises:
        SpecError: It cannot be read.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecError(f"{file}: is not UTF-8 text (byte {error.start}).", "Save it as UTF-8.") from None
    except OSError as error:
        raise SpecError(f"{file}: cannot be read: {error.strerror}.") from None
    return load_text(text, str(file)), Origin(file.resolve().parent)
