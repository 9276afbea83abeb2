"""What is printed as a table: a plan, and a leaderboard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Collection

    from dtx_tasks.records import BestVersion, CandidateEvidence, ExperimentPlan


def plan_table(plan: ExperimentPlan, reused: Collection[str], seconds: float) -> RenderableType:
    """A plan as a person reads it.

    Args:
        plan: What is to be done.
        reused: Ids of the jobs that are finished already.
        seconds: How long the rest takes, roughly.
    """
    table = Table(title=Text(f"{plan.name}: plan {plan.plan_id}"), title_justify="left")
    for heading in ("job", "id", "steps", "tokens", "state"):
        table.add_column(heading, justify="right" if heading in ("steps", "tokens") else "left")
    for job in plan.jobs:
        state = "reused" if job.job_id in reused else "to train"
        table.add_row(Text(job.name), job.job_id, str(job.num_steps), f"~{job.num_tokens:,}", state)
    trained = len(plan.jobs) - len(set(reused))
    lines = [
        f"{len(plan.jobs)} jobs in {len(plan.packs)} packs, {trained} to train and {len(plan.jobs) - trained} reused; {len(plan.bases)} bases to compare with.",
        f"{len(plan.prepared)} prepared datasets; {plan.parallelism} packs at a time; about {shown_time(seconds)}.",
        *(f"{name} equals {first}: done once." for name, first in plan.merged.items()),
        *(f"{dataset.name} has bad rows and will fail: {dataset.problem}" for dataset in plan.datasets if dataset.problem),
    ]
    return Group(table, *(Text(line) for line in lines))


def leaderboard(verdict: BestVersion) -> RenderableType:
    """A verdict as a person reads it."""
    table = Table(title=Text(f"Leaderboard by {verdict.metric} on {verdict.num_validation_rows} validation rows"), title_justify="left")
    for heading in ("", "job", "validation", "± s.e.", "test", "vs. base", "beats base"):
        table.add_column(heading, justify="left" if heading in ("", "job", "beats base") else "right")
    for rank, item in enumerate(verdict.candidates, 1):
        table.add_row(str(rank), Text(item.name), *_figures(item))
    unscored = [Text(f"{item.name}: unscored: {item.unscored_reason}") for item in verdict.candidates if item.unscored_reason]
    return Group(table, *unscored, Text(verdict.reason))


def shown_time(seconds: float) -> str:
    """`75` as `1 min 15 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "h"), (minutes, "min"), (rest, "s")]
    return " ".join(f"{value} {unit}" for value, unit in parts if value) or "0 s"


def _figures(item: CandidateEvidence) -> list[str]:
    if item.unscored_reason:
        return ["unscored", "", "", "", ""]
    beats = "" if item.is_base else "yes" if item.beats_base else "no"
    return [_shown(item.validation), _shown(item.validation_standard_error), _shown(item.test), _shown(item.difference_to_base, "+.3f"), beats]


def _shown(value: float | None, form: str = ".3f") -> str:
    return "-" if value is None else format(value, form)
