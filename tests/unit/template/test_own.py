"""A base model's own chat template: with marks of what is learned, without, and those that cannot be trained with."""

from __future__ import annotations

from typing import Any

import pytest

from dtx_tasks.template import UnsuitableTemplateError, adapt, encode, stop_token_ids
from tests.unit.template.tokenizers import learned, make_tokenizer, says, text_of

HEADER = "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
PLAIN = "{% for m in messages %}{{ m.role + ':' + m.content + (eos_token if m.role == 'assistant' else '') + '\n' }}{% endfor %}" + HEADER
ENDLESS = "{% for m in messages %}{{ m.role + ':' + m.content + '\n' }}{% endfor %}" + HEADER
MARKED = (
    "{% for m in messages %}{{ m.role + ':' }}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}{{ eos_token }}"
    "{% else %}{{ m.content }}{% endif %}{{ '\n' }}{% endfor %}" + HEADER
)
THINKING = (
    "{% for m in messages %}{{ m.role + ':' }}{% if loop.last and m.role == 'assistant' %}{{ '<think></think>' }}{% endif %}"
    "{{ m.content + (eos_token if m.role == 'assistant' else '') + '\n' }}{% endfor %}" + HEADER
)
COUNTING = "{% for m in messages %}{{ messages | length ~ m.role + ':' + m.content }}{% endfor %}" + HEADER
TALK = says("Hi", "Ho", "Hm", "He")


def owner(chat_template: str) -> Any:
    tokenizer = make_tokenizer(chat_template=chat_template)
    adapt(tokenizer, "tokenizer")
    return tokenizer


@pytest.mark.parametrize("template", [PLAIN, MARKED], ids=["without marks", "with marks"])
def test_answers_and_their_ends_are_learned(template: str) -> None:
    """The end mark too where the template's marks leave it out; what stands behind the last one is no part of the row."""
    tokenizer = owner(template)
    row = encode(tokenizer, TALK, cutoff_len=999)
    assert learned(tokenizer, row) == ["Ho</s>", "He</s>"]
    assert text_of(tokenizer, row) == "user:Hi\nassistant:Ho</s>\nuser:Hm\nassistant:He</s>"


def test_answer_that_holds_the_end_mark_keeps_it() -> None:
    """Only the last one ends it."""
    tokenizer = owner(PLAIN)
    assert learned(tokenizer, encode(tokenizer, says("Hi", "1</s> or 2</s>"), cutoff_len=999)) == ["1</s> or 2</s></s>"]


def test_answer_without_an_end_mark_gets_one() -> None:
    """A model would never learn to stop."""
    tokenizer = owner(ENDLESS)
    assert learned(tokenizer, encode(tokenizer, TALK, cutoff_len=999)) == ["Ho", "He</s>"]


def test_template_that_changes_earlier_answers_learns_the_last_only() -> None:
    """It says so, and does it when asked."""
    tokenizer = owner(THINKING)
    with pytest.raises(UnsuitableTemplateError, match=r"changes earlier answers when more follows, .* or mask_history to learn the last answer only.$"):
        encode(tokenizer, TALK, cutoff_len=999)
    assert learned(tokenizer, encode(tokenizer, TALK, cutoff_len=999, mask_history=True)) == ["<think></think>He</s>"]
    assert learned(tokenizer, encode(tokenizer, TALK[:2], cutoff_len=999)) == ["<think></think>Ho</s>"]


def test_template_that_changes_the_prompt_is_refused() -> None:
    """The label mask would be wrong."""
    with pytest.raises(UnsuitableTemplateError, match=r"^The chat template changes the prompt when an answer follows. Set another `template` of the LLM.$"):
        encode(owner(COUNTING), TALK[:2], cutoff_len=999)


def test_template_whose_marks_hold_nothing_is_refused() -> None:
    """Nothing of any row would be learned."""
    with pytest.raises(UnsuitableTemplateError, match=r"^The chat template has marks for what is learned, and marks nothing of this conversation."):
        encode(owner(PLAIN + "{% if 1 > 2 %}{% generation %}{% endgeneration %}{% endif %}"), TALK, cutoff_len=999)


def test_what_a_template_refuses_is_told() -> None:
    """In its own words."""
    template = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + PLAIN
    with pytest.raises(UnsuitableTemplateError, match=r"^The template tokenizer cannot write this conversation: System role not supported. Correct the row"):
        encode(owner(template), says("Hi", "Ho", system="Be kind."), cutoff_len=999)


def test_tokenizer_without_a_template_is_refused() -> None:
    """With what to write instead."""
    with pytest.raises(
        UnsuitableTemplateError, match=r"^The base model's tokenizer has no chat template. Set `template` of the LLM: docs/templates.md lists them.$"
    ):
        adapt(make_tokenizer(), "tokenizer")


def test_own_template_stops_at_eos() -> None:
    """It has no other stop that would be known."""
    tokenizer = owner(PLAIN)
    assert stop_token_ids(tokenizer) == [tokenizer.eos_token_id]
