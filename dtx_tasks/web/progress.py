"""How far the jobs of an experiment are, from what they left on storage."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dtx_tasks.records import FailureRecord, LLMCheckpoint, ScoreCards
from dtx_tasks.storage import is_claimed, list_names, read_lines, read_record
from dtx_tasks.tracking import job_url

if TYPE_CHECKING:
    from dtx_tasks.records import FinetuneJob, Score
    from dtx_tasks.web.experiment import RunExperiment

TAIL_BYTES = 16384
"""Holds several events: only the latest one is wanted."""

TRAINED_SHARE = 0.8
"""Of a job's work; the rest is scoring."""


@dataclass(frozen=True)
class JobProgress:
    """Where one job stands.

    Attributes:
        job: Which job.
        checkpoint: What training wrote, if it has ended.
        cards: Its scores, if there are any.
        failure: Why it has no result, if it failed.
        is_running: A process is at work on it.
        step: The latest step that training told of, with its loss; empty before that.
        mlflow_url: The page of its MLflow run; empty where there is none.
        made_for: Name and plan id of this experiment.
    """

    job: FinetuneJob
    checkpoint: LLMCheckpoint | None
    cards: ScoreCards | None
    failure: FailureRecord | None
    is_running: bool
    step: dict[str, Any]
    mlflow_url: str
    made_for: str

    @property
    def state(self) -> str:
        """In a word, for people."""
        if self.cards:
            return "已评估 scored"
        if self.is_running:
            return "评估中 scoring" if self.checkpoint else "训练中 training"
        if self.failure:
            return "失败 failed" if self.failure.is_final else "待重试 failed, may be retried"
        return "待评估 trained" if self.checkpoint else "等待 waiting"

    @property
    def is_failed(self) -> bool:
        """Whether it has neither a score nor a process at work on one."""
        return bool(self.failure) and not self.cards and not self.is_running

    @property
    def is_reused(self) -> bool:
        """Whether another experiment trained it."""
        return self.checkpoint is not None and self.checkpoint.made_for != self.made_for

    @property
    def share(self) -> float:
        """How much of its work is done, between 0 and 1."""
        if self.cards or self.is_failed:
            return 1.0
        if self.checkpoint:
            return TRAINED_SHARE
        return TRAINED_SHARE * float(self.step.get("step", 0)) / max(1, self.num_steps)

    @property
    def num_steps(self) -> int:
        """Of its training: as planned, until training knows how many rows there are."""
        return int(self.step.get("total", self.job.num_steps))

    def score(self, split: str, metric: str) -> Score | None:
        """One of its scores."""
        card = next((card for name, card in self.cards.cards.items() if name == split), None) if self.cards else None
        return card.scores.get(metric) if card else None


def progress_of(job: FinetuneJob, it: RunExperiment) -> JobProgress:
    """Where one job stands.

    Args:
        job: Which job.
        it: Its experiment.
    """
    folder, scores = it.layout.job(job.job_id), it.layout.score(job.job_id, it.plan.scoring.scoring_id)
    return JobProgress(
        job=job,
        checkpoint=read_record(f"{folder}/result.json", LLMCheckpoint),
        cards=read_record(f"{scores}/scores.json", ScoreCards),
        failure=failure_of(("train", "score"), job.job_id, it),
        is_running=is_claimed(f"{folder}/claim.json") or is_claimed(f"{scores}/claim.json"),
        step=_latest_step(f"{folder}/events.jsonl"),
        mlflow_url=job_url(job.job_id, it.folder),
        made_for=f"{it.plan.name} {it.plan.plan_id}",
    )


def failure_of(stages: tuple[str, ...], item_id: str, it: RunExperiment) -> FailureRecord | None:
    """Why something has no result: the first of the stages that says so."""
    found = (read_record(f"{it.folder}/failures/{stage}/{item_id}.json", FailureRecord) for stage in stages)
    return next((record for record in found if record), None)


def failures_of(it: RunExperiment) -> list[FailureRecord]:
    """Everything that failed."""
    folder = f"{it.folder}/failures"
    found = [read_record(f"{folder}/{stage}/{name}", FailureRecord) for stage in list_names(folder) for name in list_names(f"{folder}/{stage}")]
    return [record for record in found if record]


def _latest_step(uri: str) -> dict[str, Any]:
    lines, _ = read_lines(uri, -TAIL_BYTES)
    # The first of them may have lost its beginning.
    whole: list[dict[str, Any]] = [json.loads(line) for line in lines if line.startswith("{")]
    return next((event for event in reversed(whole) if event["event"] == "step"), {})
