"""What a report says, gathered from the records."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dtx_tasks.records import BestVersion, ExperimentPlan, FailureRecord, Layout, LLMCheckpoint, RegisteredLLM, ScoreCards
from dtx_tasks.report.curves import Curve, read_curve
from dtx_tasks.storage import list_names, read_bytes, read_record

if TYPE_CHECKING:
    from dtx_tasks.records import Score

NUM_SAMPLES = 12


@dataclass(frozen=True)
class ScoreRow:
    """Every score of one job or base.

    Attributes:
        name: Of the job.
        scores: By (split, metric).
    """

    name: str
    scores: dict[tuple[str, str], Score]


@dataclass(frozen=True)
class CostRow:
    """What one job cost.

    Attributes:
        name: Of the job.
        checkpoint: What it wrote; None when there is nothing.
        num_attempts: How often training was begun, in whichever experiment.
        is_reused: Another experiment trained it.
    """

    name: str
    checkpoint: LLMCheckpoint | None
    num_attempts: int
    is_reused: bool


@dataclass(frozen=True)
class Sample:
    """One validation row, and what the base and the best answered.

    Attributes:
        prompt: What was asked.
        reference: What should be answered.
        base: What the base wrote.
        best: What the best wrote.
    """

    prompt: str
    reference: str
    base: str
    best: str


@dataclass(frozen=True)
class Contents:
    """Everything that a report says."""

    plan: ExperimentPlan
    verdict: BestVersion | None
    registered: RegisteredLLM | None
    scores: tuple[ScoreRow, ...]
    costs: tuple[CostRow, ...]
    curves: tuple[Curve, ...]
    samples: tuple[Sample, ...]
    failures: tuple[FailureRecord, ...]
    checkpoint_uri: str

    @property
    def columns(self) -> list[tuple[str, str]]:
        """(split, metric) of the score table."""
        return [(split, metric) for split in ("validation", "test") for metric in self.plan.scoring.scoring.metrics]

    def name_of(self, item_id: str) -> str:
        """What people call the item of a failure."""
        names = {job.job_id: job.name for job in self.plan.jobs}
        names |= {base.llm.llm_id: base.llm.name for base in self.plan.bases}
        names |= {document.prepared_id: document.dataset.name for document in self.plan.prepared}
        return names.get(item_id, item_id)


def gather(plan: ExperimentPlan, layout: Layout) -> Contents:
    """Reads what a plan's stages left behind.

    Args:
        plan: What was done.
        layout: Where the records are.
    """
    folder = layout.experiment(plan.name, plan.plan_id)
    verdict = read_record(f"{folder}/verdict.json", BestVersion)
    is_tuned = verdict is not None and not verdict.is_base
    return Contents(
        plan=plan,
        verdict=verdict,
        registered=read_record(f"{folder}/registered.json", RegisteredLLM) if is_tuned else None,
        scores=tuple(_scores(plan, layout)),
        costs=tuple(_costs(plan, layout)),
        curves=tuple(read_curve(job.name, f"{layout.job(job.job_id)}/events.jsonl") for job in plan.jobs),
        samples=_samples(plan, verdict, layout) if verdict else (),
        failures=tuple(_failures(folder)),
        checkpoint_uri=f"{layout.job(verdict.best_id)}/checkpoint" if verdict and is_tuned else "",
    )


def _scores(plan: ExperimentPlan, layout: Layout) -> list[ScoreRow]:
    known = [(base.llm.llm_id, f"{base.llm.name} (base)") for base in plan.bases] + [(job.job_id, job.name) for job in plan.jobs]
    rows = []
    for checkpoint_id, name in known:
        cards = read_record(f"{layout.score(checkpoint_id, plan.scoring.scoring_id)}/scores.json", ScoreCards)
        found = {(split, metric): score for split, card in cards.cards.items() for metric, score in card.scores.items()} if cards else {}
        rows.append(ScoreRow(name, found))  # type: ignore[arg-type]
    return rows


def _costs(plan: ExperimentPlan, layout: Layout) -> list[CostRow]:
    rows = []
    for job in plan.jobs:
        checkpoint = read_record(f"{layout.job(job.job_id)}/result.json", LLMCheckpoint)
        is_reused = bool(checkpoint and checkpoint.made_for != f"{plan.name} {plan.plan_id}")
        rows.append(CostRow(job.name, checkpoint, len(list_names(f"{layout.job(job.job_id)}/attempts")), is_reused))
    return rows


def _samples(plan: ExperimentPlan, verdict: BestVersion, layout: Layout) -> tuple[Sample, ...]:
    """Rows that tell the two apart come first; with the base as the best there is nothing to tell apart."""
    base_id = next((item.checkpoint_id for item in verdict.candidates if item.is_base and item.validation is not None), verdict.best_id)
    best = _predictions(verdict.best_id, plan, layout)
    base = {row["row_id"]: row for row in _predictions(base_id, plan, layout)}
    pairs = [(row, base[row["row_id"]]) for row in best if row["row_id"] in base]
    pairs.sort(key=lambda pair: (pair[0]["scores"] == pair[1]["scores"], pair[0]["row_id"]))
    return tuple(Sample(row["messages"][-1]["content"], row["reference"], other["prediction"], row["prediction"]) for row, other in pairs[:NUM_SAMPLES])


def _predictions(checkpoint_id: str, plan: ExperimentPlan, layout: Layout) -> list[dict[str, Any]]:
    try:
        text = read_bytes(f"{layout.score(checkpoint_id, plan.scoring.scoring_id)}/files/predictions.jsonl").decode()
    except FileNotFoundError:
        return []
    return [row for row in map(json.loads, text.rstrip("\n").split("\n")) if row["split"] == "validation"]


def _failures(folder: str) -> list[FailureRecord]:
    stages = list_names(f"{folder}/failures")
    found = [read_record(f"{folder}/failures/{stage}/{name}", FailureRecord) for stage in stages for name in list_names(f"{folder}/failures/{stage}")]
    return [record for record in found if record]
