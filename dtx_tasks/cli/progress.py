"""How far a run is, and how long it still takes."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dtx_tasks.cli.tables import shown_time
from dtx_tasks.entrypoints.documents import read_plan
from dtx_tasks.records import Layout, RunReference
from dtx_tasks.storage import read_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dtx_tasks.records import ExperimentPlan, Pack
    from dtx_tasks.stack.rest import TaskInstance

WEIGHTS = {"plan": 4, "list_datasets": 3, "list_packs": 3, "fetch": 5, "prepare": 15, "finetune.train": 35, "finetune.score": 20, "score_base": 20}
"""About how many seconds a task of each kind takes on 2 cores (measured with the example)."""

TRAIN = "finetune.train"
TAIL_BYTES = 16384
"""Holds several events: only the latest one is wanted."""

LIGHT = 5.0
AT_WORK = frozenset({"running", "deferred"})
"""A task whose pod runs is deferred."""

ENDED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})


@dataclass(frozen=True)
class RunProgress:
    """Where a run stands.

    Attributes:
        done: Share of the expected work, between 0 and 1.
        eta_s: Seconds left; None while nothing is known.
        lines: What runs.
    """

    done: float
    eta_s: float | None
    lines: tuple[str, ...]

    def __str__(self) -> str:
        left = f", about {shown_time(self.eta_s)} left" if self.eta_s is not None else ""
        return "; ".join([f"{self.done:.0%} done{left}", *self.lines])


def plan_of(root: str, run: RunReference) -> ExperimentPlan:
    """The plan of a run."""
    return read_plan(f"{Layout(root, run.team).experiment(run.experiment_name, run.plan_id)}/plan.json")


def measure(tasks: Sequence[TaskInstance], plan: ExperimentPlan | None, root: str, started_at: float) -> RunProgress:
    """How far a run is.

    Args:
        tasks: Of the run.
        plan: What it carries out, if that is known yet.
        root: The storage root.
        started_at: When it began, in seconds since 1970.
    """
    total = sum(_weight(task) for task in tasks) + (_unmapped(tasks, plan) if plan else 300.0)
    packs = {pack.name: pack for pack in plan.packs} if plan else {}
    events = {task.name: _last_event(packs[task.name], root) for task in tasks if task.state in AT_WORK and task.task_id == TRAIN and task.name in packs}
    finished = sum(_weight(task) * (1.0 if task.state in ENDED else _share(events.get(task.name))) for task in tasks)
    done = min(0.99, finished / total) if total else 0.0
    elapsed_s = time.time() - started_at
    eta_s = elapsed_s * (1 - done) / done if done > 0.03 and plan else None
    steps = [_step(packs[name], event) for name, event in events.items() if event]
    return RunProgress(done, eta_s, (*_counts(tasks, len(steps)), *steps))


def _counts(tasks: Sequence[TaskInstance], num_shown: int) -> list[str]:
    """How many tasks of each stage run; training that tells its steps is told by them."""
    counts = Counter(task.task_id.removeprefix("finetune.") for task in tasks if task.state in AT_WORK)
    counts["train"] -= num_shown
    return [f"{stage} x {count}" if count > 1 else stage for stage, count in sorted(counts.items()) if count > 0]


def _step(pack: Pack, event: dict[str, float]) -> str:
    loss = f", loss {event['loss']:.3f}" if event.get("loss") is not None else ""
    return f"train {pack.jobs[0].name}: step {event['step']} of {event['total']}{loss}"


def _weight(task: TaskInstance) -> float:
    return WEIGHTS.get(task.task_id, LIGHT)


def _unmapped(tasks: Sequence[TaskInstance], plan: ExperimentPlan) -> float:
    """The work of mapped tasks that Airflow has not expanded yet: one placeholder each stands for all of them."""
    counts = {
        "fetch": len(plan.fetched),
        "prepare": len(plan.prepared),
        "finetune.train": len(plan.packs),
        "finetune.score": len(plan.packs),
        "score_base": len(plan.fetched),
    }
    return sum(WEIGHTS[task_id] * (count - sum(task.task_id == task_id for task in tasks)) for task_id, count in counts.items())


def _last_event(pack: Pack, root: str) -> dict[str, float] | None:
    """The latest step of the first job of a pack that is training."""
    uri = f"{Layout(root, pack.team).job(pack.jobs[0].job_id)}/events.jsonl"
    lines, _ = read_lines(uri, -TAIL_BYTES)
    return next((event for line in reversed(lines) if line.startswith("{") and (event := json.loads(line))["event"] == "step"), None)


def _share(event: dict[str, float] | None) -> float:
    return event["step"] / event["total"] if event else 0.0
