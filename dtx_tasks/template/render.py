"""From a conversation to text, with the parts of it that the assistant wrote."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final, cast

from dtx_tasks.errors import DataError
from dtx_tasks.template.images import IMAGE, placed
from dtx_tasks.template.table import TEMPLATES, Template

Tokenizer = Any
"""A transformers PreTrainedTokenizer: not imported here, so that this stays light."""

Message = dict[str, Any]
"""`role` (system, user, assistant or tool), `content`, and for the assistant perhaps `tool_calls`; as in OpenAI's API. After `with_images` also `images`."""

Span = tuple[int, int]
"""First character and the one behind the last."""

PLACEHOLDERS: Final = (IMAGE, "<video>", "<audio>")

ASKS: Final = ("user", "tool")

NAME = re.compile(r"\{#- dtx-tasks template: (\w+)\.")
GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")


class UnsuitableTemplateError(DataError):
    """A chat template that cannot be trained with, or not with this tokenizer, conversation or option."""


@dataclass(frozen=True)
class Rendered:
    """A conversation as text.

    Attributes:
        text: All of it.
        answers: Where the assistant's turns are, with what ends them; in order; at least one.
    """

    text: str
    answers: tuple[Span, ...]


def template_of(tokenizer: Tokenizer) -> tuple[str, Template | None]:
    """Name and facts of the tokenizer's chat template; None where it is the base model's own.

    The name stands in the text itself, so that a tokenizer which comes from storage is known too.
    """
    found = NAME.match(tokenizer.chat_template) if isinstance(tokenizer.chat_template, str) else None
    name = found[1] if found else ""
    return name or "tokenizer", TEMPLATES.get(name)


def prompt_text(tokenizer: Tokenizer, messages: list[Message], tools: list[dict[str, Any]] | None = None) -> str:
    """A conversation up to the place where the answer begins.

    Raises:
        UnsuitableTemplateError: The template cannot write it.
        DataError: It does not end with a user or a tool.
    """
    _check(tokenizer, messages, ASKS)
    return _render(tokenizer, _with_objects(messages), tools, add_generation_prompt=True).text


def conversation(tokenizer: Tokenizer, messages: list[Message], tools: list[dict[str, Any]] | None = None, *, is_last_only: bool = False) -> Rendered:
    """A conversation with the assistant's turns.

    Args:
        tokenizer: With a chat template.
        messages: The last one is the assistant's.
        tools: Functions as JSON Schema.
        is_last_only: The earlier answers are not asked for.

    Raises:
        UnsuitableTemplateError: The template cannot write it, or changes what it wrote when more follows.
        DataError: It does not end with the assistant.
    """
    _check(tokenizer, messages, ("assistant",))
    messages = _with_objects(messages)
    if GENERATION.search(_text_of(tokenizer, tools)):
        rendered = _render(tokenizer, messages, tools)
        if not rendered.answers:
            raise UnsuitableTemplateError(
                "The chat template has marks for what is learned, and marks nothing of this conversation.", "Set another `template` of the LLM."
            )
        return rendered
    return _by_prefixes(tokenizer, messages, tools, is_last_only=is_last_only)


def _check(tokenizer: Tokenizer, messages: list[Message], last: tuple[str, ...]) -> None:
    role = messages[-1]["role"] if messages else "nobody"
    if role not in last:
        raise DataError(f"The conversation ends with {role}.", f"The last message must be of: {', '.join(last)}.")
    refuse_placeholders(tokenizer, messages)


def refuse_placeholders(tokenizer: Tokenizer, messages: list[Message]) -> None:
    """Stops where a conversation holds what stands for a file in the template of a model that sees, and there is none.

    Args:
        tokenizer: After `adapt`.
        messages: With `images` where there are some.

    Raises:
        UnsuitableTemplateError: It holds such a word.
    """
    name, template = template_of(tokenizer)
    if template is None or not template.is_vision:
        return
    found = [word for word in (*PLACEHOLDERS, *template.pads) if any(_stands_alone(word, message) for message in messages)]
    if found:
        problem = f"The text holds {found[0]}, which stands for a file in the template {name}, and there is none."
        raise UnsuitableTemplateError(problem, "Write it in another way, or choose a template without pictures.")


