"""Rows of a batch end to end, without padding: the same result for less work."""

from __future__ import annotations

import json
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from transformers import AutoConfig
from trl import pack_dataset

from dtx_tasks.records import TRAIN_FILE, Attempt
from dtx_tasks.spec import Hyperparameters, Resources
from dtx_tasks.train.folder import JobFolder
from dtx_tasks.train.job import train_job
from dtx_tasks.train.padding import end_to_end_costs_less, lays_end_to_end
from tests.recipes.world import Trial, make_trial


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
        ({"neftune_noise_alpha": 5.0}, 4, "llama", False),
    ],
)
def test_rows_are_padded_where_it_must_be(changes: dict[str, Any], micro_batch_size: int, model_type: str, is_so: bool) -> None:
    """Learned tokens stand in front of a batch, not of each row in it, noise is of a row's length, and some architectures do not know where a row begins."""
    rows = Dataset.from_dict({"input_ids": [[1] * 5, [1] * 50] * 4})
    config = AutoConfig.for_model(model_type, hidden_size=512)
    assert lays_end_to_end(config, Hyperparameters(**changes), rows, micro_batch_size) == is_so


def test_an_epoch_of_packed_rows_is_one_step_for_each_batch_of_blocks(tmp_path: Path) -> None:
    """As many as there are blocks, which only packing knows: every token is learned once, and progress counts to that step."""
    rows = [{"instruction": f"What is {number}?", "output": "It is tea. " * (1 + number % 5)} for number in range(40)]
    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    matrix = {
        "llms": [{"name": "tiny", "source": "made:tiny-test"}],
        "datasets": [{"name": "rows", "train": "rows.jsonl", "test": "rows.jsonl"}],
        "hyperparameters": [{"name": "packed", "packing": True, "cutoff_len": 128, "num_train_epochs": 1, "global_batch_size": 4, "logging_steps": 1}],
    }
    made = make_trial(tmp_path, matrix=matrix, allow_leakage="the test scores nothing").ready()
    prepared = Dataset.from_file(str(Path(made.layout.prepared(made.plan.jobs[0].prepared_id)) / "files" / TRAIN_FILE))
    num_blocks = len(pack_dataset(prepared, 128))
    assert num_blocks < len(prepared) / 2
    found, num_tokens = trained_by(made, tmp_path / "work", 2)
    assert len(found) == ceil(num_blocks / 4)
    assert num_tokens == sum(map(len, prepared["input_ids"]))
