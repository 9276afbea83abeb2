"""What is compared: every job and every base, with a score for each row or the reason why there is none."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from dtx_tasks.records import FailureRecord, LLMCheckpoint, ScoreCards
from dtx_tasks.storage import read_bytes, read_record

if TYPE_CHECKING:
    from dtx_tasks.records import ExperimentPlan, Layout
    from dtx_tasks.select.bootstrap import Differences_R


@dataclass(frozen=True)
class Candidate:
    """One job or base.

    Attributes:
        checkpoint_id: Job id, or llm id of a base.
        name: What people call it.
        is_base: Untouched.
        cards: Its scores; None when it is unscored.
        by_row: Score of each validation row, by row id.
        num_trained_parameters: Decides between equals: the smaller change is the better one.
        reason: Why it is unscored.
    """

    checkpoint_id: str
    name: str
    is_base: bool
    cards: ScoreCards | None = None
    by_row: dict[str, float] = field(default_factory=dict)
    num_trained_parameters: int = 0
    reason: str = ""

    def minus(self, other: Candidate, sign: int) -> Differences_R:
        """Differences on the rows that both were scored on, in the order of the rows' ids, shape [R]."""
        return np.array([sign * (self.by_row[row_id] - other.by_row[row_id]) for row_id in sorted(self.by_row.keys() & other.by_row.keys())])


def candidates(plan: ExperimentPlan, layout: Layout) -> list[Candidate]:
    """Every base and every job of a plan, in the order of the plan."""
    bases = [_candidate(base.llm.llm_id, f"{base.llm.name} (base)", True, plan, layout) for base in plan.bases]
    jobs = [_candidate(job.job_id, job.name, False, plan, layout) for job in plan.jobs]
    rows = next((base.cards.rows_digest for base in bases if base.cards), "")
    return [_comparable(candidate, rows) for candidate in (*bases, *jobs)]


def _comparable(candidate: Candidate, rows_digest: str) -> Candidate:
    """Cards with other rows than the base's say nothing beside it."""
    if not (candidate.cards and rows_digest) or candidate.cards.rows_digest == rows_digest:
        return candidate
    return Candidate(candidate.checkpoint_id, candidate.name, candidate.is_base, reason="it was scored on other rows than the base: clear its score task")


def _candidate(checkpoint_id: str, name: str, is_base: bool, plan: ExperimentPlan, layout: Layout) -> Candidate:
    folder = layout.score(checkpoint_id, plan.scoring.scoring_id)
    cards = read_record(f"{folder}/scores.json", ScoreCards)
    checkpoint = None if is_base else read_record(f"{layout.job(checkpoint_id)}/result.json", LLMCheckpoint)
    is_current = cards and (is_base or (checkpoint and cards.inputs["checkpoint"] == checkpoint.digest))
    if not (cards and is_current):
        return Candidate(checkpoint_id, name, is_base, reason=_reason(checkpoint_id, is_base, plan, layout))
    by_row = {
        row["row_id"]: float(row["scores"][plan.selection.metric])
        for row in map(json.loads, read_bytes(f"{folder}/files/predictions.jsonl").decode().rstrip("\n").split("\n"))
        if row["split"] == "validation"
    }
    return Candidate(checkpoint_id, name, is_base, cards, by_row, checkpoint.num_trained_parameters if checkpoint else 0)


def _reason(checkpoint_id: str, is_base: bool, plan: ExperimentPlan, layout: Layout) -> str:
    folder = f"{layout.experiment(plan.name, plan.plan_id)}/failures"
    for stage in ("score_base",) if is_base else ("train", "score"):
        failure = read_record(f"{folder}/{stage}/{checkpoint_id}.json", FailureRecord)
        if failure:
            return f"{failure.stage}: {failure.error_class}: {failure.message} {failure.hint}".strip()
    return "it has no result, and nothing says why: see the log of its task"
