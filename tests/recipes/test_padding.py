"""Rows of a batch end to end, without padding: the same result for less work."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import AutoConfig, AutoModelForCausalLM

from dtx_tasks.errors import SpecError
from dtx_tasks.records import Attempt
from dtx_tasks.spec import Hyperparameters, Resources
from dtx_tasks.train.job import JobFolder, train_job
from dtx_tasks.train.padding import END_TO_END, check_packing, end_to_end_costs_less, lays_end_to_end
from tests.recipes.world import Trial, make_trial

TINY = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "num_experts": 4,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "initializer_range": 0.3,
    # Shorter than a row, so that it matters where positions begin.
    "sliding_window": 8,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


@pytest.mark.parametrize("model_type", sorted(END_TO_END))
@torch.inference_mode()
def test_rows_end_to_end_see_only_themselves(model_type: str) -> None:
    """In a model of every architecture of the list: each row computes what it computes alone."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **TINY)).eval()
    rows = [torch.randint(3, 64, (1, length)) for length in (20, 13)]
    positions = torch.cat([torch.arange(row.shape[1]) for row in rows])[None]
    together = model(input_ids=torch.cat(rows, dim=1), position_ids=positions, use_cache=False).logits
    alone = torch.cat([model(row).logits for row in rows], dim=1)
    assert torch.allclose(together, alone, rtol=1e-4, atol=1e-4 * float(alone.abs().max()))


def test_batch_without_padding_learns_what_its_rows_alone_do(tmp_path: Path) -> None:
    """Four rows of very different lengths in a batch, or one by one: the losses are the same."""
    lengths = (1, 30, 2, 3) * 4
    rows = [{"instruction": f"What is {number}?", "output": "It is tea. " * length} for number, length in enumerate(lengths)]
    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    matrix = {
        "llms": [{"name": "tiny", "source": "made:tiny-test"}],
        "datasets": [{"name": "rows", "train": "rows.jsonl", "test": "rows.jsonl"}],
        "hyperparameters": [{"name": "quick", "max_steps": 4, "global_batch_size": 4, "learning_rate": 1e-3, "logging_steps": 1}],
    }
    made = make_trial(tmp_path, matrix=matrix, allow_leakage="the test scores nothing").ready()
    (together, num_tokens_together), (alone, num_tokens_alone) = (trained_by(made, tmp_path / f"by-{size}", size) for size in (4, 1))
    assert together == pytest.approx(alone, rel=1e-5)
    assert num_tokens_together == num_tokens_alone


def trained_by(made: Trial, work: Path, micro_batch_size: int) -> tuple[list[float], int]:
    """The losses of a job that takes so many rows at a time, and how many tokens it saw."""
    job = made.plan.jobs[0]
    folder = replace(JobFolder.of(made.layout, job, True, 0), uri=str(work))
    folder.work.mkdir(parents=True, exist_ok=True)
    attempt = Attempt(number=1, run_key="r", micro_batch_size=micro_batch_size, started_from_step=0, reached_step=0, error_class="")
    outcome = train_job(job, Resources(), folder, attempt)
    events = map(json.loads, Path(folder.events_uri).read_text().splitlines())
    return [event["loss"] for event in events if event["event"] == "step"], outcome.num_trained_tokens


@pytest.mark.parametrize(
    ("lengths", "width", "is_less"),
    [
        ([10, 100, 10, 10], 256, True),
        ([100, 100, 100, 100], 256, False),
        ([2000, 4000, 1500, 1500], 256, False),
        ([2000, 4000, 1500, 1500], 4096, True),
    ],
)
def test_rows_lie_end_to_end_where_that_is_less_work(lengths: list[int], width: int, is_less: bool) -> None:
    """Rows of one length have no padding to save; and attention over a whole batch of long rows costs a narrow model more than padding."""
    assert end_to_end_costs_less(lengths, 4, width) == is_less


@pytest.mark.parametrize(
    ("changes", "micro_batch_size", "model_type", "is_so"),
    [
        ({}, 4, "llama", True),
        ({}, 1, "llama", False),
        ({}, 4, "bloom", False),
        ({"finetuning_type": "prefix_tuning"}, 4, "llama", False),
        ({"flash_attn": "fa2"}, 4, "llama", True),
    ],
)
def test_rows_are_padded_where_it_must_be(changes: dict[str, Any], micro_batch_size: int, model_type: str, is_so: bool) -> None:
    """Learned tokens stand in front of a batch, not of each row in it; and some architectures do not know where a row begins."""
    rows = Dataset.from_dict({"input_ids": [[1] * 5, [1] * 50] * 4})
    config = AutoConfig.for_model(model_type, hidden_size=512)
    assert lays_end_to_end(config, Hyperparameters(**changes), rows, micro_batch_size) == is_so


def test_packing_is_refused_where_rows_would_see_each_other() -> None:
    """With what to change."""
    with pytest.raises(SpecError, match="architecture bloom"):
        check_packing(AutoConfig.for_model("bloom"), Hyperparameters(packing=True))
    check_packing(AutoConfig.for_model("qwen2"), Hyperparameters(packing=True))
