"""FSDP2 where accelerate 1.15 leaves something to be said."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from accelerate import DistributedType, PartialState

if TYPE_CHECKING:
    from transformers import Trainer


def shard_on_cpu() -> None:
    """Has accelerate take a CPU for an accelerator: it shards on those only, and would run DDP here without saying so.

    To be called when torch's process group is there, and before the Trainer is made.
    """
    PartialState().distributed_type = DistributedType.MULTI_GPU


def keep_digits(trainer: Trainer) -> None:
    """Sums gradients in fp32, and leaves the loss as the model computes it: accelerate would have both in bf16, where 6.249 is 6.25.

    Args:
        trainer: One that has not begun.
    """
    plugin = trainer.accelerator.state.fsdp_plugin
    if plugin.mixed_precision_policy is not None:
        plugin.mixed_precision_policy = replace(plugin.mixed_precision_policy, reduce_dtype=torch.float32, output_dtype=None)
