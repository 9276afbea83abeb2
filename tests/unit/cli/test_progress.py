"""How far a run is, and how long it still takes."""

import time
from pathlib import Path

import pytest

from dtx_tasks.cli.progress import RunProgress, measure, plan_of
from dtx_tasks.entrypoints.documents import find_run, note_run, write_plan
from dtx_tasks.stack.rest import TaskInstance
from dtx_tasks.storage import append_line
from tests.builders import Store, make_experiment, make_matrix, make_plan

PLAN = make_plan(make_experiment(team="a", matrix=make_matrix(hyperparameters=["g", "h"])))


def make_task(task_id: str, state: str | None = "success", name: str = "") -> TaskInstance:
    return TaskInstance(task_id=task_id, map_index=-1, name=name, state=state, try_number=1, started_at=None, ended_at=None)


def test_run_is_found_in_any_team(tmp_path: Path) -> None:
    """And leads to its plan."""
    write_plan(PLAN, str(tmp_path))
    noted = note_run(PLAN, str(tmp_path), "dag", "run")
    assert find_run(str(tmp_path), "dag", "run") == noted
    assert plan_of(str(tmp_path), noted) == PLAN
    assert find_run(str(tmp_path), "dag", "other") is None


def test_nothing_done_has_no_end_in_sight(tmp_path: Path) -> None:
    """No guess is better than a wild one."""
    found = measure([make_task("plan", "running")], None, str(tmp_path), time.time() - 10)
    assert (found.done, found.eta_s) == (0.0, None)


def test_tasks_that_are_not_expanded_yet_count_as_left(tmp_path: Path) -> None:
    """Two packs behind one placeholder are more than half of the work."""
    tasks = [make_task("plan"), make_task("fetch"), make_task("finetune.train", None), make_task("finetune.score", None), make_task("score_base", None)]
    assert measure(tasks, PLAN, str(tmp_path), time.time()).done < 0.1


def test_ended_tasks_are_done_however_they_ended(tmp_path: Path) -> None:
    """A failed task takes no more time; only Airflow says that the run is over."""
    every = ["plan", "list_datasets", "list_packs", "fetch", "prepare", "finetune.train", "finetune.train", "finetune.score", "finetune.score", "score_base"]
    tasks = [make_task(task_id, state) for task_id, state in zip(every, ["failed", "upstream_failed", "skipped", *["success"] * 7], strict=True)]
    assert measure(tasks, PLAN, str(tmp_path), time.time()).done == 0.99


@pytest.mark.parametrize(("loss", "line"), [("0.5", "train base / rows / g: step 3 of 4, loss 0.500"), ("null", "train base / rows / g: step 3 of 4")])
def test_running_job_tells_its_step(tmp_path: Path, loss: str, line: str) -> None:
    """The last whole event counts."""
    name = PLAN.packs[0].name
    uri = f"{Store(tmp_path, PLAN).layout.job(PLAN.jobs[0].job_id)}/events.jsonl"
    for event in (
        '{"event": "step", "step": 1, "total": 4, "loss": 9.0}',
        f'{{"event": "step", "step": 3, "total": 4, "loss": {loss}}}',
        '{"event": "checkpoint"}',
    ):
        append_line(uri, event)
    assert measure([make_task("finetune.train", "running", name)], PLAN, str(tmp_path), time.time()).lines == (line,)


def test_step_of_a_running_job_counts_as_work(tmp_path: Path) -> None:
    """Training is most of a run."""
    pack = PLAN.packs[0]
    tasks = [make_task("finetune.train", "running", pack.name)]
    before = measure(tasks, PLAN, str(tmp_path), time.time()).done
    append_line(f"{Store(tmp_path, PLAN).layout.job(PLAN.jobs[0].job_id)}/events.jsonl", '{"event": "step", "step": 2, "total": 4, "loss": 1.0}')
    assert before == 0.0 < measure(tasks, PLAN, str(tmp_path), time.time()).done


def test_progress_is_one_line() -> None:
    """Share, time left, and what runs."""
    assert str(RunProgress(0.25, 75, ("train a", "train b"))) == "25% done, about 1 min 15 s left; train a; train b"
    assert str(RunProgress(0.0, None, ())) == "0% done"
