"""The matrix as jobs, the jobs as packs."""

import re
from typing import Any

import pytest

from dtx_tasks.errors import SpecError
from dtx_tasks.spec import Hyperparameters
from tests.builders import make_dataset_source, make_experiment, make_inputs, make_llm_source, make_matrix, make_plan


def names(**changes: Any) -> list[str]:
    return [job.name for job in make_plan(make_experiment(**changes)).jobs]


def entry(llm: str = "base", dataset: str = "rows", hyperparameters: str = "quick", **seed: int) -> dict[str, Any]:
    return {"llm": llm, "dataset": dataset, "hyperparameters": hyperparameters, **seed}


def test_matrix_is_every_combination_in_the_order_it_is_written() -> None:
    """LLMs vary slowest, hyperparameters fastest."""
    matrix = make_matrix(llms=["b", "a"], datasets=["d"], hyperparameters=["g", "h"])
    assert names(matrix=matrix) == ["b / d / g", "b / d / h", "a / d / g", "a / d / h"]


def test_seeds_are_named_where_they_tell_jobs_apart() -> None:
    """One seed is no part of a job's name, several are."""
    assert names(matrix=make_matrix(seeds=[7])) == ["base / rows / quick"]
    assert names(matrix=make_matrix(seeds=[7, 8])) == ["base / rows / quick / seed 7", "base / rows / quick / seed 8"]


def test_excluded_cells_are_left_out() -> None:
    """A cell must agree with every key of a rule."""
    matrix = make_matrix(llms=["a", "b"], hyperparameters=["g", "h"], exclude=[{"llm": "a", "hyperparameters": "h"}])
    assert names(matrix=matrix) == ["a / rows / g", "b / rows / g", "b / rows / h"]


def test_seed_zero_can_be_excluded() -> None:
    """0 is a seed like any other."""
    assert names(matrix=make_matrix(seeds=[0, 1], exclude=[{"seed": 0}])) == ["base / rows / quick"]


@pytest.mark.parametrize(("rule", "got"), [({}, "{}"), ({"llm": "none"}, "{'llm': 'none'}"), ({"llm": "base", "seed": 7}, "{'llm': 'base', 'seed': 7}")])
def test_rule_that_excludes_nothing_is_refused(rule: dict[str, Any], got: str) -> None:
    """A misspelt name would otherwise train what should be left out."""
    told = f"the experiment: matrix.exclude[0]: excludes nothing (got {got}). Name an llm, a dataset, a hyperparameter group or a seed of this matrix."
    with pytest.raises(SpecError, match=f"^{re.escape(told)}$"):
        make_plan(make_experiment(matrix=make_matrix(exclude=[rule])))


def test_included_jobs_follow_the_cells() -> None:
    """An include is never excluded."""
    matrix = make_matrix(hyperparameters=["g", "h"], exclude=[{"hyperparameters": "h"}], include=[entry(hyperparameters="h")])
    assert names(matrix=matrix) == ["base / rows / g", "base / rows / h"]


def test_jobs_can_stand_alone() -> None:
    """An experiment without a matrix is a list of jobs."""
    assert names(matrix=None, jobs=[entry("a"), entry("b", seed=1)]) == ["a / rows / quick / seed 42", "b / rows / quick / seed 1"]


@pytest.mark.parametrize("matrix", [None, make_matrix(exclude=[{"llm": "base"}])])
def test_experiment_without_a_job_is_refused(matrix: dict[str, Any] | None) -> None:
    """Neither an empty file nor a rule that excludes everything is an experiment."""
    told = "the experiment: the experiment names no job. Add a `matrix` of llms, datasets and hyperparameters, or a list of `jobs`."
    with pytest.raises(SpecError, match=f"^{re.escape(told)}$"):
        make_plan(make_experiment(matrix=matrix))


def test_jobs_that_come_to_the_same_are_done_once_and_told() -> None:
    """Two groups with the same values are one job."""
    values = Hyperparameters(max_steps=4)
    plan = make_plan(make_experiment(matrix=make_matrix(hyperparameters=["g", "h"])), groups={"g": values, "h": values})
    assert [job.name for job in plan.jobs] == ["base / rows / g"]
    assert plan.merged == {"base / rows / h": "base / rows / g"}


def test_job_that_is_named_twice_is_told() -> None:
    """A cell that is included again is no second job, and no secret."""
    plan = make_plan(make_experiment(matrix=make_matrix(include=[entry()])))
    assert len(plan.jobs) == 1
    assert plan.merged == {"base / rows / quick": "base / rows / quick"}


