"""Plain text: nothing is asked, all of it is learned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dtx_tasks.template.encode import Encoded

if TYPE_CHECKING:
    from dtx_tasks.template.render import Tokenizer


def encode_text(tokenizer: Tokenizer, text: str, *, cutoff_len: int) -> list[Encoded]:
    """Token ids of a text, in pieces: what is longer than the limit goes on in the next piece, so that nothing is lost.

    Args:
        tokenizer: Of the base model.
        text: As it stands in the row; the tokenizer's eos token ends it.
        cutoff_len: The most tokens of a piece.
    """
    ids = [*tokenizer(text)["input_ids"]]
    if ids[-1:] != [tokenizer.eos_token_id]:
        ids.append(tokenizer.eos_token_id)
    pieces = [ids[start : start + cutoff_len] for start in range(0, len(ids), cutoff_len)]
    return [Encoded(piece, piece, is_truncated=False) for piece in pieces]
