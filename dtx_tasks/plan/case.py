"""The case: what the rules of training look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dtx_tasks.spec import Hyperparameters, Resources, Target


@dataclass(frozen=True)
class Case:
    """What a rule looks at.

    Attributes:
        values: The hyperparameters of a group.
        resources: What a pack runs on.
        target: What the backend's machines have; None where nobody has said so: training refuses what it cannot do.
    """

    values: Hyperparameters
    resources: Resources
    target: Target | None

    @property
    def quantised(self) -> str:
        """How the base is quantised; empty where it is not."""
        return self.values.quantization_method if self.values.quantization_bit else ""

    @property
    def without_gpu(self) -> bool:
        """Whether the target is known to have none."""
        return self.target is not None and self.target.accelerator == "none"

    @property
    def shards_weights(self) -> bool:
        """Whether no process has whole weights."""
        return self.resources.deepspeed == "zero3" or self.resources.fsdp

    @property
    def rows_a_process(self) -> int:
        """Rows that one process takes of a step."""
        return self.values.global_batch_size // self.resources.num_processes
