"""Commands that talk to Airflow: submit, watch, logs, cancel; and the leaderboard of what ran."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.console import Console

from dtx_tasks.cli.connection import connect
from dtx_tasks.cli.experiment import SpecFile, read_spec
from dtx_tasks.cli.handover import hand_over
from dtx_tasks.cli.interruption import InterruptedCommandError
from dtx_tasks.cli.progress import ENDED, measure, plan_of
from dtx_tasks.cli.tables import counted, time_table, told_of
from dtx_tasks.cli.tables import leaderboard as leaderboard_table
from dtx_tasks.entrypoints.documents import find_run
from dtx_tasks.entrypoints.planning import plan_document
from dtx_tasks.errors import DtxError, SpecError
from dtx_tasks.records import BestVersion, Layout, RegisteredLLM, RunReference
from dtx_tasks.settings import home, root
from dtx_tasks.stack import stay_up
from dtx_tasks.stack.rest import AirflowUnreachable
from dtx_tasks.storage import list_names, read_record, written_at

if TYPE_CHECKING:
    from collections.abc import Callable

    from dtx_tasks.records import ExperimentPlan
    from dtx_tasks.stack.rest import Airflow, DagRun, TaskInstance

Answer = TypeVar("Answer")

DAG_ID = "finetune_experiment"
ID_LENGTH = 16
CANCELLED_NOTE = "Cancelled by dtx."
AWAY_S = 60.0
"""A server that is restarted answers again after so long."""

POLL_S = 2.0
TALK_S = 8.0
QUIET_S = 30.0
"""Progress that did not change is said again after so long."""

RunArgument = Annotated[str | None, typer.Argument(help="The run's id; the latest one by default.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for other programs.")]


class ExperimentFailedError(DtxError):
    """The run ended without a verdict."""


class ExperimentCancelledError(DtxError):
    """Somebody stopped the run."""


def add_to(app: typer.Typer) -> None:
    """Adds these commands."""
    for command in (submit, watch, logs, cancel, leaderboard):
        app.command()(command)


def submit(
    file: SpecFile,
    wait: Annotated[bool, typer.Option("--wait", help="Show progress until it ends, then the leaderboard.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run an experiment on Airflow; the files that it names are handed over."""
    document, origin = read_spec(file)
    plan = plan_document(document, origin)
    with connect() as airflow:
        airflow.wait_for_dag(DAG_ID)
        run_id = airflow.trigger(DAG_ID, hand_over(document.data, plan, file.resolve().parent, root()))
        url = f"{airflow.base_url}/dags/{DAG_ID}/runs/{run_id}"
        if not as_json:
            typer.echo("\n".join([f"Started {run_id}: {counted(plan.jobs, 'job')}, plan {plan.plan_id}.", *told_of(plan), url]))
        if not wait:
            # The run goes on when this command has ended: a demo that ends must not stop Airflow under it.
            stay_up(home())
            if as_json:
                typer.echo(json.dumps({"run_id": run_id, "plan_id": plan.plan_id, "url": url}))
            return
        follow(airflow, run_id, say=_quiet if as_json else typer.echo)
        conclude(airflow, run_id, as_json=as_json)


def watch(run_id: RunArgument = None, as_json: AsJson = False) -> None:
    """Show a run's progress until it ends, then the leaderboard."""
    with connect() as airflow:
        name = run_id or _latest_run(airflow)
        follow(airflow, name, say=_quiet if as_json else typer.echo)
        conclude(airflow, name, as_json=as_json)


def logs(
    job: Annotated[str, typer.Argument(help="A job's or task's name in the grid, or its beginning; a job id; or a task id such as plan.")],
    run_id: Annotated[str | None, typer.Option("--run", help="The run's id; the latest one by default.", show_default=False)] = None,
    follow_on: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the task ends.")] = False,
) -> None:
    """Print what a job's tasks said."""
    with connect() as airflow:
        name, seen = run_id or _latest_run(airflow), dict[tuple[str, int, int], int]()
        while True:
            found = _tasks_of(airflow, name, job)
            for task in found:
                _print_new_lines(airflow, name, task, seen)
            if not follow_on or airflow.dag_run(DAG_ID, name).finished or (found and all(task.state in ENDED for task in found)):
                return
            time.sleep(POLL_S)


