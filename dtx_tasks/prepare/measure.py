"""How many tokens a row has, for `dtx dataset check`: by the same code that prepares it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from transformers import AutoTokenizer

from dtx_tasks.dataset import Measured
from dtx_tasks.errors import DataError, SpecError
from dtx_tasks.prepare.encode import encoded_rows, num_trained_tokens
from dtx_tasks.template import adapt

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dtx_tasks.dataset import Row
    from dtx_tasks.spec.llm import Template
    from dtx_tasks.template.render import Tokenizer


def measure_with(folder: Path, template: Template, cutoff_len: int) -> Callable[[Row], Measured]:
    """What measures rows with a tokenizer.

    Args:
        folder: Where the tokenizer is.
        template: `tokenizer` for its own, or the name of one of ours.
        cutoff_len: The most tokens.

    Raises:
        SpecError: There is no tokenizer, or it has no template of its own.
    """
    if not folder.is_dir():
        raise SpecError(f"{folder} is no folder.", "Name one with a tokenizer in Hugging Face layout.")
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        adapt(tokenizer, template)
    except (OSError, ValueError, DataError) as error:
        raise SpecError(f"{folder} with the template {template!r} cannot be used: {' '.join(str(error).split())}") from None
    return partial(_measure, tokenizer, cutoff_len)


def _measure(tokenizer: Tokenizer, cutoff_len: int, row: Row) -> Measured:
    (encoded,) = encoded_rows(tokenizer, [row], cutoff_len)
    return Measured(len(encoded.input_ids), num_trained_tokens(encoded), encoded.is_truncated)
