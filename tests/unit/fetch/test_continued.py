"""An adapter that is trained further, on storage beside its base."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from dtx_tasks.errors import DataError, Mistake
from dtx_tasks.fetch import fetch
from dtx_tasks.records import BaseDocument, Layout
from dtx_tasks.resolve import Allowed, resolve_llm
from dtx_tasks.spec import LLM
from tests.builders import make_experiment, make_matrix, make_plan

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def document(tmp_path: Path) -> BaseDocument:
    """An adapter, and a base below which an earlier one lies."""
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "base", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"]}
    for name, content in {
        "base/config.json": {"model_type": "llama"},
        "base/pytorch_model.bin": {},
        "base/adapter/adapter_config.json": config,
        "base/adapter/earlier.json": {},
        "tuned/adapter_config.json": config,
        "tuned/tokenizer.json": {},
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(json.dumps(content))
    llm = resolve_llm(LLM(name="a", source="tuned", template="default", adapter="continue"), Allowed(tmp_path, None))
    assert not isinstance(llm, Mistake)
    return make_plan(make_experiment(matrix=make_matrix(llms=["a"])), llms={"a": llm}).bases[0]


def test_adapter_lies_below_its_base(document: BaseDocument, tmp_path: Path) -> None:
    """As both were, but for an adapter that was there before."""
    layout = Layout(str(tmp_path / "store"), "default")
    record = fetch(document, layout, "a test")
    files = tmp_path / "store/default/models" / document.llm.llm_id / "files"
    assert [entry.path for entry in record.files] == ["adapter/adapter_config.json", "adapter/tokenizer.json", "config.json", "pytorch_model.bin"]
    assert document.llm.adapter_in(files) == files / "adapter"
    assert (files / "adapter/adapter_config.json").read_bytes() == (tmp_path / "tuned/adapter_config.json").read_bytes()


def test_adapter_that_has_changed_since_is_told(document: BaseDocument, tmp_path: Path) -> None:
    """The plan is of what was there."""
    (tmp_path / "tuned/tokenizer.json").write_text("[]")
    with pytest.raises(DataError, match="or its base has changed since the experiment was planned"):
        fetch(document, Layout(str(tmp_path / "store"), "default"), "a test")
