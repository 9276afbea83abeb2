"""What a training process takes of its machine, under the names that MLflow gives such figures."""

from __future__ import annotations

import psutil
import torch

MIB = 1 << 20


class Machine:
    """Looks at one process and the machine below it."""

    def __init__(self) -> None:
        self._process = psutil.Process()
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
            **_of_gpu(),
        }


def _of_gpu() -> dict[str, float]:
    if not torch.cuda.is_available():
        return {}
    free, total = torch.cuda.mem_get_info()
    return {
        "gpu_0_memory_usage_megabytes": round((total - free) / MIB, 1),
        "gpu_0_memory_usage_percentage": round(100 * (total - free) / total, 1),
        "gpu_0_memory_allocated_peak_megabytes": round(torch.cuda.max_memory_allocated() / MIB, 1),
        "gpu_0_utilization_percentage": float(torch.cuda.utilization()),
    }
