"""How long a plan takes, roughly."""

from dtx_tasks.plan import estimate_s
from dtx_tasks.plan.estimate import START_S
from tests.builders import make_experiment, make_matrix, make_plan

PLAN = make_plan(make_experiment(parallelism=2, matrix=make_matrix(hyperparameters=["g", "h"])))
EVERY = [job.job_id for job in PLAN.jobs]


def test_finished_jobs_take_no_time() -> None:
    """Everything reused is nothing to wait for."""
    assert estimate_s(PLAN, EVERY, {}) == 0


def test_earlier_speed_counts() -> None:
    """Tokens by the speed that was reached, and the start of two processes."""
    job = PLAN.jobs[0]
    assert estimate_s(PLAN, EVERY[1:], {job.llm.llm_id: 10.0}) == 2 * START_S + job.num_tokens / 10


def test_jobs_share_the_time_of_those_beside_them() -> None:
    """Two at a time take half as long as one after another."""
    one_by_one = make_plan(make_experiment(parallelism=1, matrix=make_matrix(hyperparameters=["g", "h"])))
    assert estimate_s(PLAN, [], {}) == estimate_s(one_by_one, [], {}) / 2
