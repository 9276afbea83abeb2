"""What a conversation looks like as text: system messages, tools, calls and what cannot be written."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from dtx_tasks.errors import DataError
from dtx_tasks.template import TEMPLATES, UnsuitableTemplateError, encode, prompt_ids, with_images
from tests.unit.template.tokenizers import calls, learned, make_tokenizer, says, text_of

WEATHER: dict[str, Any] = {
    "name": "weather",
    "description": "Of a city's sky",
    "parameters": {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "名"},
            "unit": {"type": "string", "enum": ["C", "F"]},
            "days": {"type": "array", "items": {"type": "integer"}},
        },
        "required": ["city"],
    },
}
ASKED = {"role": "user", "content": "Sky?"}
CALLED = calls(("weather", {"city": "波尔图", "days": [1]}))
RESULT = {"role": "tool", "content": '{"t": 20}'}
TALK = [ASKED, CALLED, RESULT, {"role": "assistant", "content": "Blue."}]

CALL_TEXTS = {
    "default": 'Action: weather\nAction Input: {"city": "波尔图", "days": [1]}',
    "glm4": 'weather\n{"city": "波尔图", "days": [1]}',
    "llama3": '{"name": "weather", "parameters": {"city": "波尔图", "days": [1]}}',
    "mistral": '[TOOL_CALLS] [{"name": "weather", "arguments": {"city": "波尔图", "days": [1]}}]',
    "qwen": '<tool_call>\n{"name": "weather", "arguments": {"city": "波尔图", "days": [1]}}\n</tool_call>',
}
SHOWN = {
    "default": "> Tool Name: weather\nTool Description: Of a city's sky\nTool Args:\n  - city (string, required): 名\n"
    "  - unit (string): , should be one of [C, F]\n  - days (array): , where each item should be integer\n\nUse the following format",
    "glm4": f"# 可用工具\n\n## weather\n\n{json.dumps(WEATHER, indent=4, ensure_ascii=False)}\n在调用上述函数时",
    "llama3": f"Do not use variables.\n\n{json.dumps({'type': 'function', 'function': WEATHER}, indent=4, ensure_ascii=False)}\n\n<|eot_id|>",
    "mistral": f"[AVAILABLE_TOOLS] {json.dumps([{'type': 'function', 'function': WEATHER}], ensure_ascii=False)}[/AVAILABLE_TOOLS]\n\nSky?[/INST]",
    "qwen": f"<tools>\n{json.dumps({'type': 'function', 'function': WEATHER}, ensure_ascii=False)}\n</tools>",
}
RESULTS = {
    "default": 'Human: {"t": 20}</s>\nAssistant:',
    "glm4": '<|observation|>\n{"t": 20}<|assistant|>',
    "llama3": '<|start_header_id|>ipython<|end_header_id|>\n\n{"t": 20}<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n',
    "mistral": '[TOOL_RESULTS] {"content": {"t": 20}}[/TOOL_RESULTS]',
    "qwen": '<|im_start|>user\n<tool_response>\n{"t": 20}\n</tool_response><|im_end|>\n<|im_start|>assistant\n',
}
ENDS = {"default": "</s>\n", "glm4": "", "llama3": "<|eot_id|>", "mistral": "</s>", "qwen": "<|im_end|>\n"}


def text(template: str, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None = None) -> str:
    tokenizer = make_tokenizer(template)
    return text_of(tokenizer, encode(tokenizer, messages, tools, cutoff_len=9999))


@pytest.mark.parametrize("system", [None, ""])
def test_missing_or_empty_system_brings_the_default_back(system: str | None) -> None:
    """A row without one is trained as it will be served."""
    assert text("qwen2_vl", says("Hi", "Ho", system=system)).startswith("<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nHi")


def test_own_system_replaces_the_default() -> None:
    """It is not added to it."""
    assert text("vicuna", says("Hi", "Ho", system="Be kind.")) == "Be kind.USER: Hi ASSISTANT:Ho</s>"


@pytest.mark.parametrize("template", ["llama2", "gemma", "mistral", "paligemma"])
def test_system_without_a_turn_stands_in_the_first_question_only(template: str) -> None:
    """These families know no system role."""
    written = text(template, says("Hi", "Ho", "Hm", "He", system="Be kind."))
    assert written.count("Be kind.") == 1
    assert written.index("Be kind.") < written.index("Hi")


@pytest.mark.parametrize("form", [WEATHER, {"type": "function", "function": WEATHER}], ids=["bare", "wrapped"])
@pytest.mark.parametrize("template", SHOWN)
def test_tools_are_shown_in_the_form_of_the_template(template: str, form: dict[str, Any]) -> None:
    """Wrapped as OpenAI has them or bare: the text is the same."""
    assert SHOWN[template] in text(template, TALK, [form])


@pytest.mark.parametrize("template", CALL_TEXTS)
def test_call_and_result_are_written_in_the_form_of_the_template(template: str) -> None:
    """The call is learned with its end mark, the result is not."""
    tokenizer = make_tokenizer(template)
    encoded = encode(tokenizer, TALK, [WEATHER], cutoff_len=9999)
    assert learned(tokenizer, encoded)[0] == CALL_TEXTS[template] + ENDS[template]
    assert RESULTS[template] in text_of(tokenizer, encoded)


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_template_takes_tools(template: str) -> None:
    """Those without a form of their own have the common one."""
    assert "weather" in text(template, TALK, [WEATHER])


def test_arguments_as_json_in_a_string_are_the_object() -> None:
    """OpenAI's API has a string there. LLaMA-Factory would write it with quotes around; engines that serve the model hand the template an object."""
    assert text("qwen", [ASKED, calls(("weather", '{"city":"波尔图", "days": [1]}'))]) == text("qwen", [ASKED, CALLED])


