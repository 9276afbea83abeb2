"""What earlier experiments left."""

from pathlib import Path

from dtx_tasks.resolve import finished_jobs, tokens_per_s
from tests.builders import Store, make_experiment, make_matrix, make_plan

PLAN = make_plan(make_experiment(matrix=make_matrix(hyperparameters=["g", "h"])))


def test_trained_jobs_are_finished(tmp_path: Path) -> None:
    """By their records."""
    store = Store(tmp_path, PLAN)
    assert finished_jobs(PLAN, str(tmp_path)) == set()
    store.train(PLAN.jobs[0])
    assert finished_jobs(PLAN, str(tmp_path)) == {PLAN.jobs[0].job_id}


def test_jobs_of_another_team_are_not_reused(tmp_path: Path) -> None:
    """Results stay within a team."""
    Store(tmp_path, PLAN).train(PLAN.jobs[0])
    other = make_plan(make_experiment(team="other", matrix=make_matrix(hyperparameters=["g", "h"])))
    assert finished_jobs(other, str(tmp_path)) == set()


def test_speed_is_that_of_earlier_jobs(tmp_path: Path) -> None:
    """Of the same LLM; 200 tokens in 2 seconds."""
    Store(tmp_path, PLAN).train(PLAN.jobs[0])
    assert tokens_per_s(PLAN, str(tmp_path)) == {PLAN.jobs[0].llm.llm_id: 100.0}


def test_speed_of_an_empty_store_is_unknown(tmp_path: Path) -> None:
    """Nothing is guessed here."""
    assert tokens_per_s(PLAN, str(tmp_path)) == {}