def cancel(run_id: RunArgument = None) -> None:
    """Stop a run and every process of it."""
    with connect() as airflow:
        name = run_id or _latest_run(airflow)
        if airflow.dag_run(DAG_ID, name).finished:
            typer.echo(f"{name} has ended already.")
            return
        airflow.cancel(DAG_ID, name, CANCELLED_NOTE)
        typer.echo(f"{name} is cancelled; running jobs stop after a last checkpoint.")


def leaderboard(run_id: RunArgument = None, as_json: AsJson = False) -> None:
    """Print the verdict of a run, or of the newest plan of an experiment."""
    verdict = _verdict(_reference(run_id))
    if as_json:
        typer.echo(verdict.model_dump_json(indent=1))
        return
    Console().print(leaderboard_table(verdict))


def follow(airflow: Airflow, run_id: str, say: Any) -> DagRun:
    """Says how far a run is until it ends.

    Args:
        airflow: Where it runs.
        run_id: The run.
        say: Takes a line.

    Raises:
        InterruptedCommandError: Ctrl-C; the run knows nothing of it.
    """
    try:
        return _follow(airflow, run_id, say)
    except KeyboardInterrupt:
        goes_on = f"{run_id} goes on while Airflow runs, and from where it was after `dtx up`"
        raise InterruptedCommandError(f"Stopped watching: {goes_on}.", f"`dtx watch {run_id}` shows it again, `dtx cancel {run_id}` ends it.") from None


def _follow(airflow: Airflow, run_id: str, say: Any) -> DagRun:
    started_at, said, said_at, plan = time.time(), "", 0.0, None
    while not (run := _patient(lambda: airflow.dag_run(DAG_ID, run_id))).finished:
        plan = plan or _plan(run_id)
        begun_at = run.started_at.timestamp() if run.started_at else started_at
        line = str(measure(_patient(lambda: airflow.task_instances(DAG_ID, run_id)), plan, root(), begun_at))
        if time.time() - said_at > (TALK_S if line != said else QUIET_S):
            say(line)
            said, said_at = line, time.time()
        time.sleep(POLL_S)
    return run


def _patient(ask: Callable[[], Answer]) -> Answer:
    """Asks again while Airflow does not answer, for a while."""
    deadline = time.monotonic() + AWAY_S
    while True:
        try:
            return ask()
        except AirflowUnreachable:
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL_S)


def conclude(airflow: Airflow, run_id: str, *, as_json: bool) -> None:
    """Prints what came of a run.

    Raises:
        ExperimentCancelledError: Somebody stopped it.
        ExperimentFailedError: It has no verdict, or could not be registered; with the reasons.
    """
    run, reference = airflow.dag_run(DAG_ID, run_id), find_run(root(), DAG_ID, run_id)
    if run.note == CANCELLED_NOTE:
        raise ExperimentCancelledError(f"{run_id} was cancelled.")
    if run.state != "success":
        raise ExperimentFailedError(_failures(airflow, run_id))
    if reference is None:
        raise ExperimentFailedError(f"{run_id} is not noted in {root()}: is DTX_ROOT the platform's storage?")
    verdict = _verdict(reference)
    if as_json:
        typer.echo(json.dumps({"run_id": run_id, "verdict": verdict.model_dump(mode="json"), **_places(reference, verdict)}, ensure_ascii=False))
        return
    tasks = airflow.task_instances(DAG_ID, run_id)
    console = Console()
    console.print(leaderboard_table(verdict))
    console.print(time_table(tasks, run))
    for name, place in _places(reference, verdict).items():
        typer.echo(f"{name}: {place}")
    typer.echo(_reused(reference))


def _quiet(_line: str) -> None:
    """Standard output is for the JSON alone."""


def _places(reference: RunReference, verdict: BestVersion) -> dict[str, str]:
    layout = Layout(root(), reference.team)
    folder = layout.experiment(reference.experiment_name, reference.plan_id)
    registered = read_record(f"{folder}/registered.json", RegisteredLLM)
    places = {"report": f"{folder}/report.html"}
    if registered and not verdict.is_base:
        places |= {
            "model": registered.checkpoint_uri,
            "registered": f"{registered.registered_name} version {registered.version} @{registered.alias}",
            "mlflow_run": registered.mlflow_run_id,
        }
    return places


