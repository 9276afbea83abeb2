"""Training for real, on a tiny base, as the processes that a pod or a laptop runs."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from dtx_tasks.entrypoints.failures import failure
from dtx_tasks.fetch.export import export
from dtx_tasks.launch import Ending, ending_of, is_blocked, is_finished
from tests.recipes.world import QUICK, attempts, finish, forget, last_step, losses, processes_of, trainers, weights
from tests.running import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.recipes.world import Trial

pytestmark = pytest.mark.process

WILD = {"name": "wild", "finetuning_type": "full", "learning_rate": 1.0, "max_steps": 60, "logging_steps": 1, "global_batch_size": 4, "max_grad_norm": 0.0}
LONG = {**QUICK, "name": "long", "max_steps": 40, "save_steps": 5}


def test_one_of_two_jobs_in_a_pack_diverges_and_the_other_is_trained_and_scored(trial: Callable[..., Trial]) -> None:
    """A job that diverges is final by itself; its sibling has its result and its score, and the pack succeeds."""
    made = trial(groups=[WILD, QUICK])
    wild, quick = made.plan.jobs
    pack = made.plan.packs[0].model_copy(update={"jobs": (wild, quick)})
    Path(made.uris.packs[0]).write_text(pack.model_dump_json())

    assert finish(made.process("train", made.uris.packs[0])) == 0
    found = failure("train", wild.job_id, pack, made.layout)
    assert found is not None
    assert (found.error_class, found.is_final) == ("DivergedError", True)
    assert re.match(r"The loss .* at step \d+\. The last good values: loss .*, gradient norm .*, learning rate 1 at step \d+\.$", found.message)
    assert made.result(wild) is None
    assert made.result(quick) is not None
    assert made.here("score", made.uris.packs[0]) == 0
    assert is_finished("score", made.uris.packs[0])


def test_a_killed_training_continues_and_ends_as_if_nothing_had_happened(trial: Callable[..., Trial]) -> None:
    """SIGKILL of the trainer is retryable; the retry begins at the last complete checkpoint and reaches the same weights and losses."""
    whole = trial(groups=[LONG])
    assert finish(whole.process("train", whole.uris.packs[0])) == 0
    expected_weights, expected_losses = weights(whole), losses(whole)
    forget(whole)

    process = whole.process("train", whole.uris.packs[0])
    until(lambda: last_step(whole) >= 12 and trainers(whole), "training is at step 12")
    for trainer in trainers(whole):
        trainer.send_signal(signal.SIGKILL)
    exit_code = finish(process)
    assert (exit_code, ending_of("train", whole.uris.packs[0], exit_code, "round-1")) == (75, Ending.RETRY)
    spoil_a_newer_checkpoint(whole)

    assert finish(whole.process("train", whole.uris.packs[0])) == 0
    begun_at = attempts(whole)[-1]["started_from_step"]
    assert 10 <= begun_at < 40
    assert losses(whole) == pytest.approx(expected_losses, rel=1e-6)
    assert {name: torch.equal(value, expected_weights[name]) for name, value in weights(whole).items()} == dict.fromkeys(expected_weights, True)


def spoil_a_newer_checkpoint(trial: Trial) -> None:
    """Leaves a checkpoint behind that was killed while it was written: its state is there, its weights are cut off."""
    work = Path(f"{trial.job_folder()}/scratch")
    newest = max(work.glob("checkpoint-*"), key=lambda path: int(path.name.removeprefix("checkpoint-")))
    spoiled = work / "checkpoint-39"
    spoiled.mkdir()
    for path in newest.iterdir():
        if path.is_file():
            (spoiled / path.name).write_bytes(path.read_bytes()[: path.stat().st_size // 2] if path.suffix == ".safetensors" else path.read_bytes())


def test_a_shared_job_is_trained_once_and_taken_over_when_its_trainer_dies(trial: Callable[..., Trial]) -> None:
    """While one experiment trains a job another waits; when the first one is killed nothing of it is left, and the second finishes the job."""
    first, second = trial(groups=[{**LONG, "learning_rate": 4e-3}], name="the first"), trial(groups=[{**LONG, "learning_rate": 4e-3}], name="the second")
    assert first.plan.jobs[0].job_id == second.plan.jobs[0].job_id
    training = first.process("train", first.uris.packs[0])
    until(lambda: last_step(first) >= 6, "the first experiment is training")

    assert is_blocked("train", second.uris.packs[0], "another round")
    assert finish(second.process("train", second.uris.packs[0])) == 79
    os.kill(training.pid, signal.SIGKILL)
    until(lambda: not processes_of(first.uris.packs[0]), "no process of the first experiment is left", 60)

    assert finish(second.process("train", second.uris.packs[0])) == 0
    assert attempts(second)[-1]["started_from_step"] >= 5
    assert is_finished("train", first.uris.packs[0])


def test_sigterm_leaves_a_checkpoint_and_no_process(trial: Callable[..., Trial]) -> None:
    """Asked to stop, training writes one more checkpoint and every process ends by itself."""
    made = trial(groups=[{**LONG, "learning_rate": 3e-3, "max_steps": 400, "save_steps": 400}])
    process = made.process("train", made.uris.packs[0])
    until(lambda: last_step(made) >= 3, "training has begun")
    process.stop()
    assert process.wait() == 75
    assert processes_of(made.uris.packs[0]) == []
    assert attempts(made)[-1]["reached_step"] >= 3


@pytest.mark.slow
def test_one_rank_is_told_to_stop_and_both_stop_at_the_same_step(trial: Callable[..., Trial]) -> None:
    """They agree on a step, whose checkpoint holds the random states of both; the exit code is 75, and the next attempt goes on from there."""
    group = {**LONG, "learning_rate": 2.5e-3, "max_steps": 300, "save_steps": 300}
    made = trial(groups=[group], resources={"processes": 2, "cpus": 1})
    process = made.process("train", made.uris.packs[0])
    until(lambda: last_step(made) >= 3, "both ranks are training")
    # The launcher names the module too.
    ranks = [found for found in trainers(made) if "--module" not in found.cmdline()]
    assert len(ranks) == 2
    ranks[1].send_signal(signal.SIGTERM)
    assert finish(process) == 75
    (attempt,) = attempts(made)
    assert (attempt["error_class"], attempt["reached_step"]) == ("PreemptedError", last_step(made))
    checkpoint = Path(f"{made.job_folder()}/scratch/checkpoint-{attempt['reached_step']}")
    assert {"rng_state_0.pth", "rng_state_1.pth", "complete-0.json"} <= {path.name for path in checkpoint.iterdir()}


@pytest.mark.slow
def test_what_does_not_fit_into_memory_is_told_with_what_was_asked_for(trial: Callable[..., Trial], world: Path) -> None:
    """The allocator's own refusal, under a limit of 64 GiB: attention to rows of 300,000 tokens wants more; the exit code is 77."""
    row = json.dumps({"instruction": "tea " * 300_000, "output": "no"})
    (world / "endless.jsonl").write_text(f"{row}\n" * 2)
    data = {"name": "endless", "train": "endless.jsonl", "validation": "words.validation.jsonl", "test": "words.test.jsonl"}
    group = {"name": "endless", "max_steps": 1, "global_batch_size": 2, "cutoff_len": 300_000, "flash_attn": "eager"}
    matrix = {"llms": [{"name": "tiny", "source": "made:tiny-test"}], "datasets": [data], "hyperparameters": [group]}
    made = trial(matrix=matrix).ready()
    process = made.process("train", made.uris.packs[0])
    resource.prlimit(process.pid, resource.RLIMIT_AS, (64 << 30, 64 << 30))
    assert finish(process) == 77
    found = failure("train", made.plan.jobs[0].job_id, made.plan.packs[0], made.layout)
    assert found is not None
    assert re.match(r"Out of memory with 1 rows of at most 300000 tokens in one pass: .*tried to allocate \d+ bytes", found.message)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["zero2", "zero3", None])
