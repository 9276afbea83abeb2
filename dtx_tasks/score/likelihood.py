"""How likely a model finds the references: the exponential of the mean loss of their tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from dtx_tasks.perplexity import perplexity
from dtx_tasks.score.generate import say_progress
from dtx_tasks.score.seen import messages_of, refuse_unseen, seen_inputs
from dtx_tasks.template import IGNORED_LABEL, Encoded, encode, encode_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dtx_tasks.score.load import Loaded
    from dtx_tasks.score.rows import ScoredRow
    from dtx_tasks.spec import Scoring


def perplexities(loaded: Loaded, rows: Sequence[ScoredRow], scoring: Scoring) -> list[float]:
    """The perplexity of each row's reference, given its question; at least 1, and finite.

    Args:
        loaded: The model.
        rows: What is asked, and what should be answered; text without a question is judged as a whole.
        scoring: Its batch size and length limit.

    Returns:
        As many numbers, in the same order.
    """
    found: list[float] = []
    for start in range(0, len(rows), scoring.batch_size):
        batch = rows[start : start + scoring.batch_size]
        found += _batch(loaded, batch, [_encoded(loaded, row, scoring.cutoff_len) for row in batch])
        say_progress(len(found), len(rows))
    return found


def _encoded(loaded: Loaded, row: ScoredRow, cutoff_len: int) -> Encoded:
    if not row.messages:
        return encode_text(loaded.tokenizer, row.answer, cutoff_len=cutoff_len)[0]
    messages = messages_of(loaded, row)
    encoded = encode(loaded.tokenizer, [*messages, row.reference], row.tools, cutoff_len=cutoff_len, mask_history=True)
    refuse_unseen(loaded, row, messages, encoded.input_ids, cutoff_len)
    return encoded


@torch.inference_mode()
def _batch(loaded: Loaded, rows: Sequence[ScoredRow], encoded: list[Encoded]) -> list[float]:
    padded = loaded.tokenizer.pad({"input_ids": [row.input_ids for row in encoded]}, padding_side="right", return_tensors="pt").to(loaded.model.device)
    length = padded["input_ids"].shape[1]
    labels_BT = torch.tensor([[*row.labels, *[IGNORED_LABEL] * (length - len(row.labels))] for row in encoded], device=loaded.model.device)
    seen = seen_inputs(loaded, rows, padded["input_ids"], (labels_BT != IGNORED_LABEL).cumsum(dim=1) == 0)
    # Learned tokens in front of the text have no label.
    logits_BTV = loaded.model(**padded, **seen).logits[:, -length:].float()
    losses_BT = torch.nn.functional.cross_entropy(logits_BTV[:, :-1].transpose(1, 2), labels_BT[:, 1:], ignore_index=IGNORED_LABEL, reduction="none")
    num_B = (labels_BT[:, 1:] != IGNORED_LABEL).sum(dim=1).clamp(min=1)
    return [perplexity(loss) for loss in (losses_BT.sum(dim=1) / num_B).tolist()]
