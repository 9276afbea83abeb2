"""Calls of tools, compared by what they call."""

from __future__ import annotations

import json

import pytest

from dtx_tasks.score.calls import comparable
from dtx_tasks.template import TEMPLATES, UnsuitableTemplateError, answer_text, prompt_ids
from tests.unit.template.tokenizers import calls, make_tokenizer

TOOLS = [{"type": "function", "function": {"name": "add", "description": "Adds.", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}}}]
ASKED = [{"role": "user", "content": "1 + 2?"}]


@pytest.mark.parametrize(
    ("written", "wanted", "is_same"),
    [
        ('{"name": "add", "arguments": {"a": 1, "b": 2}}', '{"arguments":{"b":2,"a":1},"name":"add"}', True),
        ('<tool_call>\n{"a": 1}\n</tool_call>', '<tool_call> {"a":1} </tool_call>', True),
        ('Action: add\nAction Input: {"a": 1}\n', 'Action: add\nAction Input: { "a" : 1 }', True),
        ('{"a": 1}', '{"a": 2}', False),
        ('sub {"a": 1}', 'add {"a": 1}', False),
        ('{"a": 1', '{"a": 1}', False),
        ('{"a": "x  y"}', '{"a": "x y"}', False),
        ("[" * 2000, "[" * 1999, False),
        ("", '{"a": 1}', False),
    ],
)
def test_calls_are_compared_by_their_meaning(written: str, wanted: str, is_same: bool) -> None:
    """Keys in another order and other spaces are the same call; another name, argument or text in an argument is not."""
    assert (comparable(written) == comparable(wanted)) is is_same


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_reference_is_what_the_template_teaches(name: str) -> None:
    """What is learned of a call, without the mark that ends it; a template without tools refuses such a row when it is prepared."""
    tokenizer = make_tokenizer(name, marks=_marks(name))
    messages = [*ASKED, calls(("add", {"a": 1}))]
    try:
        text = answer_text(tokenizer, messages, TOOLS)
    except UnsuitableTemplateError:
        return
    assert "add" in text
    assert json.dumps({"a": 1}) in text.replace("'", '"')
    assert not any(mark in text for mark in tokenizer.all_special_tokens)
    assert prompt_ids(tokenizer, ASKED, TOOLS)


def _marks(name: str) -> tuple[str, ...]:
    end = TEMPLATES[name].end_mark
    return (end,) if end else ()
