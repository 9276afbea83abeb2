"""Models that are judged without writing a word: by perplexity, and by which answer they rate higher."""

from __future__ import annotations

import math
from copy import deepcopy
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

import pytest
import torch

from dtx_tasks.score.likelihood import perplexities
from dtx_tasks.score.load import Loaded, load_checkpoint
from dtx_tasks.score.reward import margins
from dtx_tasks.score.rows import ScoredRow
from dtx_tasks.spec import Scoring
from dtx_tasks.template import encode
from tests.unit.models import make_model
from tests.unit.template.tokenizers import says

if TYPE_CHECKING:
    pass

REFERENCES = ("Yes.", "No, never again.", "Tea is a drink, and so is water.")


def row(answer: str, *, asked: str = "Tea?", rejected: str | None = None) -> ScoredRow:
    worse = None if rejected is None else {"role": "assistant", "content": rejected}
    return ScoredRow("id", "validation", says(asked) if asked else [], answer, rejected=worse)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """A model that writes."""
    folder = make_model(tmp_path_factory.mktemp("base"))
    return load_checkpoint(folder, folder)


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """A model that rates."""
    folder = make_model(tmp_path_factory.mktemp("judge"), is_reward=True)
    return load_checkpoint(folder, folder, as_reward=True)


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_perplexity_is_that_of_the_reference_alone(base: Loaded, batch_size: int) -> None:
    """By the loss that transformers computes of each row by itself, whatever stands beside it in a batch."""
    found = perplexities(base, [row(reference) for reference in REFERENCES], Scoring(batch_size=batch_size))
    assert found == pytest.approx([alone(base, [*says("Tea?"), {"role": "assistant", "content": text}]) for text in REFERENCES], rel=1e-4)


def alone(loaded: Loaded, messages: list[dict[str, Any]]) -> float:
    encoded = encode(loaded.tokenizer, messages, None, cutoff_len=1000, mask_history=True)
    with torch.inference_mode():
        return float(loaded.model(torch.tensor([encoded.input_ids]), labels=torch.tensor([encoded.labels])).loss.exp())


def test_perplexity_of_an_exploded_model_stays_a_number(base: Loaded) -> None:
    """Its rows can be averaged and compared, though a float32 holds no exponential above 88 nats."""
    exploded = base._replace(model=deepcopy(base.model))
    exploded.model.lm_head.weight.data *= 1e6
    found = perplexities(exploded, [row(reference) for reference in REFERENCES], Scoring())
    assert max(found) > 1e100
    assert math.isfinite(stdev(found) / fmean(found))


def test_perplexity_of_plain_text_is_that_of_all_of_it(base: Loaded) -> None:
    """Where nothing is asked."""
    ids = [*base.tokenizer("Tea.")["input_ids"], base.tokenizer.eos_token_id]
    with torch.inference_mode():
        loss = base.model(torch.tensor([ids]), labels=torch.tensor([ids])).loss
    assert perplexities(base, [row("Tea.", asked="")], Scoring()) == pytest.approx([float(loss.exp())], rel=1e-4)


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_margin_is_the_difference_of_two_ratings(judge: Loaded, batch_size: int) -> None:
    """Each text rated by itself, whatever stands beside it."""
    found = margins(judge, [row(better, rejected="Perhaps.") for better in REFERENCES], Scoring(batch_size=batch_size))
    assert found == pytest.approx([rating(judge, better) - rating(judge, "Perhaps.") for better in REFERENCES], rel=1e-3, abs=1e-4)


def rating(loaded: Loaded, answer: str) -> float:
    text = loaded.tokenizer.apply_chat_template([*says("Tea?"), {"role": "assistant", "content": answer}], tokenize=False)
    with torch.inference_mode():
        return float(loaded.model(**loaded.tokenizer(text, add_special_tokens=False, return_tensors="pt")).logits[0, 0])


def test_margin_turns_round_with_its_answers(judge: Loaded) -> None:
    """So a model that rates by chance is right half of the time."""
    (forth,) = margins(judge, [row("Yes.", rejected="No.")], Scoring())
    (back,) = margins(judge, [row("No.", rejected="Yes.")], Scoring())
    assert forth == pytest.approx(-back)
    assert forth != 0
