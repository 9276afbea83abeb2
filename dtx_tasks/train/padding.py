"""Rows of a batch beside each other with padding, or end to end without."""

from __future__ import annotations

from statistics import mean
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from dtx_tasks.plan.architectures import PACKED
from dtx_tasks.spec import PROMPTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from datasets import Dataset
    from transformers import PretrainedConfig

    from dtx_tasks.spec import Hyperparameters

NUM_LOOKED_AT = 2048
ATTENTION_WIDTHS = 6
"""Attention costs as much as all the rest of a layer at so many times its width of tokens: 4 T h beside 24 h^2 operations a token."""


def lays_end_to_end(config: PretrainedConfig, values: Hyperparameters, rows: Dataset, micro_batch_size: int) -> bool:
    """Whether batches without padding are computed as they should be, and with less work.

    Args:
        config: Of the model.
        values: How it is trained.
        rows: What it learns from, with `input_ids`.
        micro_batch_size: Rows of a batch.
    """
    if micro_batch_size == 1 or config.model_type not in PACKED or values.finetuning_type in PROMPTS:
        return False
    # NEFTune's noise follows from the length of what stands in one line.
    if values.neftune_noise_alpha:
        return False
    if values.flash_attn == "fa2":
        return True
    return end_to_end_costs_less(lengths_of(rows), micro_batch_size, config.get_text_config().hidden_size)


def lengths_of(rows: Dataset) -> list[int]:
    """Tokens of the first rows.

    Args:
        rows: With `input_ids`.
    """
    table = rows.select(range(min(len(rows), NUM_LOOKED_AT))).with_format("arrow")[:]
    found: list[int] = pc.list_value_length(table["input_ids"]).to_pylist()
    return found


def end_to_end_costs_less(lengths: Sequence[int], micro_batch_size: int, width: int) -> bool:
    """Compares the work of both: padding is computed like any token, and end to end each token is held against all others of its batch.

    Args:
        lengths: Tokens of rows, in the order in which they stand.
        micro_batch_size: Rows of a batch.
        width: Of the model.
    """
    batches = [lengths[start : start + micro_batch_size] for start in range(0, len(lengths), micro_batch_size)]
    padded = mean(len(batch) * _cost(max(batch), width) for batch in batches)
    return mean(_cost(sum(batch), width) for batch in batches) < padded


def _cost(num_tokens: int, width: int) -> float:
    """Of one row, in units of what a token costs without attention."""
    return num_tokens * (1 + num_tokens / (ATTENTION_WIDTHS * width))
