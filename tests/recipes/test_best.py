"""The lowest validation loss: which checkpoints are kept, and which weights a job ends with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

from dtx_tasks.spec import Resources
from dtx_tasks.train.checkpoint import best_step, last_step
from tests.recipes.world import Trial, make_trial, train

if TYPE_CHECKING:
    from collections.abc import Callable

    from dtx_tasks.train.folder import JobFolder

GROUP = {"name": "g", "max_steps": 24, "global_batch_size": 4, "learning_rate": 2e-2, "logging_steps": 2, "eval_steps": 3, "save_steps": 8}
BEST = {"load_best_model_at_end": True}


@pytest.fixture(scope="module")
def contradicted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world whose validation rows say something else than those that are learned: what is learned too well is wrong there."""
    folder = tmp_path_factory.mktemp("contradicted")
    answers = {"train": "apple", "validation": "pear", "test": "tea"}
    for split, answer in answers.items():
        rows = [{"instruction": f"{split} {number}?", "output": answer} for number in range(8)]
        (folder / f"rows.{split}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    planned(folder).ready()
    return folder


def planned(folder: Path, **values: Any) -> Trial:
    """A plan of one job on that world."""
    data = {"name": "rows", **{split: f"rows.{split}.jsonl" for split in ("train", "validation", "test")}}
    matrix = {"llms": [{"name": "tiny", "source": "made:tiny-test"}], "datasets": [data], "hyperparameters": [{**GROUP, **values}]}
    return make_trial(folder, matrix=matrix)


def events(folder: JobFolder, kind: str) -> list[dict[str, Any]]:
    return [event for event in map(json.loads, Path(folder.events_uri).read_text().splitlines()) if event["event"] == kind]


def losses(folder: JobFolder) -> dict[int, float]:
    """Validation loss by step."""
    return {event["step"]: event["loss"] for event in events(folder, "validation")}


def kept(folder: JobFolder) -> list[int]:
    return sorted(int(path.name.removeprefix("checkpoint-")) for path in folder.work.glob("checkpoint-*"))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / ("adapter_model.safetensors" if (folder / "adapter_model.safetensors").exists() else "model.safetensors"))


def are_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


