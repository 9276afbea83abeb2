"""An identity changes when, and only when, something that changes the result does."""

from typing import Any

import pytest

from dtx_tasks.plan.identity import job_id, scoring_id
from dtx_tasks.records import DatasetSource, ImageList, PluginSource
from dtx_tasks.spec import Columns, Hyperparameters, Scoring
from dtx_tasks.spec.effects import COUNTS_WITH
from dtx_tasks.spec.hyperparameters import WITHOUT_EFFECT
from tests.builders import make_dataset_source, make_experiment, make_job, make_llm_source, make_matrix, make_plan
from tests.plugins import make_use

ROWS = {"train": "train", "validation": "validation", "test": "test"}


def prepared_id(**changes: Any) -> str:
    return make_job(dataset=make_dataset_source(**{**ROWS, **changes})).prepared_id


def job_id_of_rows(**changes: Any) -> str:
    return make_job(dataset=make_dataset_source(**{**ROWS, **changes})).job_id


def plan_of(**changes: Any) -> str:
    return make_plan(make_experiment(**changes)).plan_id


OTHER_VALUES: dict[str, Any] = {
    "stage": "dpo",
    "finetuning_type": "full",
    "max_steps": 10,
    "per_device_train_batch_size": 4,
    "lr_scheduler_type": "linear",
    "lr_scheduler_kwargs": {"num_cycles": 2},
    "warmup_steps": 9,
    "optim": "adafactor",
    "optim_args": "rank=9",
    "optim_target_modules": "q_proj",
    "neftune_noise_alpha": 5.0,
    "compute_type": "bf16",
    "lora_alpha": 17,
    "lora_target": "q_proj",
    "additional_target": "lm_head",
    "init_lora_weights": "gaussian",
    "loraplus_lr_ratio": 16.0,
    "freeze_trainable_modules": "mlp",
    "freeze_extra_modules": "norm",
    "quantization_bit": 4,
    "quantization_method": "hqq",
    "quantization_type": "fp4",
    "rope_scaling": "linear",
    "flash_attn": "sdpa",
    "gradient_checkpointing": True,
    "pref_loss": "ipo",
    "reward_model": "r",
    "eval_steps": 7,
    "save_minutes": 5.0,
}
"""Values beside the defaults, where they do not follow from those: the others are one more, or the other way round."""


def id_of(**values: Any) -> str:
    return job_id(make_llm_source(), make_dataset_source(), Hyperparameters(**values), 42)


def changed(name: str) -> dict[str, Any]:
    """A hyperparameter that is not at its default, and what it counts with."""
    default = Hyperparameters.model_fields[name].default
    value = OTHER_VALUES[name] if name in OTHER_VALUES else not default if isinstance(default, bool) else default + (1 if isinstance(default, int) else 0.01)
    return {**{other: wanted[0] for other, wanted in COUNTS_WITH.get(name, {}).items()}, name: value}


@pytest.mark.parametrize("name", sorted(set(Hyperparameters.model_fields) - WITHOUT_EFFECT))
def test_job_id_changes_with_every_hyperparameter_that_counts(name: str) -> None:
    """Each that changes what is learned makes another job, beside those that it counts with."""
    values = changed(name)
    beside = {key: value for key, value in values.items() if key != name}
    assert id_of(**values) != id_of(**beside)


@pytest.mark.parametrize("name", sorted(WITHOUT_EFFECT))
def test_job_id_stays_where_only_the_way_changes(name: str) -> None:
    """How fast, and how much is said on the way, is no part of a job."""
    values = changed(name)
    assert id_of(**values) == id_of(**{key: value for key, value in values.items() if key != name})


