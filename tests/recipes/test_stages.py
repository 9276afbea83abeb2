"""Every stage by every method that the plan accepts: the loss falls, and the checkpoint loads again and computes the same."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest
import torch
import transformers
from peft import PeftModel
from safetensors.torch import load_file
from trl.trainer.utils import RepeatSampler

from dtx_tasks.errors import DataError
from dtx_tasks.plan.methods import METHODS, trained, values_of
from dtx_tasks.plan.rules import KINDS_OF_STAGES
from dtx_tasks.plan.steps import num_steps, prompts_a_step
from dtx_tasks.score.load import load_checkpoint
from dtx_tasks.score.record import base_scored
from dtx_tasks.spec import ADAPTERS, REINFORCED, Hyperparameters
from dtx_tasks.train.model import load_model
from tests.recipes.world import Trial, make_trial, train

if TYPE_CHECKING:
    from collections.abc import Callable

    from dtx_tasks.train.folder import JobFolder

MADE = {"name": "tiny", "source": "made:tiny-test"}
WORDS = ("apple", "pear", "tea", "rice")
ALWAYS = {
    ("pt", "lora"),
    ("sft", "freeze"),
    ("sft", "pissa"),
    ("rm", "lora"),
    ("dpo", "full"),
    ("kto", "lora"),
    ("orpo", "lora"),
    ("simpo", "prefix tuning"),
    ("rloo", "lora"),
    ("grpo", "lora"),
    ("sft", "qlora, bnb 4"),
}
"""A cross-section for every run of the tests: each stage, and each way to load and to save."""

TOLD = {
    **dict.fromkeys(("pt", "sft"), "mean_token_accuracy"),
    "rm": "accuracy",
    **dict.fromkeys(("dpo", "kto", "orpo", "simpo"), "rewards/margins"),
    **dict.fromkeys(("rloo", "grpo"), "reward"),
}
"""A figure that a stage tells of beside its loss."""

SLOW_LEARNERS = {"ia3": 5e-2, "prompt tuning": 5e-2, "prefix tuning": 1e-2, "p-tuning": 1e-2}
"""Methods that learn little need a higher rate to show it in a few steps."""


def rows_of(kind: str) -> list[dict[str, Any]]:
    """Rows that are easy to learn from."""
    asked = [{"role": "user", "content": f"What is {word}?"} for word in WORDS for _ in range(4)]
    good = [{"role": "assistant", "content": f"It is {word}."} for word in WORDS for _ in range(4)]
    bad = {"role": "assistant", "content": "No."}
    return {
        "text": lambda: [{"text": answer["content"]} for answer in good],
        "conversations": lambda: [{"messages": [question, answer]} for question, answer in zip(asked, good, strict=True)],
        "preferences": lambda: [{"messages": [question], "chosen": answer, "rejected": bad} for question, answer in zip(asked, good, strict=True)],
        "labels": lambda: [
            {"messages": [question, bad if number % 2 else answer], "label": not number % 2}
            for number, (question, answer) in enumerate(zip(asked, good, strict=True))
        ],
        "prompts": lambda: [{"messages": [question]} for question in asked],
    }[kind]()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Trial]:
    """Plans an experiment of one job, with everything but its training done; each kind of rows is prepared once."""
    folder = tmp_path_factory.mktemp("stages")
    for kind in {kind for kinds in KINDS_OF_STAGES.values() for kind in kinds}:
        (folder / f"{kind}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows_of(kind)))

    def prepare(kind: str, group: dict[str, Any], llm: dict[str, str] = MADE) -> Trial:
        data = {"name": kind, "train": f"{kind}.jsonl", "kind": kind, "format": "text" if kind == "text" else "openai"}
        judged = {"name": "judged", "train": "conversations.jsonl", "validation": "conversations.jsonl", "format": "openai"}
        scoring, metric = ({"metrics": ["pairwise_accuracy"]}, "pairwise_accuracy") if group["stage"] == "rm" else ({"metrics": ["perplexity"]}, "perplexity")
        if group["stage"] == "rm":
            judged = {}
            data["validation"] = data["train"]
        jobs = [{"llm": llm, "dataset": data, "hyperparameters": {"name": "group", **group}}]
        if judged:
            jobs.append({**jobs[0], "dataset": judged, "hyperparameters": {"name": "judging", "max_steps": 1}})
        made = make_trial(folder, matrix=None, jobs=jobs, scoring=scoring, selection={"metric": metric}, allow_leakage="the test scores nothing")
        return made.ready()

    return prepare


@pytest.fixture(scope="module")
def reward(prepared: Callable[..., Trial], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reward model that `rm` made, as an adapter."""
    made = prepared("preferences", {"stage": "rm", "max_steps": 4, "global_batch_size": 4})
    return train(made.plan.jobs[0], made.layout, tmp_path_factory.mktemp("reward")).final


COMBINATIONS = [pytest.param(*pair, marks=[] if pair in ALWAYS else [pytest.mark.slow]) for pair in trained()]