METHODS = [
    pytest.param({}, id="lora"),
    pytest.param({"finetuning_type": "full", "learning_rate": 5e-3}, id="full", marks=pytest.mark.slow),
    pytest.param({"finetuning_type": "prefix_tuning"}, id="prefix tuning", marks=pytest.mark.slow),
    pytest.param({"finetuning_type": "prompt_tuning", "learning_rate": 0.5}, id="prompt tuning", marks=pytest.mark.slow),
    pytest.param({"finetuning_type": "p_tuning"}, id="p-tuning", marks=pytest.mark.slow),
    pytest.param({"finetuning_type": "ia3", "learning_rate": 0.5}, id="ia3", marks=pytest.mark.slow),
    pytest.param({"use_dora": True}, id="dora", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("method", METHODS)
def test_job_ends_with_the_weights_of_the_lowest_validation_loss(contradicted: Path, method: dict[str, Any], tmp_path: Path) -> None:
    """Measured at other steps than those that are saved; the best is saved whenever it comes, and the card says which it was."""
    made = planned(contradicted, **BEST, **method)
    folder = train(made.plan.jobs[0], made.layout, tmp_path)
    found = losses(folder)
    best = min(found, key=lambda step: found[step])
    assert sorted(found) == [3, 6, 9, 12, 15, 18, 21, 24]
    assert best < 24
    assert {best, 16} <= set(kept(folder))
    assert len(kept(folder)) <= 3
    assert are_equal(weights(folder.final), weights(folder.work / f"checkpoint-{best}"))
    assert f"validation loss {found[best]:.4f}, the lowest: these are the weights of step {best};" in (folder.final / "README.md").read_text()


def test_best_checkpoint_outlives_newer_ones_and_a_retry(contradicted: Path, tmp_path: Path) -> None:
    """With one place for the newest the best is kept beside it; an attempt that begins behind it still ends with it."""
    made = planned(contradicted, **BEST, max_steps=36, save_total_limit=1, save_steps=5)
    job = made.plan.jobs[0]
    whole = train(job, made.layout, tmp_path)
    found, expected = losses(whole), weights(whole.final)
    best = min(found, key=lambda step: found[step])
    assert kept(whole) == [best, 35]
    scratch = str(whole.work)
    assert best_step(f"{scratch}/checkpoint-35") == best
    assert last_step(scratch, Resources(), with_best=True) == 35

    again = train(job, made.layout, tmp_path, started_from_step=35)
    assert are_equal(weights(again.final), expected)
    (again.work / f"checkpoint-{best}" / "adapter_model.safetensors").unlink()
    assert (last_step(scratch, Resources()), last_step(scratch, Resources(), with_best=True)) == (35, 0)


def test_checkpoint_stays_until_the_next_one_is_vouched_for(contradicted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with one place: an attempt that ends between the two loses nothing."""
    made = planned(contradicted, save_total_limit=1, save_steps=5, eval_steps=None)
    save = transformers.Trainer._save_checkpoint

    def end_behind(trainer: transformers.Trainer, *args: Any) -> None:
        save(trainer, *args)
        if trainer.state.global_step == 10:
            raise KeyboardInterrupt

    monkeypatch.setattr(transformers.Trainer, "_save_checkpoint", end_behind)
    with pytest.raises(KeyboardInterrupt):
        train(made.plan.jobs[0], made.layout, tmp_path)
    assert last_step(str(tmp_path / "scratch"), Resources()) == 5

    monkeypatch.undo()
    again = train(made.plan.jobs[0], made.layout, tmp_path, started_from_step=5)
    assert kept(again) == [20]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["p_tuning", "prefix_tuning", "prompt_tuning", "ia3"])
def test_resumed_adapter_equals_one_that_was_never_interrupted(contradicted: Path, method: str, tmp_path: Path) -> None:
    """Whatever it is that learns: p-tuning's tokens come from a network that has to be kept too."""
    made = planned(contradicted, finetuning_type=method)
    whole = train(made.plan.jobs[0], made.layout, tmp_path)
    expected = weights(whole.final)
    again = train(made.plan.jobs[0], made.layout, tmp_path, started_from_step=16)
    found = weights(again.final)
    assert found.keys() == expected.keys()
    assert all(torch.allclose(value, expected[name], rtol=1e-5) for name, value in found.items())


def test_validation_loss_does_not_depend_on_what_fits_into_memory(trial: Callable[..., Trial], tmp_path: Path) -> None:
    """Rows are of several lengths; an attempt that ran out of memory goes on with half of them at once."""
    made = trial(groups=[{**GROUP, "max_steps": 1, "eval_steps": 1}])
    found = [losses(train(made.plan.jobs[0], made.layout, tmp_path / str(size), micro_batch_size=size)) for size in (4, 1)]
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_last_weights_count_where_nobody_asks_for_the_best(contradicted: Path, tmp_path: Path) -> None:
    """The validation loss is told all the same, with its perplexity, and that of the end in the card."""
    made = planned(contradicted)
    folder = train(made.plan.jobs[0], made.layout, tmp_path)
    last = events(folder, "validation")[-1]
    assert last["perplexity"] == pytest.approx(torch.tensor(last["loss"]).exp().item(), rel=1e-3)
    assert f"\nvalidation loss {last['loss']:.4f};" in (folder.final / "README.md").read_text()
    step = events(folder, "step")[-1]
    assert {"loss", "perplexity", "lr", "grad_norm", "tokens_per_s", "eta_s", "metrics", "system"} <= step.keys()
    assert 0 <= step["metrics"]["mean_token_accuracy"] <= 1
    assert step["system"].keys() >= {"cpu_utilization_percentage", "system_memory_usage_megabytes", "process_memory_usage_megabytes"}
