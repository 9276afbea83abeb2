"""What is printed as a table: a plan, and a leaderboard."""

from __future__ import annotations

import shlex
import time
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dtx_tasks.plan import is_estimate

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from dtx_tasks.catalog import Version
    from dtx_tasks.entrypoints.resources import Listed
    from dtx_tasks.records import BestVersion, CandidateEvidence, DatasetSource, ExperimentPlan, FinetuneJob
    from dtx_tasks.stack.rest import DagRun, TaskInstance


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
        table.add_row(Text(job.name), job.job_id, _steps(job), f"~{job.num_tokens:,}", state)
    trained = len(plan.jobs) - len(set(reused))
    lines = [
        f"{counted(plan.jobs, 'job')} in {counted(plan.packs, 'pack')}, {trained} to train and {len(plan.jobs) - trained} reused; "
        f"{counted(plan.bases, 'base')} to compare with.",
        f"{counted(plan.prepared, 'prepared dataset')}; {plan.parallelism} pack{'s' if plan.parallelism > 1 else ''} at a time; about {shown_time(seconds)}.",
        *([f"From the catalog: {', '.join(used.label for used in plan.versions)}."] if plan.versions else []),
        *(f"{name} {'is named twice' if name == first else f'equals {first}'}: done once." for name, first in plan.merged.items()),
        *told_of(plan),
    ]
    return Group(table, *(Text(line) for line in lines))


def _steps(job: FinetuneJob) -> str:
    return f"{'~' if is_estimate(job.hyperparameters) else ''}{job.num_steps}"


def told_of(plan: ExperimentPlan) -> list[str]:
    """What the author of a plan should know before it is run."""
    rewritten = [dataset for dataset in plan.datasets if dataset.plugins]
    return [
        *(f"{change}." for change in plan.changes),
        *([f"{plan.leakage}."] if plan.leakage else []),
        *(f"{note}." for note in plan.notes),
        *(f"{dataset.name} is counted before its plugins run: {', '.join(plugin.label for plugin in dataset.plugins)}." for dataset in rewritten),
        *(f"{dataset.name} has bad rows and will fail: {dataset.problem} {_all_bad_rows(dataset)}" for dataset in plan.datasets if dataset.problem),
    ]


def _all_bad_rows(dataset: DatasetSource) -> str:
    """The command that lists them: those of the file that the first one stands in, read as the Dataset says."""
    file = next((file for file in dataset.files.values() if dataset.problem.startswith(f"{file.label}:")), dataset.files["train"])
    named = [("column", dataset.columns), ("tag", dataset.tags)]
    written = ((option, *item) for option, parts in named for item in parts.model_dump(exclude_defaults=True, exclude={"subset"}).items())
    words = [f"--{option}={part}={word}" for option, part, word in written if isinstance(word, str)]
    command = shlex.join(["dtx", "dataset", "check", file.path, f"--format={dataset.format}", f"--kind={dataset.kind}", *words])
    return f"All of them: {command}"


def counted(things: Sequence[object], noun: str) -> str:
    """`1 job`, `2 jobs`."""
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"


def leaderboard(verdict: BestVersion) -> RenderableType:
    """A verdict as a person reads it."""
    rows = f"{verdict.num_validation_rows} validation row{'' if verdict.num_validation_rows == 1 else 's'}"
    table = Table(title=Text(f"Leaderboard by {verdict.metric} on {rows}"), title_justify="left")
    for heading in ("", "job", "validation", "± s.e.", "test", "vs. base", "beats base"):
        table.add_column(heading, justify="left" if heading in ("", "job", "beats base") else "right")
    for rank, item in enumerate(verdict.candidates, 1):
        table.add_row(str(rank), Text(item.name), *_figures(item))
    unscored = [Text(f"{item.name}: unscored: {item.unscored_reason}") for item in verdict.candidates if item.unscored_reason]
    return Group(table, *unscored, Text(verdict.reason))


def resource_table(title: str, found: Sequence[Listed]) -> RenderableType:
    """Named resources as a person reads them.

    Args:
        title: What they are.
        found: One line each.
    """
    table = Table(title=title, title_justify="left")
    for heading in ("name", "version", "saved", "by", "description"):
        table.add_column(heading)
    for item in found:
        version = item.version
        facts = (str(version.number), shown_date(version.created_at), version.author) if version else ("bundled", "", "")
        table.add_row(Text(item.name), facts[0], facts[1], Text(facts[2]), Text(item.description))
    hidden = [f"{item.name} is bundled too: experiments must say {item.version.label}, or another name." for item in found if item.is_hidden and item.version]
    return Group(table, *map(Text, hidden))


def version_table(versions: Sequence[Version]) -> RenderableType:
    """The versions of a resource, in the order given."""
    table = Table()
    for heading in ("version", "digest", "saved", "by", "note"):
        table.add_column(heading, justify="right" if heading == "version" else "left")
    for version in versions:
        table.add_row(str(version.number), version.digest, shown_date(version.created_at), Text(version.author), Text(version.note))
    return table


def shown_date(seconds: float) -> str:
    """A moment, in UTC: people in several places look at one catalog."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def time_table(tasks: Sequence[TaskInstance], run: DagRun) -> RenderableType:
    """Where the time of a run went: seconds of each stage's tasks, and those in which none ran.

    Args:
        tasks: Of the run.
        run: Its beginning and end.
    """
    table = Table(title="Where the time went", title_justify="left")
    for heading in ("stage", "tasks", "seconds in all"):
        table.add_column(heading, justify="left" if heading == "stage" else "right")
    spans: dict[str, list[tuple[float, float]]] = {}
    for task in tasks:
        if task.started_at and task.ended_at:
            spans.setdefault(task.task_id, []).append((task.started_at.timestamp(), task.ended_at.timestamp()))
    for stage, found in sorted(spans.items(), key=lambda item: min(item[1])):
        table.add_row(stage, str(len(found)), f"{sum(end - start for start, end in found):.0f}")
    if run.started_at and run.ended_at:
        wall_s = (run.ended_at - run.started_at).total_seconds()
        idle_s = wall_s - _covered_s([span for found in spans.values() for span in found])
        table.add_row("between tasks", "", f"{idle_s:.0f}", style="dim")
        table.add_row("the whole run, by the clock", "", f"{wall_s:.0f}", style="bold")
    return table


def _covered_s(spans: list[tuple[float, float]]) -> float:
    """Seconds in which at least one of the spans was open."""
    covered, reached = 0.0, 0.0
    for start, end in sorted(spans):
        covered += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return covered


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