def _stands_alone(placeholder: str, message: Message) -> bool:
    """Whether a placeholder is written for which there is no file."""
    return placeholder in (message.get("content") or "") and not (placeholder == IMAGE and "images" in message)


def _with_objects(messages: list[Message]) -> list[Message]:
    """The arguments of tool calls as objects: OpenAI has JSON in a string there, what runs templates when serving hands them objects."""
    return [{**message, "tool_calls": [_call(call) for call in message["tool_calls"]]} if message.get("tool_calls") else message for message in messages]


def _call(call: dict[str, Any]) -> dict[str, Any]:
    function = call["function"]
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError as error:
            problem = f"The arguments of the call of {function['name']} are not JSON: {error}."
            raise DataError(problem, 'They look like {"city": "Porto"}.') from None
    return {**call, "function": {**function, "arguments": arguments}}


def _text_of(tokenizer: Tokenizer, tools: list[dict[str, Any]] | None) -> str:
    if not tokenizer.chat_template:
        raise UnsuitableTemplateError("The base model's tokenizer has no chat template.", "Set `template` of the LLM: docs/templates.md lists them.")
    return str(tokenizer.get_chat_template(tools=tools))


def _render(tokenizer: Tokenizer, messages: list[Message], tools: list[dict[str, Any]] | None, *, add_generation_prompt: bool = False) -> Rendered:
    from jinja2 import TemplateError
    from transformers.utils.chat_template_utils import render_jinja_template

    text = _text_of(tokenizer, tools)
    marked = bool(GENERATION.search(text))
    known = {**tokenizer.special_tokens_map, "add_generation_prompt": add_generation_prompt}
    name, template = template_of(tokenizer)
    front, messages = placed(messages, in_front=template is not None and template.are_images_in_front)
    try:
        # It says that it returns a text, and returns those of all conversations with the places of all answers.
        rendered: Any = render_jinja_template([messages], tools=cast("Any", tools), chat_template=text, return_assistant_tokens_mask=marked, **known)
    except (TemplateError, TypeError) as error:
        problem = f"The template {name} cannot write this conversation: {error}."
        raise UnsuitableTemplateError(problem, "Correct the row, or choose another `template` of the LLM.") from None
    answers = rendered[1][0] if marked else ()
    return Rendered(front + rendered[0][0], tuple((len(front) + start, len(front) + end) for start, end in answers))


def _by_prefixes(tokenizer: Tokenizer, messages: list[Message], tools: list[dict[str, Any]] | None, *, is_last_only: bool) -> Rendered:
    """The answers are what a template writes behind the prompts."""
    whole = _render(tokenizer, messages, tools).text
    places = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
    answers = []
    for index in places[-1:] if is_last_only else places:
        prompt = _render(tokenizer, messages[:index], tools, add_generation_prompt=True).text
        answered = _render(tokenizer, messages[: index + 1], tools).text
        end = len(prompt) + len(_up_to_its_end(answered[len(prompt) :], tokenizer.eos_token))
        if not (answered.startswith(prompt) and whole.startswith(answered[:end])):
            raise _changing(is_last=index == places[-1])
        answers.append((len(prompt), end))
    return Rendered(whole, tuple(answers))


def _up_to_its_end(written: str, eos_token: str) -> str:
    # What stands behind the end mark belongs to the next turn.
    text, mark, _ = written.rpartition(eos_token)
    return text + mark if mark else written.rstrip("\n")


def _changing(*, is_last: bool) -> UnsuitableTemplateError:
    if is_last:
        return UnsuitableTemplateError("The chat template changes the prompt when an answer follows.", "Set another `template` of the LLM.")
    problem = "The chat template changes earlier answers when more follows, as those do that drop thinking: it cannot be told what to learn."
    return UnsuitableTemplateError(problem, "Set another `template` of the LLM, or mask_history to learn the last answer only.")