def test_merged_jobs_leave_every_datasets_rows_to_score_on() -> None:
    """Datasets that share the train rows only are one job, and two sets of rows to score on."""
    datasets = {name: make_dataset_source(name, train="the same", validation=name) for name in ("d", "e")}
    plan = make_plan(make_experiment(matrix=make_matrix(datasets=["d", "e"])), datasets=datasets)
    assert len(plan.jobs) == 1
    assert {name: len(ids) for name, ids in plan.scoring.datasets.items()} == {"d": 1, "e": 1}
    assert len(plan.prepared) == 2


def test_datasets_of_one_content_are_prepared_once_and_both_scored() -> None:
    """Another name for the same rows leaves nothing out of scoring."""
    datasets = {name: make_dataset_source(name, train="same", validation="same", test="same") for name in ("d", "e")}
    jobs = [entry(dataset="d", hyperparameters="g"), entry(dataset="e", hyperparameters="h")]
    plan = make_plan(make_experiment(matrix=None, jobs=jobs), datasets=datasets)
    assert (len(plan.jobs), len(plan.prepared)) == (2, 1)
    assert plan.scoring.datasets == {"d": (plan.prepared[0].prepared_id,), "e": (plan.prepared[0].prepared_id,)}


def test_base_llms_of_one_revision_are_one_base() -> None:
    """Two names of the same weights are compared with once."""
    llms = {name: make_llm_source(name, revision="same") for name in ("a", "b")}
    plan = make_plan(make_experiment(matrix=make_matrix(llms=["a", "b"])), llms=llms)
    assert len(plan.bases) == len(plan.jobs) == 1


def test_each_length_is_prepared_by_itself() -> None:
    """One PreparedDataset for each distinct (dataset, tokenizer, template, length)."""
    groups = {"g": Hyperparameters(cutoff_len=64), "h": Hyperparameters(cutoff_len=128), "i": Hyperparameters(cutoff_len=128, lora_rank=2)}
    plan = make_plan(make_experiment(matrix=make_matrix(hyperparameters=["g", "h", "i"])), groups=groups)
    assert [document.options.cutoff_len for document in plan.prepared] == [64, 128]
    assert plan.bases[0].prepared_ids == tuple(document.prepared_id for document in plan.prepared)


def test_what_is_learned_of_a_row_is_prepared_by_itself() -> None:
    """Jobs that differ in it have other labels; those that do not share one PreparedDataset."""
    options: list[dict[str, Any]] = [{}, {"mask_history": True}, {"train_on_prompt": True}, {"mask_history": True, "lora_rank": 2}]
    groups = {f"g{number}": Hyperparameters(**values) for number, values in enumerate(options)}
    plan = make_plan(make_experiment(matrix=make_matrix(hyperparameters=list(groups))), groups=groups)
    assert [(document.options.mask_history, document.options.train_on_prompt) for document in plan.prepared] == [(False, False), (True, False), (False, True)]
    assert plan.jobs[1].prepared_id == plan.jobs[3].prepared_id


def test_thousand_jobs_are_planned() -> None:
    """A large matrix is a plan of as many packs, each with its own id and file name."""
    matrix = make_matrix(llms=["a", "b"], hyperparameters=[f"g{number}" for number in range(50)], seeds=list(range(10)))
    plan = make_plan(make_experiment(matrix=matrix))
    assert len(plan.packs) == len({job.job_id for job in plan.jobs}) == len({pack.name for pack in plan.packs}) == 1000


def test_plan_is_pure() -> None:
    """The same inputs are the same plan, to the last byte."""
    inputs = make_inputs(make_experiment(matrix=make_matrix(llms=["a", "b"], seeds=[1, 2])))
    assert make_plan(inputs.experiment).model_dump_json() == make_plan(inputs.experiment).model_dump_json()


def test_pack_knows_all_that_its_stage_is_told() -> None:
    """A pack of one has the job's id, the experiment's resources and a name for the grid."""
    plan = make_plan(make_experiment(name="识别", parallelism=5, resources={"cpus": 3}))
    pack = plan.packs[0]
    assert (pack.pack_id, pack.parallelism, pack.resources.cpus, pack.experiment_name) == (plan.jobs[0].job_id, 5, 3, "识别")
    assert pack.name.endswith(f"-{pack.pack_id[:8]}")


@pytest.mark.parametrize("name", ["g", "x" * 100, "识别 顾客" * 9])
def test_names_of_the_grid_are_short_and_plain(name: str) -> None:
    """At most 60 characters that any label can hold."""
    plan = make_plan(make_experiment(matrix=make_matrix(hyperparameters=[name], datasets=[name], llms=[name])))
    labels = [document.name for document in (*plan.packs, *plan.prepared, *plan.bases)]
    assert all(re.fullmatch(r"[a-z0-9-]{1,60}", label) for label in labels)


def test_registered_name_is_the_experiments_where_it_can_be() -> None:
    """MLflow takes no colon."""
    assert make_plan(make_experiment(name="a:b")).registered_name == "a-b"
    assert make_plan(make_experiment(name="a", registered_name="c")).registered_name == "c"
