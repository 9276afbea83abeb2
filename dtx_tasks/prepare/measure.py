"""What a tokenizer makes of a row, for `dtx dataset check` and `preview`: by the same code that prepares it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING

from transformers import AutoTokenizer

from dtx_tasks.dataset import Measured
from dtx_tasks.errors import DataError, SpecError
from dtx_tasks.prepare.encode import encoded_rows, num_trained_tokens
from dtx_tasks.template import IGNORED_LABEL, adapt, with_images
from dtx_tasks.template.images import IMAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dtx_tasks.dataset import Row
    from dtx_tasks.records import EncodeOptions
    from dtx_tasks.spec.llm import Template
    from dtx_tasks.template import Encoded
    from dtx_tasks.template.render import Tokenizer


@dataclass(frozen=True)
class SeenRow:
    """A row as the model sees it.

    Attributes:
        pieces: The text in order, each piece with whether it is learned.
        measured: Its tokens.
    """

    pieces: tuple[tuple[str, bool], ...]
    measured: Measured


def measure_with(folder: Path, template: Template, options: EncodeOptions) -> Callable[[Row], Measured]:
    """What measures rows with a tokenizer; it raises DataError for a row that nothing can be learned from.

    Args:
        folder: Where the tokenizer is.
        template: `tokenizer` for its own, or the name of one of ours.
        options: How long a row may be, and what of it is learned.

    Raises:
        SpecError: There is no tokenizer, or it has no template of its own.
    """
    return partial(_measure, _adapted(folder, template), options)


def see_with(folder: Path, template: Template, options: EncodeOptions) -> Callable[[Row], SeenRow]:
    """What shows rows as the model sees them; arguments and errors as of `measure_with`."""
    return partial(_see, _adapted(folder, template), options)


def _adapted(folder: Path, template: Template) -> Tokenizer:
    if not folder.is_dir():
        raise SpecError(f"{folder} is no folder.", "Name one with a tokenizer in Hugging Face layout.")
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        adapt(tokenizer, template)
    except (OSError, ValueError, DataError) as error:
        raise SpecError(f"{folder} with the template {template!r} cannot be used: {' '.join(str(error).split())}") from None
    return tokenizer


def _measure(tokenizer: Tokenizer, options: EncodeOptions, row: Row) -> Measured:
    (encoded,) = encoded_rows(tokenizer, [_with_places(row)], options)
    return _measured(encoded)


def _with_places(row: Row) -> Row:
    """A row whose images are their places alone: how many tokens they take depends on the model that sees them, not on its tokenizer."""
    return replace(row, messages=with_images(row.messages, [IMAGE] * len(row.files["images"]))) if "images" in row.files else row


def _measured(encoded: Encoded) -> Measured:
    return Measured(len(encoded.input_ids), num_trained_tokens(encoded), encoded.is_truncated)


def _see(tokenizer: Tokenizer, options: EncodeOptions, row: Row) -> SeenRow:
    (encoded,) = encoded_rows(tokenizer, [_with_places(row)], options)
    return SeenRow(tuple(_pieces(tokenizer, encoded)), _measured(encoded))


def _pieces(tokenizer: Tokenizer, encoded: Encoded) -> Iterator[tuple[str, bool]]:
    """Text is always decoded from the beginning: sentencepiece, for one, leaves out the space that a text by itself begins with."""
    end, before = 0, ""
    for is_learned, labels in groupby(label != IGNORED_LABEL for label in encoded.labels):
        end += len(list(labels))
        text = tokenizer.decode(encoded.input_ids[:end], skip_special_tokens=False, clean_up_tokenization_spaces=False)
        yield text[len(before) :], is_learned
        before = text
