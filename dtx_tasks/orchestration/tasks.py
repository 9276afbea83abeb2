"""The light stages as Airflow tasks: they run in the task itself and start no process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowFailException

from dtx_tasks.entrypoints.documents import find_run, note_run, read_plan, uris_of, write_plan
from dtx_tasks.entrypoints.planning import plan_document
from dtx_tasks.errors import ClaimedError, DtxError, Mistake, SpecError, TransientError
from dtx_tasks.orchestration.connection import use_connection
from dtx_tasks.records import BestVersion, Layout, RegisteredLLM, RunReference
from dtx_tasks.resolve import Allowed, Origin
from dtx_tasks.settings import data_roots, root
from dtx_tasks.spec import SpecDocument, load_text
from dtx_tasks.spec.form import spec_of
from dtx_tasks.storage import is_remote, read_record, remove
from dtx_tasks.tracking import publish_experiment

if TYPE_CHECKING:
    from dtx_tasks.records import ExperimentPlan


def plan_run(team: str, spec_file: str | None = None) -> list[str]:
    """Plans the experiment of this run and writes its documents.

    Args:
        team: Whose DAG this is.
        spec_file: The file of a scheduled experiment; by default the run's conf is the spec.

    Returns:
        The documents of the base LLMs, by URI: nothing of the author's text goes through Airflow.

    Raises:
        AirflowFailException: The spec has mistakes; trying again would not help.
    """
    use_connection()
    run: Any = get_current_context()["dag_run"]
    # A cleared run may come to another plan, or to none.
    remove(Layout(root(), team).run_reference(run.dag_id, run.run_id))
    try:
        # Not the params: Airflow merges the form's examples into those, and renders them.
        plan = _planned(*(_scheduled(spec_file) if spec_file else _requested(dict(run.conf or {}), team)))
        if plan.team != team:
            raise SpecError(f"the experiment: team: this DAG belongs to the team {team!r} (got {plan.team!r}).", "Use that team's DAG.")
    except DtxError as error:
        if error.is_final:
            raise AirflowFailException(str(error)) from error
        raise
    uris = write_plan(plan, root())
    note_run(plan, root(), run.dag_id, run.run_id)
    return uris.bases


def list_prepare() -> list[str]:
    """The documents of the PreparedDatasets: Airflow maps over what a task returns, one list each."""
    plan, layout, _ = _this_run()
    return uris_of(plan, layout.root).prepare


def list_packs() -> list[str]:
    """The documents of the packs."""
    plan, layout, _ = _this_run()
    return uris_of(plan, layout.root).packs


def select_best() -> str:
    """Judges what was scored; fails with every reason when nothing was."""
    from dtx_tasks.select import NothingScoredError, select

    plan, layout, _ = _this_run()
    try:
        return select(plan, layout).reason
    except NothingScoredError as error:
        raise AirflowFailException(str(error)) from error


def register_best() -> str:
    """Brings MLflow up to date and registers the best version; retried while MLflow cannot be reached."""
    from dtx_tasks.register import register

    plan, layout, run = _this_run()
    verdict = read_record(f"{layout.experiment(plan.name, plan.plan_id)}/verdict.json", BestVersion)
    if verdict is None:
        raise AirflowFailException("There is no verdict to register.")
    registered = register(plan, verdict, run, layout)
    return f"{registered.registered_name} version {registered.version}" if registered else "The base is the best: nothing is registered."


def report_run() -> str:
    """Writes the report, and ends as the run deserves: with the reason when it failed."""
    from dtx_tasks.report import write_report

    plan, layout, run = _this_run()
    folder = layout.experiment(plan.name, plan.plan_id)
    verdict, registered = read_record(f"{folder}/verdict.json", BestVersion), read_record(f"{folder}/registered.json", RegisteredLLM)
    uri = write_report(plan, layout)
    if verdict is None:
        _publish_failure(plan, run, layout)
        raise AirflowFailException(f"No job could be judged; the reasons are in {uri}.")
    if not verdict.is_base and (registered is None or registered.inputs != {"verdict": verdict.digest}):
        raise AirflowFailException(f"The best version is not registered in MLflow; the verdict is in {uri}.")
    return uri


def _requested(conf: dict[str, Any], team: str) -> tuple[SpecDocument, Origin]:
    """A spec that came by REST or by the form: it may read only what the platform allows."""
    spec = spec_of(conf)
    if isinstance(spec, dict):
        return SpecDocument("the request", spec), Origin(None, data_roots(team))
    if "\0" in spec:
        raise SpecError("the request: spec_uri: holds a zero byte.")
    found = Allowed(None, data_roots(team)).find(spec if "://" in spec else str(Path(spec).absolute()))
    if isinstance(found, Mistake):
        raise SpecError(Mistake("spec_uri", found.problem, found.remedy).text("the request"))
    return _file(found), Origin(None if is_remote(spec) else found.parent, data_roots(team))


def _scheduled(spec_file: str) -> tuple[SpecDocument, Origin]:
    path = Path(spec_file)
    return _file(path), Origin(path.parent)


def _file(path: Path) -> SpecDocument:
    try:
        return load_text(path.read_text(encoding="utf-8-sig"), str(path))
    except (OSError, ValueError) as error:
        raise SpecError(f"{path}: cannot be read: {error}.") from None


def _planned(document: SpecDocument, origin: Origin) -> ExperimentPlan:
    return plan_document(document, origin)


def _this_run() -> tuple[ExperimentPlan, Layout, RunReference]:
    """What the task `plan` of this run has written; XCom does not carry it, since a missing XCom would count as a fault that may pass."""
    use_connection()
    run: Any = get_current_context()["dag_run"]
    found = find_run(root(), run.dag_id, run.run_id)
    if found is None:
        raise AirflowFailException("The experiment could not be planned; the log of the task `plan` says why.")
    layout = Layout(root(), found.team)
    return read_plan(f"{layout.experiment(found.experiment_name, found.plan_id)}/plan.json"), layout, found


def _publish_failure(plan: ExperimentPlan, run: RunReference, layout: Layout) -> None:
    """Ends the MLflow runs of an experiment that has no verdict; the run fails anyway, so it is tried once."""
    try:
        publish_experiment(plan, None, run, layout)
    except (TransientError, ClaimedError) as error:
        print(f"MLflow was not told that the experiment failed: {error}")
