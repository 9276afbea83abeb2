"""The tokenizer of a template: its end, its padding, its stops, and what it cannot do without."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from dtx_tasks.template import UnsuitableTemplateError, encode, stop_token_ids
from tests.unit.template.tokenizers import make_tokenizer, says


def test_template_and_stops_survive_saving(tmp_path: Path) -> None:
    """Scoring and serving read them from the checkpoint."""
    tokenizer = make_tokenizer("yi")
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.convert_ids_to_tokens(stop_token_ids(loaded)) == ["</s>", "<|im_end|>"]
    assert encode(loaded, says("Hi", "Ho"), cutoff_len=99) == encode(tokenizer, says("Hi", "Ho"), cutoff_len=99)


@pytest.mark.parametrize(("template", "mark"), [("qwen", "<|im_end|>"), ("gemma", "<end_of_turn>"), ("llama3", "<|eot_id|>"), ("phi", "<|end|>")])
def test_mark_that_replaces_eos_ends_and_pads(template: str, mark: str) -> None:
    """The tokenizer has no pad token of its own."""
    tokenizer = make_tokenizer(template)
    assert (tokenizer.eos_token, tokenizer.pad_token) == (mark, mark)


@pytest.mark.parametrize("template", ["chatml", "cpm3", "intern2", "yi", "yuan", "gemma"])
def test_end_mark_that_is_no_token_is_refused(template: str) -> None:
    """LLaMA-Factory adds it to the vocabulary and warns: the base model has no weights for it, and training would not make them."""
    with pytest.raises(
        UnsuitableTemplateError, match=rf"^The template {template} ends answers with <.*>, which is no token of the base model: .* such as default.$"
    ):
        make_tokenizer(template, marks=())


def test_stop_that_is_no_token_is_not_added() -> None:
    """LLaMA-Factory makes `###` a token that the base has no weights for; the answer ends with eos all the same."""
    tokenizer = make_tokenizer("yi_vl")
    assert tokenizer.convert_ids_to_tokens(stop_token_ids(tokenizer)) == ["</s>"]


def test_tokenizer_without_an_end_is_refused() -> None:
    """Nothing would end an answer."""
    with pytest.raises(UnsuitableTemplateError, match=r"^The base model's tokenizer has no eos token: nothing would end an answer. Name one"):
        make_tokenizer("default", eos_token=None)


def test_missing_bos_is_left_out() -> None:
    """Qwen and others have none."""
    tokenizer = make_tokenizer("deepseek", bos_token=None)
    assert tokenizer.decode(encode(tokenizer, says("Hi", "Ho"), cutoff_len=99).input_ids) == "User: Hi\n\nAssistant:Ho</s>"
