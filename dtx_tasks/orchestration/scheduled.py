"""A DAG for each experiment file that has a schedule."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from airflow.exceptions import AirflowTimetableInvalid
from airflow.sdk import DAG

from dtx_tasks.errors import DtxError, Mistake, SpecError, spec_error
from dtx_tasks.orchestration.dag import experiment_dag
from dtx_tasks.records import slug
from dtx_tasks.settings import schedules_folder
from dtx_tasks.spec import FinetuneExperiment, SpecDocument, load_text, parse

SUFFIXES = frozenset({".yaml", ".yml", ".json"})


class UnreadableExperiments(DAG):
    """Shows what is wrong with files as an import error; Airflow asks every DAG by itself, so the others stay."""

    problems: str = ""

    def validate(self) -> NoReturn:
        """Raises what is wrong."""
        raise SpecError(self.problems)


def scheduled_dags() -> dict[str, DAG]:
    """The DAGs of the configured folder, by id; one more that only fails to import where files have mistakes."""
    dags: dict[str, DAG] = {}
    problems: list[str] = []
    folder = schedules_folder()
    for path in sorted(item for item in folder.glob("*") if item.suffix in SUFFIXES):
        try:
            dag = _dag_of(path)
        except (DtxError, OSError) as error:
            problems.append(str(error))
            continue
        if dag and dag.dag_id in dags:
            problems.append(f"{path.name}: name: another file of this folder has it too.")
        elif dag:
            dags[dag.dag_id] = dag
    if problems:
        broken = UnreadableExperiments("scheduled_experiments_with_mistakes", schedule=None)
        broken.problems = "\n".join(problems)
        dags[broken.dag_id] = broken
    return dags


def _dag_of(path: Path) -> DAG | None:
    """The DAG of one file, or None where it has no schedule."""
    experiment = parse(_document(path), FinetuneExperiment)
    if experiment.schedule is None:
        return None
    note = f"Runs `{path.name}` by the clock."
    dag = experiment_dag(f"scheduled_{slug(experiment.name)}", team=experiment.team, schedule=experiment.schedule, spec_file=str(path), doc_md=note)
    try:
        dag.timetable.validate()
    except AirflowTimetableInvalid as error:
        remedy = 'A cron expression looks like "0 2 * * *": minute, hour, day, month, weekday.'
        raise spec_error(path.name, [Mistake("schedule", f"{error} (got {experiment.schedule!r})", remedy)]) from None
    return dag


def _document(path: Path) -> SpecDocument:
    try:
        return load_text(path.read_text(encoding="utf-8-sig"), path.name)
    except UnicodeDecodeError as error:
        raise spec_error(path.name, [Mistake("", f"is not UTF-8 text (byte {error.start})", "Save it as UTF-8.")]) from None
