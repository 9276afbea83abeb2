"""What earlier experiments left that this one can use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dtx_tasks.plan import CODE_VERSIONS
from dtx_tasks.records import Layout, LLMCheckpoint
from dtx_tasks.storage import list_names, read_record

if TYPE_CHECKING:
    from dtx_tasks.records import ExperimentPlan


def finished_jobs(plan: ExperimentPlan, root: str) -> set[str]:
    """Ids of the plan's jobs that a record says are trained.

    Args:
        plan: What is to be done.
        root: The storage root.
    """
    layout = Layout(root, plan.team)
    records = {job.job_id: read_record(f"{layout.job(job.job_id)}/result.json", LLMCheckpoint) for job in plan.jobs}
    return {job_id for job_id, record in records.items() if record and record.code_version == CODE_VERSIONS["train"]}


def tokens_per_s(plan: ExperimentPlan, root: str) -> dict[str, float]:
    """Training speed that earlier jobs of the team reached, by llm id."""
    layout = Layout(root, plan.team)
    wanted = {document.llm.llm_id for document in plan.bases}
    speeds: dict[str, float] = {}
    for name in list_names(f"{layout.base}/jobs"):
        record = read_record(f"{layout.job(name)}/result.json", LLMCheckpoint)
        llm_id = record.inputs.get("llm_id", "") if record else ""
        if record and llm_id in wanted and record.train_s > 0:
            speeds[llm_id] = record.num_trained_tokens / record.train_s
    return speeds
