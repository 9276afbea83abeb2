"""How many optimiser steps a job takes, and of what."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, NamedTuple

from dtx_tasks.spec import REINFORCED

if TYPE_CHECKING:
    from dtx_tasks.records import DatasetSource, FinetuneJob
    from dtx_tasks.spec import Hyperparameters

CHARACTERS_PER_TOKEN = 3.0
"""A rough mean over English (4) and Chinese (1.5): the plan's token counts are estimates."""


class Amount(NamedTuple):
    """What there is to learn from, as far as a plan can know."""

    num_rows: int
    """Blocks of `cutoff_len` tokens where rows are packed: an estimate, until training has packed them."""
    tokens_a_row: float

    def tokens_a_step(self, values: Hyperparameters) -> float:
        """Tokens that one step learns from, padding not counted."""
        if values.stage in REINFORCED:
            return values.global_batch_size * (self.tokens_a_row + values.max_new_tokens)
        return min(values.global_batch_size, max(1, self.num_rows)) * self.tokens_a_row


def amount_of(dataset: DatasetSource, values: Hyperparameters) -> Amount:
    """What a Dataset comes to for a job: plugins may still change it, and where rows are packed it is an estimate.

    Args:
        dataset: What it learns from.
        values: How.
    """
    num_rows, tokens_a_row = num_train_rows(dataset), _tokens_a_row(dataset)
    # A text that is too long is learned in pieces, an answer is cut.
    if values.stage != "pt":
        tokens_a_row = min(tokens_a_row, values.cutoff_len)
    if not values.packing:
        return Amount(num_rows, min(tokens_a_row, values.cutoff_len))
    num_blocks = ceil(num_rows * tokens_a_row / values.cutoff_len)
    return Amount(num_blocks, num_rows * tokens_a_row / max(1, num_blocks))


def num_train_rows(dataset: DatasetSource) -> int:
    """Rows of the train split that are learned from, before plugins."""
    train = dataset.files["train"]
    return min(train.num_rows, dataset.max_samples or train.num_rows)


def _tokens_a_row(dataset: DatasetSource) -> float:
    train = dataset.files["train"]
    return train.num_characters / CHARACTERS_PER_TOKEN / max(1, train.num_rows)


def is_estimate(values: Hyperparameters) -> bool:
    """Whether a plan can only guess the steps: those of an epoch of blocks are known when rows are packed."""
    return values.packing and values.max_steps is None


def prompts_a_step(values: Hyperparameters) -> int:
    """rloo, grpo: different prompts of one step; a step takes all answers to each."""
    return max(1, values.global_batch_size // values.num_generations)


def num_steps(values: Hyperparameters, num_rows: int) -> int:
    """Optimiser steps: whole batches an epoch, the last one as small as it comes.

    Args:
        values: How long, and how many rows a step takes.
        num_rows: Rows to learn from; blocks of them where they are packed.
    """
    if values.max_steps is not None:
        return values.max_steps
    # Prompts that fill no step are left out, another few in each epoch: TRL 1.16, RepeatSampler.
    an_epoch = num_rows // prompts_a_step(values) if values.stage in REINFORCED else ceil(num_rows / values.global_batch_size)
    return max(1, ceil(values.num_train_epochs * an_epoch))


def with_rows(job: FinetuneJob, num_rows: int) -> FinetuneJob:
    """A job for as many rows as there are: plugins may have made other numbers of them, and packing fewer blocks, than were planned with.

    Args:
        job: As it was planned.
        num_rows: Rows to learn from; blocks of them where they are packed.
    """
    return job.model_copy(update={"num_steps": num_steps(job.hyperparameters, num_rows)})
