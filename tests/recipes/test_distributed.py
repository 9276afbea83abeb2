"""Several processes: whatever they share out, they learn what one process learns, and what they write is an ordinary checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file

from dtx_tasks.entrypoints.failures import failure
from tests.recipes.world import QUICK, Trial, attempts, finish, forget, last_step, losses, make_trial, train, write_data
from tests.running import until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.process

TWENTY = {**QUICK, "name": "twenty", "finetuning_type": "full", "learning_rate": 1e-3, "max_steps": 20, "save_steps": 8}
del TWENTY["lora_rank"]

STRATEGIES: dict[str, dict[str, Any]] = {
    "ddp": {},
    "zero1": {"deepspeed": "zero1"},
    "zero2": {"deepspeed": "zero2"},
    "zero3": {"deepspeed": "zero3"},
    "zero1-offload": {"deepspeed": "zero1", "offload": True},
    "zero2-offload": {"deepspeed": "zero2", "offload": True},
    "zero3-offload": {"deepspeed": "zero3", "offload": True},
    "fsdp": {"fsdp": True},
}
ALWAYS = ("ddp", "zero2")
EACH = [pytest.param(name, marks=() if name in ALWAYS else pytest.mark.slow) for name in STRATEGIES]


def weights(trial: Trial) -> dict[str, torch.Tensor]:
    """The weights that the first job of a trial ended with."""
    return load_file(f"{trial.job_folder()}/checkpoint/model.safetensors")


def together(world: Path, strategy: str, **changes: Any) -> Trial:
    """The job that `alone` trained, over two processes; nothing of it is left."""
    made = make_trial(world, strategy, [TWENTY], resources={"processes": 2, "cpus": 1, **STRATEGIES[strategy], **changes})
    assert made.plan.packs[0].resources.strategy == strategy
    if Path(made.job_folder()).exists():
        forget(made)
    return made


@pytest.fixture(scope="module")
def alone(world: Path) -> Iterator[tuple[dict[int, float], dict[str, torch.Tensor]]]:
    """Losses by step, and weights, of one process."""
    made = make_trial(world, "alone", [TWENTY])
    assert finish(made.process("train", made.uris.packs[0])) == 0
    yield losses(made), weights(made)
    forget(made)


def assert_learned_the_same(trial: Trial, alone: tuple[dict[int, float], dict[str, torch.Tensor]]) -> None:
    """The same losses, and the same weights in one whole file."""
    expected_losses, expected_weights = alone
    assert losses(trial) == pytest.approx(expected_losses, rel=1e-5)
    torch.testing.assert_close(weights(trial), expected_weights, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("strategy", EACH)
def test_two_processes_learn_what_one_learns(world: Path, alone: Any, needs_compiler: None, strategy: str) -> None:
    """Same rows in every step, same losses: the number of processes, and what they share out, change nothing about the result."""
    made = together(world, strategy)
    assert finish(made.process("train", made.uris.packs[0])) == 0
    assert_learned_the_same(made, alone)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "zero1", "zero3-offload", "fsdp"])
def test_processes_that_are_stopped_together_go_on_together(world: Path, alone: Any, needs_compiler: None, strategy: str) -> None:
    """SIGTERM reaches every rank: they save the same step, and the next attempt ends as if nothing had happened."""
    made = together(world, strategy)
    process = made.process("train", made.uris.packs[0])
    until(lambda: last_step(made) >= 3, "training has begun")
    process.stop()
    assert process.wait() == 75
    reached = attempts(made)[-1]["reached_step"]
    assert 3 <= reached < 20

    assert finish(made.process("train", made.uris.packs[0])) == 0
    assert attempts(made)[-1]["started_from_step"] == reached
    assert_learned_the_same(made, alone)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "zero2", "fsdp"])
def test_two_machines_learn_what_one_does(world: Path, alone: Any, needs_compiler: None, strategy: str) -> None:
    """Two launchers that meet on this machine, told by their environment as pods are."""
    made = together(world, strategy, nodes=2, processes=1)
    told = {"DTX_COORDINATOR": "127.0.0.1", "DTX_LAUNCH_ID": strategy}
    second, first = (made.process("train", made.uris.packs[0], JOB_COMPLETION_INDEX=rank, **told) for rank in "10")
    assert (finish(first), finish(second)) == (0, 0)
    assert_learned_the_same(made, alone)


@pytest.fixture(scope="module")
def given(world: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An LLM whose adapter is trained further."""
    made = make_trial(world, "given")
    return {"name": "given", "source": str(train(made.plan.jobs[0], made.layout, tmp_path_factory.mktemp("given")).final), "adapter": "continue"}


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "zero2", "zero3", "fsdp"])
def test_two_processes_train_a_given_adapter_further_as_one_does(world: Path, given: dict[str, str], needs_compiler: None, strategy: str) -> None:
    """From the same weights, in the same steps."""
    found = []
    for name, resources in {"one": {}, strategy: {"processes": 2, "cpus": 1, **STRATEGIES[strategy]}}.items():
        matrix = {"llms": [given], "datasets": [write_data(world)], "hyperparameters": [QUICK]}
        made = make_trial(world, f"further by {name}", matrix=matrix, resources=resources).ready()
        assert finish(made.process("train", made.uris.packs[0])) == 0
        found.append((losses(made), load_file(f"{made.job_folder()}/checkpoint/adapter_model.safetensors")))
        forget(made)
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-5)
    torch.testing.assert_close(found[1][1], found[0][1], rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_fsdp_keeps_the_digits_of_a_loss(world: Path) -> None:
    """bf16 has three: what is summed over processes is fp32, as it is in one."""
    short = {**TWENTY, "name": "short", "compute_type": "bf16", "max_steps": 2}
    found = []
    for name, resources in {"bf16 alone": {}, "bf16 fsdp": {"processes": 2, "cpus": 1, "fsdp": True}}.items():
        made = make_trial(world, name, [short], resources=resources)
        assert finish(made.process("train", made.uris.packs[0])) == 0
        found.append(losses(made))
        forget(made)
    assert found[1] == pytest.approx(found[0], rel=1e-3)


@pytest.mark.slow
def test_missing_compiler_is_told(world: Path, tmp_path: Path) -> None:
    """Also where a compilation was killed and has left its lock, for which torch alone would wait for ever."""
    made = together(world, "zero1")
    (tmp_path / "deepspeed_shm_comm").mkdir()
    (tmp_path / "deepspeed_shm_comm/lock").touch()
    assert finish(made.process("train", made.uris.packs[0], CXX="no-such-compiler", TORCH_EXTENSIONS_DIR=str(tmp_path))) == 78
    found = failure("train", made.plan.jobs[0].job_id, made.plan.packs[0], made.layout)
    assert found is not None
    assert "Install a C++ compiler" in found.hint


@pytest.mark.slow
def test_divergence_of_two_processes_is_told_as_that_of_one(world: Path) -> None:
    """The launcher ends with 1 whatever happened; what the ranks wrote says more."""
    wild = {**TWENTY, "name": "wild", "learning_rate": 1.0, "max_steps": 60, "max_grad_norm": 0.0}
    made = make_trial(world, "wild", [wild], resources={"processes": 2, "cpus": 1})
    assert finish(made.process("train", made.uris.packs[0])) == 76
