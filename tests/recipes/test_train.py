"""Training for real, on a tiny base, as the processes that a pod or a laptop runs."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from transformers import AutoTokenizer, GenerationConfig

from dtx_tasks.entrypoints.failures import failure
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
