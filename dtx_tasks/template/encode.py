"""From a conversation to token ids, and to the labels that say which of them are learned."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from dtx_tasks.template.render import Rendered, UnsuitableTemplateError, conversation, prompt_text, template_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tokenizers import Encoding

    from dtx_tasks.template.render import Message, Span, Tokenizer

IGNORED_LABEL: Final = -100
"""What torch's cross entropy leaves out of the loss."""


@dataclass(frozen=True)
class Encoded:
    """A conversation, ready to train on.

    Attributes:
        input_ids: Token ids.
        labels: As many: the id where it is learned, IGNORED_LABEL elsewhere.
        is_truncated: Something was left out, to keep the length limit.
    """

    input_ids: list[int]
    labels: list[int]
    is_truncated: bool


class Turn(NamedTuple):
    """Token ids of what is asked, all that stands before it included, and of the answer."""

    asked: list[int]
    answered: list[int]


def prompt_ids(tokenizer: Tokenizer, messages: list[Message], tools: list[dict[str, Any]] | None = None) -> list[int]:
    """Token ids of a conversation up to the place where the answer begins.

    Raises:
        UnsuitableTemplateError: The template cannot write it.
        DataError: It does not end with a user or a tool.
    """
    # The template writes every special token itself.
    return _ids(tokenizer, prompt_text(tokenizer, messages, tools))


def encode(
    tokenizer: Tokenizer,
    messages: list[Message],
    tools: list[dict[str, Any]] | None = None,
    *,
    cutoff_len: int,
    mask_history: bool = False,
    train_on_prompt: bool = False,
) -> Encoded:
    """Token ids and labels of a conversation that ends with the assistant.

    Args:
        tokenizer: After `adapt`.
        messages: In the form of OpenAI's API.
        tools: Functions as JSON Schema.
        cutoff_len: The length limit, in tokens.
        mask_history: Only the last answer is learned, and when it is too long the last turn has priority.
        train_on_prompt: Everything is learned.

    Raises:
        UnsuitableTemplateError: The template cannot write the conversation, or the options do not fit it or each other.
        DataError: The conversation does not end with the assistant.
    """
    return encode_all(tokenizer, [(messages, tools)], cutoff_len=cutoff_len, mask_history=mask_history, train_on_prompt=train_on_prompt)[0]


def encode_all(
    tokenizer: Tokenizer,
    conversations: Sequence[tuple[list[Message], list[dict[str, Any]] | None]],
    *,
    cutoff_len: int,
    mask_history: bool = False,
    train_on_prompt: bool = False,
) -> list[Encoded]:
    """The same of many conversations, each with its tools: a tokenizer needs less time for each of them when it has them all.

    Args:
        tokenizer: After `adapt`.
        conversations: Messages and tools of each.
        cutoff_len: As in `encode`.
        mask_history: The same.
        train_on_prompt: The same.

    Raises:
        UnsuitableTemplateError: As in `encode`, for any of them.
        DataError: The same.
    """
    name, template = template_of(tokenizer)
    ends_once = template is not None and template.ends_once
    if train_on_prompt:
        _refuse(name, mask_history=mask_history, ends_once=ends_once)
    rendered = [conversation(tokenizer, messages, tools, is_last_only=mask_history) for messages, tools in conversations]
    if template is None:
        turns, closing = _with_eos(tokenizer, rendered), []
    else:
        turns = _turns(tokenizer, [_without_eos(one, tokenizer.eos_token) for one in rendered] if ends_once else rendered)
        closing = [tokenizer.eos_token_id] * ends_once
    return [_encoded(one, closing, cutoff_len, mask_history=mask_history, train_on_prompt=train_on_prompt) for one in turns]


def _encoded(turns: list[Turn], closing: list[int], cutoff_len: int, *, mask_history: bool, train_on_prompt: bool) -> Encoded:
    kept = _cut(turns, cutoff_len - len(closing), is_last_first=mask_history)
    input_ids = [*chain.from_iterable(chain(*turn) for turn in kept), *closing]
    labels = input_ids if train_on_prompt else [*_labels(kept, is_last_only=mask_history), *closing]
    return Encoded(input_ids, labels, len(input_ids) < sum(len(part) for turn in turns for part in turn) + len(closing))


def answer_text(tokenizer: Tokenizer, messages: list[Message], tools: list[dict[str, Any]] | None = None) -> str:
    """The last answer as a model would write it: the template's text, with its calls of tools, decoded without special tokens.

    Raises:
        UnsuitableTemplateError: The template cannot write the conversation.
        DataError: It does not end with the assistant.
    """
    rendered = conversation(tokenizer, messages, tools, is_last_only=True)
    start, end = rendered.answers[-1]
    return str(tokenizer.decode(_ids(tokenizer, rendered.text[start:end]), skip_special_tokens=True))


def _refuse(name: str, *, mask_history: bool, ends_once: bool) -> None:
    if mask_history:
        raise UnsuitableTemplateError("train_on_prompt and mask_history are set: one learns the history, the other leaves it out.", "Remove one of them.")
    if ends_once:
        problem = f"train_on_prompt is set, and the template {name} has no mark where an earlier answer ends: the model would learn to write the next question."
        raise UnsuitableTemplateError(problem, "Remove train_on_prompt, or choose another `template` of the LLM.")


