"""What a training process takes of its machine, under the names that MLflow gives such figures."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import psutil
import torch

if TYPE_CHECKING:
    from collections.abc import Callable

MIB = 1 << 20


class Machine:
    """Looks at one process and the machine below it."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._utilization = Gauge("gpu_0_utilization_percentage", torch.cuda.utilization)
        # The first answer is about the time since this one.
        psutil.cpu_percent()

    def figures(self) -> dict[str, float]:
        """Megabytes and percentages, as they are now; those of the GPU where there is one."""
        memory = psutil.virtual_memory()
        return {
            "cpu_utilization_percentage": psutil.cpu_percent(),
            "system_memory_usage_megabytes": round(memory.used / MIB, 1),
            "system_memory_usage_percentage": memory.percent,
            "process_memory_usage_megabytes": round(self._process.memory_info().rss / MIB, 1),
            **(_memory_of_gpu() | self._utilization.read() if torch.cuda.is_available() else {}),
        }


class Gauge:
    """A figure that not every machine has: where it cannot be read that is said once, and training goes on without it.

    Args:
        name: Of the figure.
        look: Reads it.
    """

    def __init__(self, name: str, look: Callable[[], float]) -> None:
        self.name = name
        self._look: Callable[[], float] | None = look

    def read(self) -> dict[str, float]:
        """The figure by its name; nothing where there is none."""
        if self._look is None:
            return {}
        try:
            return {self.name: float(self._look())}
        except _unreadable() as error:
            self._look = None
            message = f"{self.name} is left out: {type(error).__name__}: {error}"
            print(json.dumps({"event": "machine", "message": message}), flush=True)
            return {}


def _unreadable() -> tuple[type[Exception], ...]:
    """What torch raises without pynvml or its driver, and pynvml itself where the driver does not tell, as of a part of a GPU (MIG)."""
    try:
        from pynvml import NVMLError
    except ModuleNotFoundError:
        return ModuleNotFoundError, RuntimeError
    return ModuleNotFoundError, RuntimeError, NVMLError


def _memory_of_gpu() -> dict[str, float]:
    free, total = torch.cuda.mem_get_info()
    return {
        "gpu_0_memory_usage_megabytes": round((total - free) / MIB, 1),
        "gpu_0_memory_usage_percentage": round(100 * (total - free) / total, 1),
        "gpu_0_memory_allocated_peak_megabytes": round(torch.cuda.max_memory_allocated() / MIB, 1),
    }
