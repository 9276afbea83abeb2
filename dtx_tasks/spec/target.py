"""The target: what the machines of a backend have. Planning reads it and probes nothing."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dtx_tasks.spec.base import SpecModel


class Target(SpecModel):
    """What training can count on; `dtx doctor` writes and verifies it."""

    accelerator: Literal["none", "cuda"] = "none"
    """What trains: CPUs alone, or NVIDIA GPUs."""

    count: Annotated[int, Field(ge=0)] = 0
    """Accelerators of each machine."""

    memory_gib: Annotated[float, Field(ge=0)] = 0.0
    """Memory of each accelerator, in GiB."""

    compute_capability: Annotated[float, Field(ge=0)] = 0.0
    """Of CUDA: 8.0 for an A100, 9.0 for an H100."""

    libraries: tuple[str, ...] = ()
    """What is installed beside the trainer's own libraries, such as `flash_attn`."""