def test_two_processes_end_with_the_best_step(trial: Callable[..., Trial], world: Path, needs_compiler: None, strategy: str | None) -> None:
    """Every rank loads it; the weights of the end are those of its checkpoint, which validation rows that say something else leave behind."""
    (world / "contradicted.jsonl").write_text("".join(json.dumps({"instruction": f"{number}?", "output": "苹果"}) + "\n" for number in range(8)))
    (world / "learned.jsonl").write_text("".join(json.dumps({"instruction": f"{number}?", "output": "tea"}) + "\n" for number in range(8)))
    data = {"name": "rows", "train": "learned.jsonl", "validation": "contradicted.jsonl", "test": "words.test.jsonl"}
    group = {
        "name": "best",
        "max_steps": 16,
        "learning_rate": 2e-2,
        "global_batch_size": 4,
        "logging_steps": 4,
        "eval_steps": 2,
        "load_best_model_at_end": True,
    }
    matrix = {"llms": [{"name": "tiny", "source": "made:tiny-test"}], "datasets": [data], "hyperparameters": [{**group, "lora_rank": 4 if strategy else 5}]}
    made = trial(
        matrix=matrix, resources={"processes": 2, "cpus": 1, **({"deepspeed": strategy} if strategy else {})}, allow_leakage="the test scores nothing"
    ).ready()
    shutil.rmtree(made.job_folder(), ignore_errors=True)
    assert finish(made.process("train", made.uris.packs[0])) == 0
    found = {event["step"]: event["loss"] for event in made.events() if event["event"] == "validation"}
    record = made.result()
    assert record is not None
    assert found[record.best_step] == min(found.values()) == pytest.approx(record.validation_loss, rel=1e-6)
    assert record.best_step < 16
    assert loss_of(made, "contradicted.jsonl", world) == pytest.approx(record.validation_loss, rel=0.05)


