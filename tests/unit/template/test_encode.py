"""Which tokens of a conversation are learned, what is left out when it is too long, and where tokens may not be joined."""

from __future__ import annotations

from typing import Any

import pytest

from dtx_tasks.template import TEMPLATES, Encoded, UnsuitableTemplateError, encode, prompt_ids
from tests.unit.template.tokenizers import learned, make_tokenizer, says, text_of

ENDS_ONCE = [name for name, template in TEMPLATES.items() if template.ends_once]
TALK = says("12345", "abcde", "67890", "fghij")


def encoded(template: str, talk: list[dict[str, Any]], cutoff_len: int = 9999, **options: bool) -> tuple[Any, Encoded]:
    tokenizer = make_tokenizer(template)
    return tokenizer, encode(tokenizer, talk, cutoff_len=cutoff_len, **options)


def test_newline_behind_an_answer_is_learned() -> None:
    """As LLaMA-Factory has it since 0.9.2; it stands in front of every next turn."""
    assert learned(*encoded("qwen", TALK)) == ["abcde<|im_end|>\n", "fghij<|im_end|>\n"]


@pytest.mark.parametrize("template", ENDS_ONCE)
def test_end_that_stands_once_is_learned_once(template: str) -> None:
    """LLaMA-Factory labels the first token of the next question with eos: a label of another token, which no mark in a template can express."""
    tokenizer, row = encoded(template, TALK)
    assert text_of(tokenizer, row).count("</s>") == 1
    assert [part.strip() for part in learned(tokenizer, row)] == ["abcde", "fghij</s>" if template in {"baichuan2", "chatglm3", "glm4"} else "fghij\n</s>"]


@pytest.mark.parametrize("template", TEMPLATES)
def test_masked_history_leaves_the_last_answer(template: str) -> None:
    """The text stays the same."""
    tokenizer, row = encoded(template, TALK, mask_history=True)
    whole = encode(tokenizer, TALK, cutoff_len=9999)
    assert row.input_ids == whole.input_ids
    assert learned(tokenizer, row) == learned(tokenizer, whole)[-1:]


@pytest.mark.parametrize("template", sorted(set(TEMPLATES) - set(ENDS_ONCE)))
def test_training_on_the_prompt_learns_everything(template: str) -> None:
    """Marks and system message included."""
    tokenizer, row = encoded(template, TALK, train_on_prompt=True)
    assert row.labels == row.input_ids == encode(tokenizer, TALK, cutoff_len=9999).input_ids


@pytest.mark.parametrize("template", ENDS_ONCE)
def test_training_on_the_prompt_is_refused_where_answers_have_no_end(template: str) -> None:
    """The model would learn to go on with the next question."""
    with pytest.raises(
        UnsuitableTemplateError, match=rf"^train_on_prompt is set, and the template {template} has no mark .* Remove train_on_prompt, or choose"
    ):
        encoded(template, TALK, train_on_prompt=True)


def test_training_on_the_prompt_and_masking_the_history_is_refused() -> None:
    """One learns what the other leaves out."""
    with pytest.raises(UnsuitableTemplateError, match=r"^train_on_prompt and mask_history are set: .* Remove one of them.$"):
        encoded("qwen", TALK, train_on_prompt=True, mask_history=True)


# "12345" and "67890" with `<reserved_106>` and `<reserved_107>` in front and behind, of 14 bytes each, are questions of 33 tokens.
# The expected cuts follow from the rule in docs/templates.md by hand.
@pytest.mark.parametrize(
    ("cutoff_len", "text"),
    [
        (77, "<reserved_106>12345<reserved_107>abcde<reserved_106>67890<reserved_107>fghij</s>"),
        (76, "<reserved_106>12345<reserved_107>abcde<reserved_106>67890<reserved_107fghij</s>"),
        (39, "<reserved_106>12345<reserved_107>abcde</s>"),
        (37, "<reserved_106>12345<reserved_10abcde</s>"),
        (12, "<reserabcde</s>"),
        (9, "<reserva</s>"),
        (2, "<</s>"),
        (1, "</s>"),
    ],
)
def test_question_and_answer_share_the_room_and_keep_their_beginning(cutoff_len: int, text: str) -> None:
    """As LLaMA-Factory cuts, so that results can be compared; the end mark that stands once is kept."""
    tokenizer, row = encoded("baichuan2", TALK, cutoff_len)
    assert text_of(tokenizer, row) == text
    assert len(row.input_ids) == len(row.labels) <= cutoff_len
    assert row.is_truncated == (cutoff_len < 77)


def test_later_turns_are_left_out_first() -> None:
    """Or the earlier ones, where only the last is learned."""
    tokenizer, row = encoded("cpm", says("12345", "abcde", "67890", "fghij"), 24)
    assert text_of(tokenizer, row) == "<s><用户>12345<AI>abcde</s>"
    tokenizer, row = encoded("cpm", says("12345", "abcde", "67890", "fghij"), 24, mask_history=True)
    assert text_of(tokenizer, row).endswith("<用户>67890<AI>fghij</s>")
    assert learned(tokenizer, row) == ["fghij</s>"]


def test_long_answer_is_cut_and_its_question_is_kept() -> None:
    """A question that needs less than half of the room keeps it."""
    tokenizer, row = encoded("xverse", says("Hi", "long " * 50), 60)
    assert text_of(tokenizer, row) == "Human: Hi\n\nAssistant: " + ("long " * 50)[: 60 - len("Human: Hi\n\nAssistant: ")]
    assert row.is_truncated


@pytest.mark.parametrize("template", ["alpaca", "deepseek", "falcon"])
def test_token_does_not_reach_from_the_prompt_into_the_answer(template: str) -> None:
    """A colon and what follows may be one token; whoever asks the model sends the colon alone."""
    tokenizer = make_tokenizer(template, merges=(":/", "\u010a\u010a", ":\u010a"))
    talk = says("Where?", "/\n\nusr", "And?", "\n/bin")
    row = encode(tokenizer, talk, cutoff_len=9999)
    asked = prompt_ids(tokenizer, talk[:1])
    assert row.input_ids[: len(asked)] == asked
    assert [part.replace("</s>", "").strip("\n") for part in learned(tokenizer, row)] == ["/\n\nusr", "/bin"]


def test_slow_tokenizer_encodes_part_by_part() -> None:
    """It tells no places in the text."""
    tokenizer = make_tokenizer("qwen")
    whole = encode(tokenizer, TALK, cutoff_len=9999)

    class Slow:
        """Without offsets."""

        is_fast = False

        def __getattr__(self, name: str) -> Any:
            return getattr(tokenizer, name)

        def __call__(self, text: str, *, add_special_tokens: bool) -> Any:
            return tokenizer(text, add_special_tokens=add_special_tokens)

    assert encode(Slow(), TALK, cutoff_len=9999) == whole