def test_arguments_that_are_no_json_are_refused() -> None:
    """With the name of the call."""
    with pytest.raises(DataError, match=r"^The arguments of the call of weather are not JSON: .*\. They look like \{"):
        text("qwen", [ASKED, calls(("weather", "{city"))])


def test_text_in_front_of_calls_is_kept_where_the_model_can_write_both() -> None:
    """LLaMA-Factory drops it without a word: what a row says is learned, or refused."""
    both = calls(("weather", {}), content="Let me look.")
    assert 'assistant\nLet me look.\n<tool_call>\n{"name": "weather", "arguments": {}}' in text("qwen", [ASKED, both])
    with pytest.raises(UnsuitableTemplateError, match=r"llama3 cannot write this conversation: a message holds text and tool calls"):
        text("llama3", [ASKED, both])


def test_calls_at_once_and_their_results_stand_together() -> None:
    """Results that came together are one turn of the user's side."""
    talk = [ASKED, calls(("weather", {}), ("now", {})), RESULT, {"role": "tool", "content": "noon"}, {"role": "assistant", "content": "Blue."}]
    written = text("qwen", talk)
    assert '</tool_call>\n<tool_call>\n{"name": "now"' in written
    assert 'user\n<tool_response>\n{"t": 20}\n</tool_response>\n<tool_response>\nnoon\n</tool_response><|im_end|>\n<|im_start|>assistant\n' in written


@pytest.mark.parametrize("template", ["glm4", "chatglm3"])
def test_glm_refuses_calls_at_once(template: str) -> None:
    """Its form holds one call."""
    with pytest.raises(UnsuitableTemplateError, match=r"cannot write this conversation: a message holds several tool calls, .* put each into its own message"):
        text(template, [ASKED, calls(("weather", {}), ("now", {}))])


def test_empty_list_of_tools_leaves_an_empty_system_turn() -> None:
    """As LLaMA-Factory writes a row whose tools are `[]`: a third of glaive's. A row without tools has no such turn."""
    assert text("yi", says("Hi", "Ho"), []).startswith("<|im_start|>system\n<|im_end|>\n<|im_start|>user\nHi")
    assert text("yi", says("Hi", "Ho")).startswith("<|im_start|>user\nHi")


def test_tools_of_llama3_are_dated_by_a_fixed_day() -> None:
    """LLaMA-Factory writes today's: the same rows would become other token ids every day. This is the day in Meta's own template."""
    assert "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n" in text("llama3", TALK, [WEATHER])


@pytest.mark.parametrize("template", TEMPLATES)
def test_text_is_kept_as_it_is(template: str) -> None:
    """Braces are no template: LLaMA-Factory replaces the first `{{idx}}` of a question by a number. Lines, spaces and marks of other templates stay."""
    asked, answered = "{{idx}} {{content}} {% raw %}\u2028", " 识别\n### a\n "
    tokenizer = make_tokenizer(template)
    encoded = encode(tokenizer, says(asked, answered), cutoff_len=9999)
    assert asked in text_of(tokenizer, encoded)
    assert answered in learned(tokenizer, encoded)[0]


