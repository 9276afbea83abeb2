"""A DAG for each experiment file that has a schedule."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from airflow.sdk import DAG

from dtx_tasks.errors import DtxError, SpecError
from dtx_tasks.orchestration.dag import experiment_dag
from dtx_tasks.records import slug
from dtx_tasks.settings import schedules_folder
from dtx_tasks.spec import FinetuneExperiment, load_text, parse

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
        except (DtxError, OSError, ValueError) as error:
            problems.append(f"{path.name}: {error}")
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
    experiment = parse(load_text(path.read_text(encoding="utf-8-sig"), path.name), FinetuneExperiment)
    if experiment.schedule is None:
        return None
    note = f"Runs `{path.name}` by the clock."
    return experiment_dag(f"scheduled_{slug(experiment.name)}", team=experiment.team, schedule=experiment.schedule, spec_file=str(path), doc_md=note)
