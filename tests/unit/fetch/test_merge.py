"""An adapter and its base as one model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from peft import PeftModel

from dtx_tasks.errors import DataError
from dtx_tasks.fetch.merge import merge
from dtx_tasks.pretrained import load_tokenizer
from tests.unit.models import load, logits_of, make_adapter, make_model

if TYPE_CHECKING:
    from pathlib import Path


def test_merged_model_computes_what_the_adapter_on_its_base_does(tmp_path: Path) -> None:
    """It is loaded by transformers alone, and brings the tokenizer with its template."""
    base = make_model(tmp_path / "base")
    adapter = make_adapter(base, tmp_path / "adapter")
    merge(adapter, base, tmp_path / "merged")
    expected = logits_of(PeftModel.from_pretrained(load(base), adapter))
    assert torch.allclose(logits_of(load(tmp_path / "merged")), expected, atol=1e-4)
    assert not torch.allclose(logits_of(load(base)), expected, atol=1e-1)
    assert not (tmp_path / "merged" / "adapter_config.json").exists()
    assert (tmp_path / "merged" / "chat_template.jinja").is_file()


def test_adapter_without_a_tokenizer_has_that_of_its_base(tmp_path: Path) -> None:
    """PEFT by itself saves none."""
    base = make_model(tmp_path / "base")
    adapter = make_adapter(base, tmp_path / "adapter")
    for path in adapter.iterdir():
        if not path.name.startswith("adapter"):
            path.unlink()
    merge(adapter, base, tmp_path / "merged")
    assert (tmp_path / "merged" / "tokenizer.json").read_bytes() == (base / "tokenizer.json").read_bytes()


def test_model_without_a_tokenizer_is_told(tmp_path: Path) -> None:
    """In words, and not by where it failed."""
    base = make_model(tmp_path / "base")
    for path in base.glob("*token*"):
        path.unlink()
    with pytest.raises(DataError, match=r"^The model has no tokenizer that can be loaded: "):
        load_tokenizer(base)