@pytest.mark.parametrize(("stage", "method"), COMBINATIONS)
def test_stage_is_trained_by_a_method(
    stage: str, method: str, prepared: Callable[..., Trial], tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few real steps."""
    group = {"max_steps": 8, "global_batch_size": 4, "learning_rate": SLOW_LEARNERS.get(method, 5e-3), "logging_steps": 1, "freeze_trainable_layers": 2}
    written = {**group, **values_of(stage, method)}
    if method != "freeze":
        del written["freeze_trainable_layers"]
    if stage in REINFORCED:
        written |= {"max_new_tokens": 6, "reward_model": str(request.getfixturevalue("reward"))}
    made = prepared(KINDS_OF_STAGES[stage][0], written)
    job = made.plan.jobs[0]
    before = remembered_logits(monkeypatch)
    folder = train(job, made.layout, tmp_path)
    steps = [event for event in map(json.loads, Path(folder.events_uri).read_text().splitlines()) if event["event"] == "step"]
    assert TOLD[stage] in steps[-1]["metrics"]
    # The store is named by content: training leaves nothing there.
    assert not list(folder.prepared_path.glob("cache-*"))
    assert steps[-1]["tokens_per_s"] > 0
    losses = [event["loss"] for event in steps]
    assert len(losses) == job.num_steps
    if stage not in REINFORCED:
        assert sum(losses[-2:]) < sum(losses[:2])
    (trained_logits,) = before
    # In bf16 a number has three digits, and with 8 bits activations are rounded too.
    tolerance = 0.05 if written.get("compute_type") == "bf16" else 1e-4
    assert (loaded_logits(job.hyperparameters, folder) - trained_logits).norm() < tolerance * trained_logits.norm()


PLAIN = ("dora", "rslora", "lora+", "qlora, bnb 4", "qlora, hqq 4")
"""Methods of LoRA whose adapters are trained further as they are."""

FURTHER = [
    *(pytest.param(stage, "lora", marks=[] if stage in ("sft", "dpo") else [pytest.mark.slow]) for stage in KINDS_OF_STAGES),
    *(pytest.param("sft", method, marks=pytest.mark.slow) for method in PLAIN),
]


@pytest.mark.parametrize(("stage", "method"), FURTHER)
def test_given_adapter_is_trained_further(
    stage: str, method: str, prepared: Callable[..., Trial], tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It begins by computing what it computed, and ends as one adapter on the same base that computes something else."""
    begins_as = "rm" if stage == "rm" else "sft"
    group = {"max_steps": 4, "global_batch_size": 4, "learning_rate": 5e-3, "logging_steps": 1}
    made = prepared(KINDS_OF_STAGES[begins_as][0], {**group, "lora_rank": 4, "lora_alpha": 6, **values_of(begins_as, method)})
    first = train(made.plan.jobs[0], made.layout, tmp_path / "first")
    given = loaded_logits(made.plan.jobs[0].hyperparameters, first)

    further = {"max_new_tokens": 6, "reward_model": str(request.getfixturevalue("reward"))} if stage in REINFORCED else {}
    llm = {"name": "given", "source": str(first.final), "adapter": "continue"}
    again = prepared(KINDS_OF_STAGES[stage][0], {**group, **values_of(stage, method), **further}, llm)
    job = again.plan.jobs[0]
    begun, ended = remembered_logits(monkeypatch, "train"), remembered_logits(monkeypatch, "save_model")
    folder = train(job, again.layout, tmp_path / "further")

    tolerance = 0.05 if job.hyperparameters.compute_type == "bf16" else 1e-4
    assert (begun[0] - given).norm() < tolerance * given.norm()
    assert (ended[0] - given).norm() > tolerance * given.norm()
    assert (loaded_logits(job.hyperparameters, folder) - ended[0]).norm() < tolerance * ended[0].norm()
    assert (folder.llm_path / "model.safetensors").read_bytes() == (first.llm_path / "model.safetensors").read_bytes()
    told = json.loads((folder.final / "adapter_config.json").read_text())
    assert (told["r"], told["lora_alpha"], told["base_model_name_or_path"]) == (4, 6, folder.llm_uri)
    # TRL compares with a copy of it, which is not handed on.
    assert [path.parent for path in folder.final.rglob("adapter_config.json")] == [folder.final]
    if stage == "dpo":
        losses = [event["loss"] for event in map(json.loads, Path(folder.events_uri).read_text().splitlines()) if event["event"] == "step"]
        assert losses[0] == pytest.approx(math.log(2), abs=1e-4)


@pytest.mark.slow
def test_given_adapter_is_trained_further_from_a_checkpoint(prepared: Callable[..., Trial], tmp_path: Path) -> None:
    """In a stage that compares with what was given, too: a resumed job ends as one that was not interrupted."""
    made = prepared("conversations", {"stage": "sft", "max_steps": 4, "global_batch_size": 4, "learning_rate": 5e-3})
    first = train(made.plan.jobs[0], made.layout, tmp_path / "first")
    group = {"stage": "dpo", "max_steps": 4, "global_batch_size": 4, "learning_rate": 5e-3, "save_steps": 2}
    again = prepared("preferences", group, {"name": "given", "source": str(first.final), "adapter": "continue"})
    whole = train(again.plan.jobs[0], again.layout, tmp_path / "whole")
    (tmp_path / "resumed/scratch").mkdir(parents=True)
    (whole.work / "checkpoint-2").rename(tmp_path / "resumed/scratch/checkpoint-2")
    resumed = train(again.plan.jobs[0], again.layout, tmp_path / "resumed", started_from_step=2)
    weights = [load_file(folder.final / "adapter_model.safetensors") for folder in (whole, resumed)]
    torch.testing.assert_close(weights[1], weights[0], rtol=1e-5, atol=1e-6)


def test_base_of_a_given_adapter_is_judged_with_it(prepared: Callable[..., Trial], tmp_path: Path) -> None:
    """What an experiment begins from is what its jobs are compared with: as if the adapter had been merged."""
    made = prepared("conversations", {"stage": "sft", "max_steps": 4, "global_batch_size": 4, "learning_rate": 5e-3})
    source = str(train(made.plan.jobs[0], made.layout, tmp_path).final)
    losses = {}
    for name, llm in {
        "made": MADE,
        "merged": {"name": "merged", "source": source},
        "given": {"name": "given", "source": source, "adapter": "continue"},
    }.items():
        again = prepared("conversations", {"stage": "sft", "max_steps": 1}, llm)
        again.here("score_base", again.uris.bases[0])
        cards = base_scored(again.plan.bases[0], again.layout)
        assert cards is not None
        losses[name] = cards.cards["validation"].scores["perplexity"].value
    assert losses["given"] == pytest.approx(losses["merged"], rel=1e-4)
    assert losses["given"] != pytest.approx(losses["made"], rel=1e-2)


@pytest.mark.parametrize(("num_prompts", "batch", "answers"), [(16, 8, 4), (7, 8, 2), (9, 6, 2), (3, 8, 2)])
def test_trl_takes_as_many_prompts_a_step_as_the_plan_says(num_prompts: int, batch: int, answers: int) -> None:
    """Its own sampler: prompts that fill no step are left out, and too few are none."""
    values = Hyperparameters(stage="grpo", global_batch_size=batch, num_generations=answers, num_train_epochs=1)
    sampled = len(RepeatSampler(range(num_prompts), answers, prompts_a_step(values))) // batch
    assert sampled == num_prompts // prompts_a_step(values)
    assert num_steps(values, num_prompts) == max(1, sampled)


def test_training_that_ends_before_its_last_step_fails(prepared: Callable[..., Trial], tmp_path: Path, reward: Path) -> None:
    """Nothing is published of it: plugins may leave fewer prompts than a step takes."""
    made = prepared("prompts", {"stage": "grpo", "max_steps": 1, "global_batch_size": 4, "reward_model": str(reward), "max_new_tokens": 6})
    job = made.plan.jobs[0]
    starved = job.model_copy(update={"hyperparameters": job.hyperparameters.model_copy(update={"global_batch_size": 128})})
    with pytest.raises(DataError, match=r"^Training ended at step 0 of 1: its 16 rows fill no further step\."):
        train(starved, made.layout, tmp_path)
    assert not (tmp_path / "scratch" / "final").exists()


IDS = torch.arange(4, 24)[None]


def remembered_logits(monkeypatch: pytest.MonkeyPatch, moment: Literal["train", "save_model"] = "save_model") -> list[torch.Tensor]:
    """What models compute before they are trained, or when they are saved at the end."""
    found: list[torch.Tensor] = []
    act = getattr(transformers.Trainer, moment)

    def remember(trainer: transformers.Trainer, *given: Any, _internal_call: bool = False, **named: Any) -> Any:
        if _internal_call:
            return act(trainer, *given, _internal_call=True, **named)
        found.append(logits(trainer.model))
        return act(trainer, *given, **named)

    monkeypatch.setattr(transformers.Trainer, moment, remember)
    return found


def loaded_logits(values: Hyperparameters, folder: JobFolder) -> torch.Tensor:
    """What the checkpoint computes; an adapter that was trained on quantised weights on such."""
    is_adapter = values.finetuning_type in ADAPTERS
    if values.quantization_bit:
        return logits(PeftModel.from_pretrained(load_model(folder.llm_path, values, 0), folder.final))
    model = folder.llm_path if is_adapter else folder.final
    return logits(load_checkpoint(model, folder.final, folder.final if is_adapter else None, as_reward=values.stage == "rm").model)


@torch.inference_mode()
def logits(model: Any) -> torch.Tensor:
    was_training = model.training
    found = model.eval()(input_ids=IDS.to(model.device)).logits.float().cpu()
    model.train(was_training)
    return found


def test_every_method_is_in_the_cross_section_or_slow() -> None:
    """What every run of the tests leaves out is left out on purpose."""
    assert set(trained()) >= ALWAYS
    assert {stage for stage, _ in ALWAYS} == set(KINDS_OF_STAGES)
    assert len(METHODS) * len(KINDS_OF_STAGES) > len(trained())
