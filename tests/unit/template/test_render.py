"""From a conversation to token ids, split where the answer begins."""

from typing import Any

import pytest

from dtx_tasks.template import UnsuitableTemplateError, answer_ids, chat_template, prompt_ids

ASKED = [{"role": "user", "content": "ask"}]


class FakeTokenizer:
    """A tokenizer of one id a character, with a template that is a Python format."""

    eos_token, eos_token_id = "$", 0

    def __init__(self, turn: str = "{role}:{content}{end}", after: str = "", chat_template: str | None = "its own") -> None:
        self.turn, self.after, self.chat_template = turn, after, chat_template

    def apply_chat_template(self, messages: list[dict[str, str]], *, tokenize: bool, add_generation_prompt: bool = False) -> str:
        """Text only, as it is asked for here."""
        assert not tokenize
        ends = {"user": "\n", "assistant": f"{self.eos_token}{self.after}"}
        text = "".join(self.turn.format(**message, end=ends[message["role"]], num=len(messages)) for message in messages)
        return text + ("assistant:" if add_generation_prompt else "")

    def __call__(self, text: str, *, add_special_tokens: bool) -> dict[str, Any]:
        """An id a character, and one more for the special token that nobody should ask for."""
        return {"input_ids": [ord(character) for character in text] + [1] * add_special_tokens}


def text_of(ids: list[int]) -> str:
    return "".join(map(chr, ids))


def test_prompt_ends_where_the_answer_begins() -> None:
    """The mark that asks for an answer belongs to the prompt, and no special token is added."""
    assert text_of(prompt_ids(FakeTokenizer(), ASKED)) == "user:ask\nassistant:"


@pytest.mark.parametrize("after", ["", "\n", "<next turn>"])
def test_answer_ends_with_its_mark(after: str) -> None:
    """What stands behind it belongs to the next turn."""
    assert text_of(answer_ids(FakeTokenizer(after=after), ASKED, "yes")) == "yes$"


def test_answer_that_holds_the_mark_keeps_it() -> None:
    """Only the last one ends it."""
    assert text_of(answer_ids(FakeTokenizer(), ASKED, "1$ or 2$")) == "1$ or 2$$"


def test_answer_without_a_mark_gets_one() -> None:
    """A model would never learn to stop."""
    tokenizer = FakeTokenizer()
    tokenizer.eos_token = "%"
    tokenizer.turn = "{role}:{content}\n"
    assert answer_ids(tokenizer, ASKED, "yes") == [*map(ord, "yes"), 0]


@pytest.mark.parametrize("text", ["{{name}}", "{% raw %}", "a\u2028b", "识别", " "])
def test_text_is_kept_as_it_is(text: str) -> None:
    """Users' braces are no template."""
    assert text_of(answer_ids(FakeTokenizer(), ASKED, text)) == f"{text}$"


def test_template_that_changes_the_prompt_is_refused() -> None:
    """The label mask would be wrong."""
    with pytest.raises(UnsuitableTemplateError, match=r"^The chat template changes the prompt when an answer follows. Set another `template` of the LLM.$"):
        answer_ids(FakeTokenizer(turn="{num}{role}:{content}{end}"), ASKED, "yes")


def test_tokenizer_without_a_template_is_refused() -> None:
    """With what to write instead."""
    told = r"^The base model's tokenizer has no chat template. Set `template: chatml` or `template: plain` of the LLM.$"
    with pytest.raises(UnsuitableTemplateError, match=told):
        chat_template(FakeTokenizer(chat_template=None), "tokenizer")


def test_template_is_the_tokenizers_or_a_named_one() -> None:
    """A named one comes with the project, whatever the tokenizer has."""
    assert chat_template(FakeTokenizer(), "tokenizer") == "its own"
    assert "<|im_start|>" in chat_template(FakeTokenizer(), "chatml")
    assert "Human: " in chat_template(FakeTokenizer(), "plain")
