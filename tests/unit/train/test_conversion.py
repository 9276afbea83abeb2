"""What PiSSA needs to be turned back: written once, by the rank that reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from dtx_tasks.train.conversion import begin_conversion
from tests.builders import make_job
from tests.unit.models import make_model

if TYPE_CHECKING:
    from pathlib import Path

PISSA = make_job(init_lora_weights="pissa").hyperparameters
IDS = torch.arange(4, 12)[None]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model to adapt."""
    return make_model(tmp_path_factory.mktemp("base"))


def adapted(base: Path) -> Any:
    return get_peft_model(AutoModelForCausalLM.from_pretrained(base), LoraConfig(r=2, init_lora_weights="pissa", target_modules="all-linear")).eval()


def test_other_ranks_leave_the_beginning_alone(base: Path, tmp_path: Path) -> None:
    """They come later or sooner, and would remove what rank 0 has written."""
    begin_conversion(adapted(base), PISSA, tmp_path, is_main=True)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert begin_conversion(adapted(base), PISSA, tmp_path, is_main=False).beginning is None
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@torch.inference_mode()
def test_adapter_is_turned_back_exactly(base: Path, tmp_path: Path) -> None:
    """On the base as it was it computes what was learned on the changed one."""
    model = adapted(base)
    converted = begin_conversion(model, PISSA, tmp_path, is_main=True)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.mul_(1.5)
    learned = model(IDS).logits
    converted.save(tmp_path / "final")
    again = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), tmp_path / "final").eval()
    torch.testing.assert_close(again(IDS).logits, learned, rtol=1e-3, atol=1e-4)
