"""Which experiment a DAG run carries out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dtx_tasks.entrypoints.documents import find_run
from dtx_tasks.records import ExperimentPlan, Layout, RunReference
from dtx_tasks.storage import read_record

if TYPE_CHECKING:
    from dtx_tasks.records import StageDocument


@dataclass(frozen=True)
class RunExperiment:
    """A DAG run and its plan.

    Attributes:
        run: The DAG run.
        plan: What it carries out.
        layout: Where the records are.
    """

    run: RunReference
    plan: ExperimentPlan
    layout: Layout

    @property
    def folder(self) -> str:
        """The experiment's own folder."""
        return self.layout.experiment(self.plan.name, self.plan.plan_id)

    def document(self, task_id: str, map_index: int) -> StageDocument | None:
        """What a mapped task works on; Airflow maps over the plan's lists in their order."""
        lists: dict[str, tuple[StageDocument, ...]] = {
            "fetch": self.plan.fetched,
            "score_base": self.plan.fetched,
            "prepare": self.plan.prepared,
            "finetune.train": self.plan.packs,
            "finetune.score": self.plan.packs,
        }
        documents = lists.get(task_id, ())
        return documents[map_index] if 0 <= map_index < len(documents) else None


def find_experiment(root: str, dag_id: str, run_id: str) -> RunExperiment | None:
    """The experiment of a DAG run; None for another's DAG, and until the run's first task has planned it.

    Args:
        root: The storage root.
        dag_id: Of the run.
        run_id: Of the run.
    """
    run = find_run(root, dag_id, run_id)
    if run is None:
        return None
    layout = Layout(root, run.team)
    plan = read_record(f"{layout.experiment(run.experiment_name, run.plan_id)}/plan.json", ExperimentPlan)
    return RunExperiment(run, plan, layout) if plan else None
