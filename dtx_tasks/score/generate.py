"""Greedy answers to many prompts, a batch at a time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import torch
from transformers import GenerationConfig

from dtx_tasks.score.seen import messages_of, seen_inputs
from dtx_tasks.template import prompt_ids, stop_token_ids

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dtx_tasks.score.load import Loaded
    from dtx_tasks.score.rows import ScoredRow
    from dtx_tasks.spec import Scoring


def answers(loaded: Loaded, rows: Sequence[ScoredRow], scoring: Scoring) -> list[str]:
    """What a model writes to each row's question.

    Args:
        loaded: The model.
        rows: What is asked.
        scoring: Its batch size and length limit.

    Returns:
        As many texts, in the same order.
    """
    prompts = [prompt_ids(loaded.tokenizer, messages_of(loaded, row), row.tools) for row in rows]
    # Prompts of like length together: less padding. Longest first, so that memory runs out at once or never.
    order = sorted(range(len(prompts)), key=lambda index: (-len(prompts[index]), index))
    written = [""] * len(prompts)
    for start in range(0, len(order), scoring.batch_size):
        batch = order[start : start + scoring.batch_size]
        asked = [rows[index] for index in batch]
        for index, text in zip(batch, _batch(loaded, asked, [prompts[index] for index in batch], scoring.max_new_tokens), strict=True):
            written[index] = text
        say_progress(start + len(batch), len(order))
    return written


def say_progress(step: int, total: int) -> None:
    """Says how many rows are judged."""
    print(json.dumps({"event": "scoring", "step": step, "total": total}), flush=True)


@torch.inference_mode()
def _batch(loaded: Loaded, rows: Sequence[ScoredRow], prompts: list[list[int]], max_new_tokens: int) -> list[str]:
    tokenizer = loaded.tokenizer
    padded = tokenizer.pad({"input_ids": prompts}, return_tensors="pt").to(loaded.model.device)
    seen = seen_inputs(loaded, rows, padded["input_ids"], torch.ones_like(padded["input_ids"], dtype=torch.bool))
    config = GenerationConfig(
        do_sample=False,
        max_new_tokens=max_new_tokens,
        eos_token_id=stop_token_ids(tokenizer),
        pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id,
    )
    written = loaded.model.generate(**padded, **seen, generation_config=config)[:, padded["input_ids"].shape[1] :]
    return list(tokenizer.batch_decode(written, skip_special_tokens=True))
