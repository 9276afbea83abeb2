"""The example: its base model and its data."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from dtx_tasks.catalog.recipes import MADE_MODELS
from dtx_tasks.fetch.made import RECIPES, make

SHOP = Path(__file__).resolve().parents[3] / "config" / "datasets" / "shop"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base that was made by the recipe for tests."""
    made = tmp_path_factory.mktemp("made")
    make("tiny-test", made, on_progress=lambda _step, _total, _loss: None)
    return made


def rows(name: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (SHOP / name).read_text(encoding="utf-8").splitlines()]


def test_made_base_loads_like_any_other(folder: Path) -> None:
    """Transformers finds the model, and a tokenizer that ends and pads."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert model.config.vocab_size >= len(tokenizer)
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.pad_token is not None


def test_made_twice_is_the_same(folder: Path, tmp_path: Path) -> None:
    """The weights follow from the recipe."""
    make("tiny-test", tmp_path, on_progress=lambda _step, _total, _loss: None)
    assert (tmp_path / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()


def test_generation_marks_hold_the_answer_and_its_end(folder: Path) -> None:
    """Nothing of the question is marked."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    turns = [{"role": "user", "content": "你好"}, {"role": "assistant", "content": "hello 世界"}]
    chat = tokenizer.apply_chat_template(turns, return_dict=True, return_assistant_tokens_mask=True)
    marked = [token for token, is_marked in zip(chat["input_ids"], chat["assistant_masks"], strict=True) if is_marked]
    assert tokenizer.decode(marked) == "hello 世界<|im_end|>"


def test_unknown_recipe_is_told_the_known_ones(tmp_path: Path) -> None:
    """A mistake names what would be right."""
    with pytest.raises(ValueError, match="tiny-bilingual"):
        make("tiny", tmp_path, on_progress=lambda _step, _total, _loss: None)


def test_catalog_knows_the_version_of_every_recipe() -> None:
    """Whatever plans with a recipe's version need not import torch for it."""
    assert {name: recipe.version for name, recipe in RECIPES.items()} == MADE_MODELS


def test_data_is_what_its_script_makes() -> None:
    """Byte for byte."""
    made = runpy.run_path(str(SHOP / "make.py"))["files"]()
    assert {path.name: path.read_text(encoding="utf-8") for path in SHOP.glob("*.jsonl")} == made


@pytest.mark.parametrize("split", ["validation", "test"])
def test_no_scored_row_is_trained_on(split: str) -> None:
    """Of neither Dataset, by either."""
    trained = {row["input"] for name in ("bilingual", "zh") for row in rows(f"shop-{name}.train.jsonl")}
    scored = {row["input"] for name in ("bilingual", "zh") for row in rows(f"shop-{name}.{split}.jsonl")}
    assert scored
    assert trained & scored == set()


def test_both_languages_are_learned_in_equal_number() -> None:
    """Half of the rows are Chinese, in every split."""
    for split in ("train", "validation", "test"):
        found = rows(f"shop-bilingual.{split}.jsonl")
        assert sum(row["instruction"][0] > "\x7f" for row in found) == len(found) / 2
