"""Every architecture of the model table: a tiny model with random weights is trained, saved and loaded again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from dtx_tasks.plan.architectures import PACKED, TARGETS
from dtx_tasks.pretrained import load_writer
from dtx_tasks.score.load import load_checkpoint
from tests.recipes.architectures import CONFIGS, PACKED_ONLY, make_tiny, make_tokenizer
from tests.recipes.test_stages import logits, remembered_logits, rows_of, train
from tests.recipes.world import Trial, make_trial

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ALWAYS = ("gemma2", "mixtral", "qwen2_vl")
"""A cross-section for every run of the tests: tied weights, a mixture of experts, and a model that sees."""

COMMON: dict[str, Any] = {"max_steps": 2, "global_batch_size": 4, "logging_steps": 1, "learning_rate": 1e-2}
GROUPS = [{"name": "lora", **COMMON, "lora_dropout": 0.1}, {"name": "full", **COMMON, "finetuning_type": "full", "gradient_checkpointing": True}]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerBase:
    """One for all."""
    return make_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def prepared(folder: Path) -> Trial:
    """An experiment on the model in `base`, with everything but its training done."""
    (folder / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows_of("conversations")))
    data = {"name": "rows", "train": "rows.jsonl", "validation": "rows.jsonl", "format": "openai"}
    matrix = {"llms": [{"name": "tiny", "source": "base"}], "datasets": [data], "hyperparameters": GROUPS}
    return make_trial(folder, matrix=matrix, allow_leakage="the test scores nothing").ready()


@pytest.mark.parametrize("architecture", [pytest.param(name, marks=[] if name in ALWAYS else [pytest.mark.slow]) for name in CONFIGS])
def test_architecture_is_trained(architecture: str, tokenizer: PreTrainedTokenizerBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By LoRA and in full: the loss falls, the checkpoint computes the same when it is loaded, and `lora_target: all` is what the table says."""
    base = make_tiny(architecture, tokenizer, tmp_path / "base")
    made = prepared(tmp_path)
    for job in made.plan.jobs:
        with monkeypatch.context() as patched:
            saved = remembered_logits(patched)
            folder = train(job, made.layout, tmp_path / job.group_name)
        first, last = (event["loss"] for event in map(json.loads, Path(folder.events_uri).read_text().splitlines()) if event["event"] == "step")
        assert last < first
        is_adapter = job.group_name == "lora"
        loaded = load_checkpoint(folder.llm_path if is_adapter else folder.final, folder.final, folder.final if is_adapter else None)
        assert (logits(loaded.model) - saved[0]).norm() < 1e-4 * saved[0].norm()
        if is_adapter:
            learned = json.loads((folder.final / "adapter_config.json").read_text())["target_modules"]
            assert {name.rsplit(".", 1)[-1] for name in learned} == set(TARGETS[architecture])
        else:
            assert eyes_of(loaded.model) == eyes_of(load_writer(base))


def eyes_of(model: Any) -> dict[str, float]:
    """The sum of each weight that sees; none where a model only reads."""
    seeing = ("vision_tower", "visual", "multi_modal_projector")
    return {name: weight.double().sum().item() for name, weight in model.named_parameters() if any(part in name.split(".") for part in seeing)}


@pytest.mark.parametrize("architecture", {**CONFIGS, **PACKED_ONLY})
def test_packed_rows_do_not_see_each_other(architecture: str, tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    """Where the plan accepts `packing`: two rows behind each other compute what each computes alone; and where it refuses, they do not."""
    model = load_writer(make_tiny(architecture, tokenizer, tmp_path)).eval()
    rows = torch.arange(4, 14), torch.arange(30, 45)
    with torch.inference_mode():
        alone = torch.cat([model(input_ids=row[None]).logits for row in rows], 1)
        places = torch.cat([torch.arange(len(row)) for row in rows])[None]
        together = model(input_ids=torch.cat(rows)[None], position_ids=places, use_cache=False).logits
    assert bool((together - alone).norm() < 1e-4 * alone.norm()) is (architecture in PACKED)


def test_table_names_what_is_tested() -> None:
    """And nothing else."""
    assert set(TARGETS) == set(CONFIGS)
    assert set(CONFIGS) | set(PACKED_ONLY) >= PACKED