@pytest.mark.parametrize("template", TEMPLATES)
def test_prompt_is_how_a_trained_row_begins(template: str) -> None:
    """What scoring and serving ask is what training saw, to the token; with an earlier turn too."""
    tokenizer = make_tokenizer(template)
    talk = says("Hi", "Ho", "Hm", "He", system="Be kind.")
    asked = prompt_ids(tokenizer, talk[:-1])
    assert encode(tokenizer, talk, cutoff_len=9999).input_ids[: len(asked)] == asked
    assert prompt_ids(tokenizer, talk[:2]) == asked[: len(prompt_ids(tokenizer, talk[:2]))]


@pytest.mark.parametrize("word", ["<image>", "<video>", "<audio>"])
@pytest.mark.parametrize("template", [name for name, it in TEMPLATES.items() if it.is_vision])
def test_placeholder_of_a_file_is_refused_where_it_means_one(template: str, word: str) -> None:
    """Elsewhere it is text like any other."""
    with pytest.raises(UnsuitableTemplateError, match=rf"^The text holds {word}, which stands for a file in the template {template}, and there is none."):
        text(template, says(f"{word} What is this?", "A cat."))
    assert word in text("vicuna", says(f"{word} What is this?", "A cat."))


@pytest.mark.parametrize("word", ["<|image_pad|>", "<|video_pad|>"])
def test_token_of_a_file_is_refused_where_the_model_has_it(word: str) -> None:
    """Nothing would tell it from those of an image of another row."""
    with pytest.raises(
        UnsuitableTemplateError, match=rf"^The text holds {re.escape(word)}, which stands for a file in the template qwen2_vl, and there is none."
    ):
        text("qwen2_vl", says(f"What is {word}?", "A token."))
    assert word in text("llava", says(f"What is {word}?", "A token."))


@pytest.mark.parametrize(
    ("template", "shown"),
    [
        ("llava", "USER: Is [A] like <image>? ASSISTANT:Yes.</s>USER: Ok ASSISTANT:Ho</s>"),
        (
            "qwen2_vl",
            "<|im_start|>user\nIs [A] like <image>?<|im_end|>\n<|im_start|>assistant\nYes.<|im_end|>\n"
            "<|im_start|>user\nOk<|im_end|>\n<|im_start|>assistant\nHo<|im_end|>\n",
        ),
        ("paligemma", "[A]<image><s>Is  like ?\nYes.</s>Ok\nHo</s>"),
    ],
)
def test_images_stand_where_they_are_written(template: str, shown: str) -> None:
    """PaliGemma's stand in front. What stands for one may be the very word; the answers are found behind it, and scoring asks the same."""
    talk = with_images(says("Is <image> like <image>?", "Yes.", "Ok", "Ho"), ["[A]", "<image>"])
    tokenizer = make_tokenizer(template)
    encoded = encode(tokenizer, talk, cutoff_len=9999)
    assert text_of(tokenizer, encoded).endswith(shown)
    assert [answer.split("<")[0] for answer in learned(tokenizer, encoded)] == ["Yes.", "Ho"]
    asked = prompt_ids(tokenizer, talk[:-1])
    assert encoded.input_ids[: len(asked)] == asked


def test_images_are_as_many_as_their_places() -> None:
    """Or the row is refused."""
    with pytest.raises(DataError, match=r"^1 images for 2 <image> in what is said\. Each image stands where <image> is written\.$"):
        with_images(says("<image> <image>", "Ho"), ["[A]"])


def test_roles_out_of_order_are_refused() -> None:
    """By name."""
    with pytest.raises(UnsuitableTemplateError, match=r"^The template qwen cannot write this conversation: the role user stands where it cannot: "):
        text("qwen", [ASKED, ASKED, {"role": "assistant", "content": "Blue."}])


def test_conversation_that_ends_with_the_wrong_one_is_refused() -> None:
    """Nothing to learn, or nothing to ask."""
    with pytest.raises(DataError, match=r"^The conversation ends with user. The last message must be of: assistant.$"):
        text("qwen", [ASKED])
    with pytest.raises(DataError, match=r"^The conversation ends with assistant. The last message must be of: user, tool.$"):
        prompt_ids(make_tokenizer("qwen"), says("Hi", "Ho"))