def _without_eos(rendered: Rendered, eos_token: str) -> Rendered:
    """Without the end mark, which is kept when the answer is cut."""
    text = rendered.text.removesuffix(eos_token)
    last = (rendered.answers[-1][0], len(text))
    return Rendered(text, (*rendered.answers[:-1], last))


def _with_eos(tokenizer: Tokenizer, rendered: list[Rendered]) -> list[list[Turn]]:
    """The turns of a model's own template. An answer that it leaves without an end mark gets one: a model would never learn to stop."""
    eos_token = tokenizer.eos_token
    widened = [Rendered(one.text, tuple((start, end + len(eos_token) * one.text.startswith(eos_token, end)) for start, end in one.answers)) for one in rendered]
    is_ended = [one.text[slice(*one.answers[-1])].rstrip().endswith(eos_token) for one in widened]
    return [turns if ended else _ended(turns, tokenizer.eos_token_id) for turns, ended in zip(_turns(tokenizer, widened), is_ended, strict=True)]


def _ended(turns: list[Turn], eos_token_id: int) -> list[Turn]:
    return [*turns[:-1], Turn(turns[-1].asked, [*turns[-1].answered, eos_token_id])]


def _turns(tokenizer: Tokenizer, rendered: list[Rendered]) -> list[list[Turn]]:
    """What stands behind the last answer has nothing to teach and is left out."""
    seams = [list(chain.from_iterable(one.answers)) for one in rendered]
    split = _split(tokenizer, [(one.text[: places[-1]], places[:-1]) for one, places in zip(rendered, seams, strict=True)])
    return [[Turn(asked, answered) for asked, answered in zip(parts[::2], parts[1::2], strict=True)] for parts in split]


def _split(tokenizer: Tokenizer, texts: list[tuple[str, list[int]]]) -> list[list[list[int]]]:
    """Token ids of the parts between seams, of every text.

    A text is encoded as a whole, because what serves the model encodes its prompts as a whole: sentencepiece, for one, puts a space in front of whatever it
    is given by itself. Where a token would reach across a seam the text is encoded in two: the prompt ends at the seam when the model answers.

    Args:
        tokenizer: Without offsets (a slow one) every part is encoded by itself.
        texts: Each with its seams: character positions, rising.
    """
    if not tokenizer.is_fast:
        return [[_ids(tokenizer, text[start:end]) for start, end in pairwise([0, *seams, len(text)])] for text, seams in texts]
    encoded = tokenizer([text for text, _ in texts], add_special_tokens=False, return_attention_mask=False)
    return [_parts(tokenizer, *text, encoding) for text, encoding in zip(texts, encoded.encodings, strict=True)]


def _parts(tokenizer: Tokenizer, text: str, seams: list[int], encoding: Encoding) -> list[list[int]]:
    ids = encoding.ids
    # To ask for the end of some tokens costs less than a list of those of all.
    places = [bisect_right(range(len(ids)), seam, key=lambda token: _span(encoding, token)[1]) for seam in seams]
    for index, (seam, place) in enumerate(zip(seams, places, strict=True)):
        if not _is_between(encoding, place, seam):
            before, behind = _split(tokenizer, [(text[:seam], seams[:index]), (text[seam:], [later - seam for later in seams[index + 1 :]])])
            return [*before, *behind]
    return [ids[start:end] for start, end in pairwise([0, *places, len(ids)])]


def _is_between(encoding: Encoding, place: int, seam: int) -> bool:
    """Whether a token ends at the seam and the next one begins behind it."""
    ends_there = _span(encoding, place - 1)[1] == seam if place else seam == 0
    return ends_there and (place == len(encoding) or _span(encoding, place)[0] >= seam)


def _span(encoding: Encoding, token: int) -> Span:
    """Where a token stands in the text."""
    return cast("Span", encoding.token_to_chars(token))


def _cut(turns: list[Turn], most_tokens: int, *, is_last_first: bool) -> list[Turn]:
    """As much of the turns as there is room for.

    Turn by turn, question and answer share the room that is left, and both keep their beginning; what finds no room is left out.
    Source of the rule: LLaMA-Factory, which users compare with; see the tests.
    """
    kept: list[Turn] = []
    for turn in reversed(turns) if is_last_first else turns:
        if most_tokens <= 0:
            break
        num_asked, num_answered = shares(len(turn.asked), len(turn.answered), most_tokens)
        kept.append(Turn(turn.asked[:num_asked], turn.answered[:num_answered]))
        most_tokens -= num_asked + num_answered
    return kept[::-1] if is_last_first else kept


def shares(num_asked: int, num_answered: int, room: int) -> tuple[int, int]:
    """How many tokens of a question and of its answer are kept: all of the one that needs less than half of the room, otherwise in proportion."""
    if num_answered * 2 < room:
        most = room
    elif num_asked * 2 < room:
        most = room - num_asked
    else:
        most = int(room * (num_answered / (num_asked + num_answered)))
    answered = min(num_answered, most)
    return min(num_asked, room - answered), answered


def _labels(turns: list[Turn], *, is_last_only: bool) -> Iterable[int]:
    for index, turn in enumerate(turns):
        yield from [IGNORED_LABEL] * len(turn.asked)
        is_learned = not is_last_only or index == len(turns) - 1
        yield from turn.answered if is_learned else [IGNORED_LABEL] * len(turn.answered)


def _ids(tokenizer: Tokenizer, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])
