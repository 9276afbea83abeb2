"""Metrics of one answer, in Chinese and in English."""

from __future__ import annotations

import pytest

from dtx_tasks.score.metrics import measure

ALL = ("exact_match", "bleu", "rouge1", "rouge2", "rougeL")


@pytest.mark.parametrize("text", ["红色手机到哪里了", "where is my red phone", '{"intent": "track", "item": "红色 phone"}'])
def test_the_reference_itself_has_every_score(text: str) -> None:
    """Whatever its script."""
    assert measure(ALL, text, text) == pytest.approx(dict.fromkeys(ALL, 1.0))


def test_chinese_is_compared_character_by_character() -> None:
    """One of five characters differs: by words the two would have nothing in common."""
    found = measure(ALL, "我要买红茶", "我要买绿茶")
    assert found["exact_match"] == 0
    assert found["rouge1"] == pytest.approx(0.8)
    assert found["rouge2"] == pytest.approx(0.5)
    assert found["rougeL"] == pytest.approx(0.8)
    assert 0.3 < found["bleu"] < 0.9


def test_words_beside_characters_stay_words() -> None:
    """Text of both scripts is cut at the border between them."""
    assert measure(["rouge1"], "买phone", "买 phone")["rouge1"] == 1


def test_space_around_an_answer_does_not_matter() -> None:
    """Models end lines as they like."""
    assert measure(["exact_match"], " yes\n", "yes")["exact_match"] == 1


@pytest.mark.parametrize("answer", ["", "\n\n", "完全无关"])
def test_nothing_in_common_is_zero(answer: str) -> None:
    """Also where there is no answer at all."""
    assert measure(ALL, answer, "hello world") == dict.fromkeys(ALL, 0.0)