def loss_of(made: Trial, name: str, world: Path) -> float:
    """The mean loss of what the first job ended with on the answers of a file of equal rows' length."""
    folder = f"{made.job_folder()}/checkpoint"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(f"{made.layout.llm(made.plan.jobs[0].llm.llm_id)}/files"), folder)
    total = []
    for row in map(json.loads, (world / name).read_text().splitlines()):
        turns = [{"role": "user", "content": row["instruction"]}, {"role": "assistant", "content": row["output"]}]
        chat = tokenizer.apply_chat_template(turns, return_dict=True, return_assistant_tokens_mask=True, return_tensors="pt")
        labels = chat["input_ids"].masked_fill(chat["assistant_masks"] == 0, -100)
        total.append(model(input_ids=chat["input_ids"], labels=labels).loss.item())
    return sum(total) / len(total)


def test_a_checkpoint_is_in_hugging_face_layout(trial: Callable[..., Trial]) -> None:
    """Adapter, tokenizer with its chat template and its ends, and a model card: whatever loads from the hub loads it."""
    made = trial(groups=[QUICK], name="alone")
    if not is_finished("train", made.uris.packs[0]):
        assert finish(made.process("train", made.uris.packs[0])) == 0
    folder = Path(f"{made.job_folder()}/checkpoint")
    assert {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "README.md"} <= {path.name for path in folder.iterdir()}
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert "<|im_start|>" in tokenizer.chat_template
    assert GenerationConfig.from_pretrained(folder).eos_token_id == [tokenizer.convert_tokens_to_ids("<|im_end|>")]
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nbase_model: tiny\n")
    assert "library_name: peft" in card


def test_an_exported_adapter_computes_what_it_does_on_its_base(trial: Callable[..., Trial], tmp_path: Path) -> None:
    """Plain transformers loads the merged folder, with no adapter left; logits are equal, and answers end where they were learned to end."""
    made = trial(groups=[QUICK], name="alone")
    if not is_finished("train", made.uris.packs[0]):
        assert finish(made.process("train", made.uris.packs[0])) == 0
    job, folder = made.plan.jobs[0], tmp_path / "merged"
    export(job.job_id, folder, made.layout)
    # safetensors writes weights for their owner alone.
    assert (folder / "model.safetensors").stat().st_mode == (folder / "config.json").stat().st_mode
    assert not (folder / "adapter_config.json").exists()
    assert "library_name: transformers" in (folder / "README.md").read_text()
    merged = AutoModelForCausalLM.from_pretrained(folder)
    base = AutoModelForCausalLM.from_pretrained(f"{made.layout.llm(job.llm.llm_id)}/files")
    rows = AutoTokenizer.from_pretrained(folder).apply_chat_template([{"role": "user", "content": "3: rice?"}], return_tensors="pt", return_dict=True)
    before = base(**rows).logits
    expected = PeftModel.from_pretrained(base, f"{made.job_folder()}/checkpoint")(**rows).logits
    assert torch.allclose(merged(**rows).logits, expected, atol=1e-4)
    assert not torch.allclose(before, expected, atol=1e-3)
    assert merged.generation_config.eos_token_id == GenerationConfig.from_pretrained(f"{made.job_folder()}/checkpoint").eos_token_id
