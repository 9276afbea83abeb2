"""What the trainers of each kind of rows read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dtx_tasks.dataset import Row
from dtx_tasks.errors import DataError
from dtx_tasks.prepare.layouts import LAYOUTS, PreparedRow
from dtx_tasks.records import EncodeOptions
from tests.unit.template.tokenizers import make_tokenizer, says

ANSWER = {"role": "assistant", "content": "Yes."}
WORSE = {"role": "assistant", "content": "No, never."}


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """Of chatml; a token is a byte."""
    return make_tokenizer("chatml")


def laid_out(tokenizer: Any, kind: Any, *rows: Row, cutoff_len: int = 200) -> list[PreparedRow]:
    """The rows as a trainer reads them; each fits the schema of its kind."""
    layout = LAYOUTS[kind]
    found = list(layout.encode(tokenizer, rows, EncodeOptions(cutoff_len=cutoff_len, mask_history=False, train_on_prompt=False)))
    assert all(len(row.columns) == len(layout.schema) for row in found)
    return found


def test_both_answers_of_a_preference_follow_one_question(tokenizer: Any) -> None:
    """The prompt stands there once, and each answer ends as the template ends it."""
    (row,) = laid_out(tokenizer, "preferences", Row(1, says("Tea?"), chosen=ANSWER, rejected=WORSE))
    prompt, chosen, rejected = map(tokenizer.decode, row.columns)
    assert prompt == "<|im_start|>user\nTea?<|im_end|>\n<|im_start|>assistant\n"
    assert (chosen, rejected) == ("Yes.<|im_end|>\n", "No, never.<|im_end|>\n")
    assert row.num_trained_tokens == len(row.columns[1]) + len(row.columns[2])
    assert row.num_tokens == row.num_trained_tokens + len(row.columns[0])


def test_label_stands_beside_its_answer(tokenizer: Any) -> None:
    """A bad answer is learned from too."""
    good, bad = laid_out(tokenizer, "labels", Row(1, [*says("Tea?"), ANSWER], label=True), Row(2, [*says("Tea?"), WORSE], label=False))
    assert tokenizer.decode(good.columns[1]).startswith("Yes.")
    assert (good.columns[2], bad.columns[2]) == (True, False)
    assert good.columns[0] == bad.columns[0]


def test_long_question_is_cut_so_that_both_answers_follow_the_same(tokenizer: Any) -> None:
    """The longest answer says how much is left for the question."""
    (row,) = laid_out(tokenizer, "preferences", Row(1, says("Tea? " * 100), chosen=ANSWER, rejected=WORSE), cutoff_len=60)
    assert row.is_truncated
    assert len(row.columns[0]) + max(len(row.columns[1]), len(row.columns[2])) <= 60
    assert all(row.columns[1:])


def test_text_longer_than_the_limit_goes_on_in_the_next_piece(tokenizer: Any) -> None:
    """Nothing of plain text is lost, and all of it is learned."""
    pieces = laid_out(tokenizer, "text", Row(1, text="abc" * 50), cutoff_len=64)
    assert [piece.num_tokens for piece in pieces] == [64, 64, 23]
    assert all(piece.columns[0] == piece.columns[1] for piece in pieces)
    assert "".join(tokenizer.decode(piece.columns[0]) for piece in pieces) == "abc" * 50 + tokenizer.eos_token


def test_prompt_is_kept_as_turns(tokenizer: Any) -> None:
    """Whoever answers it renders it."""
    messages = says("Tea?", system="Be short.")
    (row,) = laid_out(tokenizer, "prompts", Row(1, messages))
    assert json.loads(row.columns[0]) == messages
    assert row.num_trained_tokens == 0


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (Row(1, says("Tea? " * 100)), "cutoff_len is 60"),
        (Row(1, says("Tea?"), tools=[{"type": "function", "function": {"name": "brew", "parameters": {}}}]), "offers tools"),
    ],
)
def test_prompt_that_cannot_be_asked_is_told(tokenizer: Any, row: Row, said: str) -> None:
    """A prompt is never cut: its answer would be to another question."""
    with pytest.raises(DataError, match=said):
        laid_out(tokenizer, "prompts", row, cutoff_len=60)