def _reused(reference: RunReference) -> str:
    """How many of a run's jobs were trained before it began."""
    plan, layout = plan_of(root(), reference), Layout(root(), reference.team)
    finished = [written_at(f"{layout.job(job.job_id)}/result.json") for job in plan.jobs]
    reused = sum(at is not None and at < reference.started_at for at in finished)
    everything = "Every job was reused: " if reused == len(finished) else ""
    return f"{everything}{reused} of {counted(finished, 'job')} reused, {len(finished) - reused} trained."


def _verdict(reference: RunReference) -> BestVersion:
    folder = Layout(root(), reference.team).experiment(reference.experiment_name, reference.plan_id)
    verdict = read_record(f"{folder}/verdict.json", BestVersion)
    if verdict is None:
        raise ExperimentFailedError(f"{reference.run_id} has no verdict yet.", "`dtx watch` shows how far it is.")
    return verdict


def _plan(run_id: str) -> ExperimentPlan | None:
    reference = find_run(root(), DAG_ID, run_id)
    return plan_of(root(), reference) if reference else None


def _references() -> list[RunReference]:
    found = []
    for team in list_names(root()):
        runs = f"{root()}/{team}/runs"
        found += [read_record(f"{runs}/{dag}/{name}", RunReference) for dag in list_names(runs) for name in list_names(f"{runs}/{dag}")]
    return sorted((run for run in found if run), key=lambda run: run.started_at)


def _reference(run_id: str | None) -> RunReference:
    known = _references()
    wanted = [run for run in known if run_id is None or run_id in (run.run_id, run.experiment_name)]
    if not wanted:
        what = f"There is no run or experiment {run_id!r}" if run_id else "Nothing has run yet"
        raise SpecError(f"{what} in {root()}.", "`dtx submit FILE` starts one.")
    return wanted[-1]


def _latest_run(airflow: Airflow) -> str:
    found = airflow.latest_run(DAG_ID)
    if found is None:
        raise SpecError("No experiment has run yet.", "`dtx submit FILE` starts one; or name a run.")
    return found


def _failures(airflow: Airflow, run_id: str) -> str:
    """Why a run failed: the last lines of its own tasks that say so."""
    failed = [task for task in airflow.task_instances(DAG_ID, run_id) if task.state == "failed"]
    reasons = [f"- {task.task_id} {task.name}: {_last_error(airflow, run_id, task)}" for task in failed]
    return "\n".join([f"{run_id} failed:", *(reasons or ["- it was marked as failed"])])


def _last_error(airflow: Airflow, run_id: str, task: TaskInstance) -> str:
    lines = airflow.log(DAG_ID, run_id, task.task_id, task.map_index, task.try_number)
    said = [json.loads(line[line.index('{"event": "error"') :])["message"] for line in lines if '{"event": "error"' in line]
    raised = [line.partition(": ")[2] for line in lines if line.startswith(("AirflowFailException", "AirflowException"))]
    return (said or raised or ["see its log"])[-1]


def _tasks_of(airflow: Airflow, run_id: str, job: str) -> list[TaskInstance]:
    tasks = airflow.task_instances(DAG_ID, run_id)
    found = [task for task in tasks if job in (task.task_id, task.name) or (task.name and (task.name.startswith(job) or _is_id_of(job, task.name)))]
    if not found:
        names = sorted({task.name or task.task_id for task in tasks})
        raise SpecError(f"{run_id} has no task or job {job!r}.", f"It has: {', '.join(names)}.")
    return [task for task in found if task.state not in (None, "scheduled", "queued")]


def _is_id_of(job: str, name: str) -> bool:
    """Whether a job id, of which a name holds the beginning, is meant."""
    return len(job) == ID_LENGTH and name.endswith(f"-{job[:8]}")


def _print_new_lines(airflow: Airflow, run_id: str, task: TaskInstance, seen: dict[tuple[str, int, int], int]) -> None:
    key = (task.task_id, task.map_index, task.try_number)
    lines = airflow.log(DAG_ID, run_id, task.task_id, task.map_index, task.try_number)
    for line in lines[seen.get(key, 0) :]:
        typer.echo(f"{task.task_id} {task.name}: {line}")
    seen[key] = len(lines)
