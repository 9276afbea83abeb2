"""What is printed as a table."""

from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from rich.console import Console, RenderableType

from dtx_tasks.cli.tables import leaderboard, plan_table, shown_time, time_table
from dtx_tasks.records import BestVersion, CandidateEvidence
from dtx_tasks.spec import Columns, Hyperparameters
from dtx_tasks.stack.rest import DagRun, TaskInstance
from tests.builders import make_dataset_source, make_experiment, make_matrix, make_plan

START = datetime(2026, 1, 1, tzinfo=UTC)


def shown(table: RenderableType) -> str:
    text = StringIO()
    Console(file=text, width=200).print(table)
    return text.getvalue()


def make_evidence(name: str, **changes: Any) -> CandidateEvidence:
    values = {"checkpoint_id": name, "is_base": False, "validation": 0.5, "validation_standard_error": 0.1, "test": None, "difference_to_base": 0.25}
    rest = {"lower_bound": 0.1, "adjusted_p": 0.01, "beats_base": True, "unscored_reason": ""}
    return CandidateEvidence(name=name, **{**values, **rest, **changes})


def make_verdict(*candidates: CandidateEvidence) -> BestVersion:
    return BestVersion(
        code_version=1, inputs={}, digest="", libraries={}, plan_id="p", metric="bleu", best_id="a", best_name="a", is_base=False, runner_up_name="b",
        lead_over_runner_up=0.1, lead_lower_bound=0.0, reason="Because.", candidates=candidates, num_jobs=2, num_scored_jobs=1, num_validation_rows=20,
        num_test_rows=0, is_cross_fitted=False, left_out_datasets=(),
    )  # fmt: skip


def make_task(task_id: str, start_s: float | None, end_s: float | None) -> TaskInstance:
    times = [START + timedelta(seconds=seconds) if seconds is not None else None for seconds in (start_s, end_s)]
    return TaskInstance(task_id=task_id, map_index=-1, name="", state="success", try_number=1, started_at=times[0], ended_at=times[1])


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (0.4, "0 s"), (59.6, "1 min"), (75, "1 min 15 s"), (3600, "1 h"), (3661, "1 h 1 min 1 s"), (90000, "25 h")]
)
def test_time_is_shown_as_people_say_it(seconds: float, text: str) -> None:
    """Parts that are 0 are left out."""
    assert shown_time(seconds) == text


def test_plan_tells_what_is_reused_and_what_is_left() -> None:
    """By job, and in all."""
    plan = make_plan(make_experiment(matrix=make_matrix(hyperparameters=["g", "h"])))
    text = shown(plan_table(plan, {plan.jobs[0].job_id}, 75))
    assert "2 jobs in 2 packs, 1 to train and 1 reused" in text
    assert "about 1 min 15 s." in text
    assert [line.count("reused") for line in text.splitlines() if plan.jobs[0].job_id in line] == [1]


def test_plan_tells_merged_jobs_and_bad_rows() -> None:
    """Before anybody waits for them."""
    values = Hyperparameters(max_steps=1)
    entry = {"llm": "base", "dataset": "rows", "hyperparameters": "g"}
    matrix = make_matrix(hyperparameters=["g", "h"], include=[entry])
    known = {
        "datasets": {"rows": make_dataset_source(problem="test.jsonl:1: bad.", columns=Columns(instruction="my question"))},
        "groups": {"g": values, "h": values},
    }
    text = shown(plan_table(make_plan(make_experiment(matrix=matrix), **known), set(), 1))
    assert "base / rows / h equals base / rows / g: done once." in text
    assert "base / rows / g is named twice: done once." in text
    command = "dtx dataset check /data/test.jsonl --format=alpaca --kind=conversations '--column=instruction=my question'"
    assert f"rows has bad rows and will fail: test.jsonl:1: bad. All of them: {command}" in text


def test_names_are_text_and_no_markup() -> None:
    """`[red]` is a name."""
    plan = make_plan(make_experiment(name="[red]x", matrix=make_matrix(hyperparameters=["[bold]g"])))
    assert "[bold]g" in shown(plan_table(plan, set(), 1))
    assert "[red]x" in shown(plan_table(plan, set(), 1))


def test_leaderboard_shows_figures_and_reasons() -> None:
    """An unscored job has no figure."""
    lost = make_evidence("[lost]", validation=None, difference_to_base=None, beats_base=False, unscored_reason="train: DataError: [bad].")
    lines = shown(leaderboard(make_verdict(make_evidence("good"), lost))).splitlines()
    assert next(line.replace("│", " ").split() for line in lines if "good" in line) == ["1", "good", "0.500", "0.100", "-", "+0.250", "yes"]
    assert "[lost]: unscored: train: DataError: [bad]." in lines
    assert lines[-1] == "Because."


def test_time_between_tasks_is_told() -> None:
    """Tasks side by side cover a second once."""
    run = DagRun(run_id="r", state="success", conf={}, started_at=START, ended_at=START + timedelta(seconds=20))
    tasks = [make_task("a", 1, 5), make_task("a", 3, 8), make_task("b", 10, 12), make_task("c", None, None)]
    rows = [line.replace("│", " ").split() for line in shown(time_table(tasks, run)).splitlines()]
    assert ["a", "2", "9"] in rows
    assert ["between", "tasks", "11"] in rows
    assert ["the", "whole", "run,", "by", "the", "clock", "20"] in rows
