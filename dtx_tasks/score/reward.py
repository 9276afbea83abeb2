"""Whether a reward model rates the better answer higher."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from dtx_tasks.score.generate import say_progress
from dtx_tasks.template import encode_answers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dtx_tasks.score.load import Loaded
    from dtx_tasks.score.rows import ScoredRow
    from dtx_tasks.spec import Scoring


def margins(loaded: Loaded, rows: Sequence[ScoredRow], scoring: Scoring) -> list[float]:
    """How much higher the better answer of each row is rated than the worse one.

    Args:
        loaded: A reward model.
        rows: Preferences.
        scoring: Its batch size and length limit.

    Returns:
        As many differences, in the same order.
    """
    found: list[float] = []
    # Both answers are in a batch.
    num_rows = max(1, scoring.batch_size // 2)
    for start in range(0, len(rows), num_rows):
        batch = rows[start : start + num_rows]
        pairs = [encode_answers(loaded.tokenizer, row.messages, _both(row), row.tools, cutoff_len=scoring.cutoff_len) for row in batch]
        ids = [[*pair.prompt_ids, *answer] for pair in pairs for answer in pair.answer_ids]
        rewards_P2 = _rewards(loaded, ids).view(-1, 2)
        found += [float(value) for value in rewards_P2[:, 0] - rewards_P2[:, 1]]
        say_progress(len(found), len(rows))
    return found


def _both(row: ScoredRow) -> list[dict[str, Any]]:
    assert row.rejected is not None
    return [row.reference, row.rejected]


@torch.inference_mode()
def _rewards(loaded: Loaded, ids: list[list[int]]) -> torch.Tensor:
    padded = loaded.tokenizer.pad({"input_ids": ids}, padding_side="right", return_tensors="pt").to(loaded.model.device)
    rewards: torch.Tensor = loaded.model(**padded).logits[:, 0].float()
    return rewards
