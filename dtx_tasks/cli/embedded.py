"""Commands for the embedded stack: up, down, status, demo."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from dtx_tasks import stack
from dtx_tasks.catalog.backend import load_backend
from dtx_tasks.cli.connection import client, in_use
from dtx_tasks.cli.experiment import read_spec
from dtx_tasks.cli.handover import hand_over
from dtx_tasks.cli.remote import DAG_ID, conclude, follow
from dtx_tasks.cli.tables import counted
from dtx_tasks.entrypoints.documents import write_plan
from dtx_tasks.entrypoints.planning import plan_document
from dtx_tasks.launch import LocalProcess, is_finished
from dtx_tasks.settings import backend_name, bundled_folder, catalog_url, home, root, schedules_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dtx_tasks.stack import StackState

TASKS_AT_A_TIME = 8
"""Of all experiments together: what an experiment trains at a time is its own `parallelism`."""

EXAMPLE = "experiments/shop-intents.yaml"


def add_to(app: typer.Typer) -> None:
    """Adds these commands."""
    for command in (up, down, status, demo):
        app.command()(command)


def up() -> None:
    """Start Airflow and MLflow on this machine; what runs already is left alone."""
    # A name that nothing has is told at once, not by a process that cannot start.
    load_backend()
    with in_use():
        state = _up()
        stack.stay_up(home())
    _print_places(state)


def down() -> None:
    """Stop them, and every process that they started."""
    typer.echo("Stopped." if stack.down(home()) else "Nothing was running.")
    stack.stay_up(home())


def status(as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for other programs.")] = False) -> None:
    """Show what runs, and whether it is well."""
    state = stack.status(home())
    if as_json:
        parts = {component.name: component.healthy for component in state.components} if state else {}
        typer.echo(json.dumps({"running": state is not None, "healthy": bool(state and state.healthy), "components": parts}))
    elif state is None:
        typer.echo(f"Nothing runs in {home()}. Start it with `dtx up`.")
    else:
        _print_places(state)
        for component in state.components:
            typer.echo(f"{component.name}: {'well' if component.healthy else 'not well'}, process {component.pid}")
    if state is None or not state.healthy:
        raise typer.Exit(5)


def demo(keep: Annotated[bool, typer.Option(help="Leave the UI up until Ctrl-C.")] = True) -> None:
    """Run the example experiment from nothing to a registered model."""
    began_at = time.monotonic()
    load_backend()
    with in_use(stops=True):
        if stack.status(home()) is None:
            stack.start_briefly(home())
        file = bundled_folder("config") / EXAMPLE
        document, origin = read_spec(file)
        plan = plan_document(document, origin)
        # Airflow, MLflow and the example's base model all take a while: together, not one after another.
        with _made_meanwhile(write_plan(plan, root()).bases):
            state = _up()
        ready_s = time.monotonic() - began_at
        with client() as airflow:
            airflow.wait_for_dag(DAG_ID)
            run_id = airflow.trigger(DAG_ID, hand_over(document.data, plan, file.parent, root()))
            typer.echo(f"Started {run_id}: {counted(plan.jobs, 'job')}.\n{airflow.base_url}/dags/{DAG_ID}/runs/{run_id}")
            follow(airflow, run_id, say=typer.echo)
            conclude(airflow, run_id, as_json=False)
        typer.echo(f"{ready_s:.0f} s to start Airflow, MLflow and make the base model; {time.monotonic() - began_at:.0f} s in all.")
        if not stack.is_brief(home()):
            _print_places(state)
        elif keep:
            _print_places(state)
            _wait_for_ctrl_c()


def _wait_for_ctrl_c() -> None:
    typer.echo("Ctrl-C stops everything.")
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        return


def _up() -> StackState:
    schedules_folder().mkdir(parents=True, exist_ok=True)
    settings = {
        "DTX_HOME": str(home()),
        "DTX_ROOT": root(),
        "DTX_SCHEDULES": str(schedules_folder()),
        "DTX_BACKEND": backend_name(),
        "DTX_CATALOG_URL": catalog_url(),
    }
    return stack.up(
        home(),
        dags_folder=bundled_folder("dags"),
        plugins_folder=bundled_folder("plugins"),
        config_env=settings,
        parallelism=TASKS_AT_A_TIME,
        on_event=typer.echo,
    )


@contextmanager
def _made_meanwhile(base_uris: list[str]) -> Iterator[None]:
    """Brings base models to storage while something else goes on, and waits for them at the end."""
    running = [LocalProcess("fetch", uri, "demo") for uri in base_uris if not is_finished("fetch", uri)]
    if running:
        typer.echo("The example's base model is being made; it is kept for the next time.")
    try:
        yield
        for process in running:
            for line in process.lines():
                if '"event": "error"' in line:
                    typer.echo(line)
            process.wait()
    finally:
        for process in running:
            process.stop()


def _print_places(state: StackState) -> None:
    typer.echo(f"Airflow: {state.airflow_url} (user {state.username}, password {state.password})\nMLflow:  {state.mlflow_url}")
