"""The loss of supervised fine-tuning on a CPU: that of TRL, for less work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from dtx_tasks.train.supervised import LabelledSFT
from tests.unit.models import load, make_model
from tests.unit.template.tokenizers import make_tokenizer

if TYPE_CHECKING:
    from pathlib import Path

ROWS = [{"input_ids": list(range(40, 40 + length)), "labels": [-100] * 3 + list(range(43, 40 + length))} for length in (5, 12, 30, 8)]


def trainer(folder: Path, **changes: Any) -> Any:
    """On four rows of different lengths."""
    tokenizer = make_tokenizer("chatml", pad_token="</s>")
    arguments = {
        "output_dir": str(folder),
        "use_cpu": True,
        "bf16": False,
        "dataset_kwargs": {"skip_prepare_dataset": True},
        "max_length": None,
        "report_to": "none",
    }
    args = SFTConfig(**{**arguments, "per_device_train_batch_size": 4, **changes})
    return LabelledSFT(model=load(make_model(folder / "base")).train(), args=args, train_dataset=Dataset.from_list(ROWS), processing_class=tokenizer)


@pytest.mark.parametrize("changes", [{}, {"padding_free": True}])
@pytest.mark.parametrize("num_items", [None, 100])
def test_loss_and_gradients_are_those_of_trl(tmp_path: Path, changes: dict[str, Any], num_items: int | None) -> None:
    """With padding and without, for a batch by itself and for a part of one."""
    made = trainer(tmp_path, **changes)
    batch = next(iter(made.get_train_dataloader()))
    found = [graded(made, batch, compute, num_items) for compute in (LabelledSFT.compute_loss, SFTTrainer.compute_loss)]
    assert torch.allclose(found[0], found[1], rtol=1e-4, atol=1e-6)
    told = made._metrics["train"]["mean_token_accuracy"]
    assert told[0] == pytest.approx(told[1])


def graded(made: Any, batch: dict[str, torch.Tensor], compute: Any, num_items: int | None) -> torch.Tensor:
    """The loss, and every gradient."""
    made.model.zero_grad()
    loss = compute(made, made.model, dict(batch), num_items_in_batch=num_items)
    loss.backward()
    return torch.cat([loss.detach()[None], *(parameter.grad.flatten() for parameter in made.model.parameters())])


def test_batch_without_a_label_costs_nothing(tmp_path: Path) -> None:
    """And its gradients are zero, not undefined."""
    made = trainer(tmp_path)
    batch = {name: value.clone() for name, value in next(iter(made.get_train_dataloader())).items()}
    batch["labels"][:] = -100
    assert not graded(made, batch, LabelledSFT.compute_loss, 100).any()


def test_more_logits_than_fit_are_left_to_trl(tmp_path: Path) -> None:
    """Which says so by the entropy that it computes."""
    made = trainer(tmp_path)
    batch = next(iter(made.get_train_dataloader()))
    made.compute_loss(made.model, dict(batch))
    assert "entropy" not in made._metrics["train"]
    made.most_logits = 10
    made.compute_loss(made.model, dict(batch))
    assert "entropy" in made._metrics["train"]