@pytest.mark.parametrize("name", sorted(COUNTS_WITH))
def test_job_id_stays_where_a_hyperparameter_counts_for_nothing(name: str) -> None:
    """Whatever it is at: beside others it would be a mistake, but one that a group extends may have it."""
    (other, wanted), *_ = COUNTS_WITH[name].items()
    values = {**changed(name), other: Hyperparameters.model_fields[other].default}
    if values[other] in wanted:
        values[other] = {"finetuning_type": "full", "stage": "grpo" if "rm" in wanted else "rm"}.get(other)
    assert id_of(**values) == id_of(**{key: value for key, value in values.items() if key != name})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"lora_rank": 8, "lora_alpha": 16}, {"lora_rank": 8}),
        ({"max_steps": 10, "num_train_epochs": 1.0}, {"max_steps": 10, "num_train_epochs": 9.0}),
        ({"learning_rate": 1e-4}, {}),
        ({"finetuning_type": "full", "lora_rank": 64, "lora_alpha": 3}, {"finetuning_type": "full"}),
    ],
    ids=["alpha by default", "epochs beside max_steps", "a default written out", "lora beside full"],
)
def test_job_id_is_of_what_counts(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Two ways to write the same job are one job."""
    assert make_job(**one).job_id == make_job(**other).job_id


PLATEAU = {"lr_scheduler_type": "reduce_lr_on_plateau", "eval_steps": 5}
BEST = {"load_best_model_at_end": True, "eval_steps": 5}


@pytest.mark.parametrize(("decides", "values"), [(True, BEST), (True, PLATEAU), (False, {"eval_steps": 5})], ids=["best", "plateau", "only measured"])
def test_validation_counts_where_its_loss_decides(decides: bool, values: dict[str, Any]) -> None:
    """Its rows, and when it is measured; otherwise a corrected row of it costs no training."""

    def id_of_rows(**changes: Any) -> str:
        return job_id(make_llm_source(), make_dataset_source(**{**ROWS, **changes}), Hyperparameters(**values), 42)

    assert (id_of_rows() != id_of_rows(validation="other")) is decides
    assert id_of_rows() == id_of_rows(test="other")
    assert (id_of(**values) != id_of(**{**values, "eval_steps": 6})) is decides


def test_rows_of_a_pass_count_where_kto_estimates_over_them() -> None:
    """By default as many as divide the global batch, 8 at most: written out they are the same job."""
    assert id_of(stage="kto") == id_of(stage="kto", per_device_train_batch_size=8)
    assert id_of(stage="kto") != id_of(stage="kto", per_device_train_batch_size=4)
    assert id_of(stage="kto", global_batch_size=10) == id_of(stage="kto", global_batch_size=10, per_device_train_batch_size=5)


def test_job_id_changes_with_the_seed() -> None:
    """Another seed is another result."""
    assert make_job(seed=1).job_id != make_job(seed=2).job_id


@pytest.mark.parametrize("change", [{"revision": "r2"}, {"template": "default"}])
def test_job_id_changes_with_the_base(change: dict[str, str]) -> None:
    """Other weights or another template are another start."""
    assert make_job(llm=make_llm_source(**change)).job_id != make_job().job_id


def test_job_id_stays_under_another_name_of_the_base() -> None:
    """Names decide nothing."""
    assert make_job(llm=make_llm_source("other")).job_id == make_job().job_id


@pytest.mark.parametrize(
    "change",
    [{"train": "other"}, {"columns": Columns(output="answer")}, {"max_samples": 3}],
    ids=["a train row", "the mapping", "max_samples"],
)
def test_job_id_changes_with_the_rows_it_learns(change: dict[str, Any]) -> None:
    """What is learned is the train split, as it is read."""
    assert job_id_of_rows(**change) != job_id_of_rows()


@pytest.mark.parametrize("change", [{"test": "other"}, {"validation": "other"}, {"test": None}, {"name": "other"}, {"problem": "bad"}])
def test_job_id_stays_with_the_rows_it_learns(change: dict[str, Any]) -> None:
    """A corrected test row costs no training."""
    assert job_id_of_rows(**change) == job_id_of_rows()


@pytest.mark.parametrize("change", [{"train": "x"}, {"validation": "x"}, {"test": "x"}, {"test": None}, {"columns": Columns(input="i")}, {"max_samples": 3}])
def test_prepared_id_changes_with_its_rows(change: dict[str, Any]) -> None:
    """Every split is prepared."""
    assert prepared_id(**change) != prepared_id()


def shown(split: str, digest: str) -> DatasetSource:
    """A Dataset of which one split shows an image."""
    source = make_dataset_source(**ROWS)
    images = ImageList(path="/cache/images.jsonl", sha256=digest * 64, folder="/data", num_images=1)
    return source.model_copy(update={"files": source.files | {split: source.files[split].model_copy(update={"images": images})}})


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_ids_change_with_the_images_that_they_are_of(split: str) -> None:
    """By what they hold: those that are learned are of the job, the others of the scoring, all of what is prepared."""
    jobs = [make_job(dataset=dataset) for dataset in (shown(split, "0"), shown(split, "1"))]
    assert len({job.prepared_id for job in jobs}) == 2
    assert (len({job.job_id for job in jobs}) == 2) is (split == "train")
    assert (len({scoring_id(Scoring(), [shown(split, digest)]) for digest in "01"}) == 2) is (split != "train")


def test_ids_of_models_that_see_are_those_with_a_processor() -> None:
    """What earlier code made of them has none."""
    jobs = [make_job(llm=make_llm_source().model_copy(update={"architecture": name})) for name in ("", "llama", "llava")]
    assert len({job.job_id for job in jobs}) == len({job.prepared_id for job in jobs}) == 2


def test_prepared_id_changes_with_tokenizer_template_and_length() -> None:
    """Another tokenizer writes other tokens."""
    known = [make_job(), make_job(llm=make_llm_source(revision="r2")), make_job(llm=make_llm_source(template="default")), make_job(cutoff_len=99)]
    assert len({job.prepared_id for job in known}) == 4


def test_prepared_id_changes_with_what_is_learned_of_a_row() -> None:
    """Other labels are another PreparedDataset, and a default that is written out is none."""
    known = [make_job(), make_job(mask_history=True), make_job(train_on_prompt=True), make_job(mask_history=False, train_on_prompt=False)]
    assert len({job.prepared_id for job in known}) == 3


def test_prepared_id_stays_where_only_training_changes() -> None:
    """Rows are prepared once for every learning rate and every seed."""
    known = [make_job(), make_job(learning_rate=0.5), make_job(seed=1), make_job(lora_rank=1), make_job(dataset=make_dataset_source(train="train of rows"))]
    assert len({job.prepared_id for job in known}) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"team": "other"},
        {"selection": {"metric": "bleu"}},
        {"registered_name": "other"},
        {"scoring": {"max_new_tokens": 5}},
        {"matrix": make_matrix(seeds=[1])},
    ],
    ids=lambda change: next(iter(change)),
)
def test_plan_id_changes_with_its_end(change: dict[str, Any]) -> None:
    """Other jobs, judged or named in another way, have another verdict."""
    assert plan_of(**change) != plan_of()


@pytest.mark.parametrize(
    "change", [{"description": "x"}, {"parallelism": 9}, {"resources": {"processes": 2}}, {"scoring": {"batch_size": 1}}], ids=lambda change: next(iter(change))
)
def test_plan_id_stays_where_only_the_way_changes(change: dict[str, Any]) -> None:
    """How it is run is no part of what it comes to."""
    assert plan_of(**change) == plan_of()


@pytest.mark.parametrize(
    "change",
    [{"name": "x"}, {"description": "x"}, {"parallelism": 9}, {"resources": {"processes": 2}}, {"registered_name": "x"}, {"scoring": {"metrics": ["bleu"]}}],
    ids=lambda change: next(iter(change)),
)
def test_job_id_stays_whatever_the_experiment(change: dict[str, Any]) -> None:
    """A job is reused by every experiment of the team that comes to it."""
    assert make_plan(make_experiment(**change)).jobs[0].job_id == make_plan().jobs[0].job_id


@pytest.mark.parametrize("change", [{"metrics": ("bleu",)}, {"max_new_tokens": 5}, {"max_samples": 5}], ids=lambda change: next(iter(change)))
def test_scoring_id_changes_with_how_is_judged(change: dict[str, Any]) -> None:
    """Other metrics or answers cut off elsewhere are other scores."""
    assert scoring_id(Scoring(**change), [make_dataset_source()]) != scoring_id(Scoring(), [make_dataset_source()])


@pytest.mark.parametrize("change", [{"name": "x"}, {"description": "x"}, {"batch_size": 1}], ids=lambda change: next(iter(change)))
def test_scoring_id_stays_where_only_the_way_changes(change: dict[str, Any]) -> None:
    """Names and speed are no part of a score."""
    assert scoring_id(Scoring(**change), [make_dataset_source()]) == scoring_id(Scoring(), [make_dataset_source()])


def test_scoring_id_is_of_the_scored_rows() -> None:
    """Other test rows are another scoring, other train rows are not."""
    scored = {change: scoring_id(Scoring(), [make_dataset_source(**{change: "other"})]) for change in ("train", "validation", "test")}
    assert scored["train"] == scoring_id(Scoring(), [make_dataset_source()])
    assert len(set(scored.values())) == 3


def test_scoring_id_does_not_depend_on_the_order_of_datasets() -> None:
    """The rows are a union."""
    one, other = make_dataset_source("d"), make_dataset_source("e")
    assert scoring_id(Scoring(), [one, other]) == scoring_id(Scoring(), [other, one])


@pytest.mark.parametrize(
    "plugins",
    [
        (make_use("clean", least=3),),
        (make_use("clean", "2"),),
        (make_use("other"),),
        (make_use("clean"), make_use("other")),
        (make_use("other"), make_use("clean")),
        (),
    ],
    ids=["a parameter", "the version", "the name", "another one", "the order", "none"],
)
def test_ids_change_with_the_plugins(plugins: tuple[PluginSource, ...]) -> None:
    """Other rows may come out, to learn from and to score on."""
    ids = [
        [id_of(plugins=named) for id_of in (prepared_id, job_id_of_rows, lambda **rows: scoring_id(Scoring(), [make_dataset_source(**rows)]))]
        for named in (plugins, (make_use("clean"),))
    ]
    assert all(one != other for one, other in zip(*ids, strict=True))
