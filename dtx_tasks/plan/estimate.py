"""How long a plan takes, roughly: from what earlier jobs took where there are any, from arithmetic otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from dtx_tasks.records import ExperimentPlan, FinetuneJob

START_S = 30.0
"""Seconds for a process to import torch, transformers and trl and to load a small model, on 2 cores (measured)."""

CPU_FLOPS = 2e10
"""Sustained fp32 operations a second of one small CPU, for a job that nothing is known about."""

BYTES_PER_PARAMETER = 4


def estimate_s(plan: ExperimentPlan, reused: Collection[str], tokens_per_s: Mapping[str, float]) -> float:
    """Seconds until every pack that is not reused is trained and scored.

    Args:
        plan: What is to be done.
        reused: Ids of the jobs that are finished already.
        tokens_per_s: Training speed seen earlier, by llm id.
    """
    waiting = [job for job in plan.jobs if job.job_id not in reused]
    work_s = sum(2 * START_S + _train_s(job, tokens_per_s) for job in waiting)
    return work_s / min(plan.parallelism, max(1, len(waiting)))


def _train_s(job: FinetuneJob, tokens_per_s: Mapping[str, float]) -> float:
    speed = tokens_per_s.get(job.llm.llm_id)
    if speed:
        return job.num_tokens / speed
    num_parameters = max(1_000_000, job.llm.num_bytes / BYTES_PER_PARAMETER)
    return 6 * num_parameters * job.num_tokens / CPU_FLOPS
