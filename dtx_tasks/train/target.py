"""What a machine has to train by. `dtx doctor` asks on its own machine, and by this program in a pod."""

from __future__ import annotations

from importlib.util import find_spec

from dtx_tasks.spec import Target

LIBRARIES = ("flash_attn",)
"""What a hyperparameter may ask for and the trainer's own libraries do not bring."""


def measured() -> Target:
    """The GPUs that torch can use, the memory of the smallest of them, and libraries that are not everywhere."""
    import torch

    libraries = tuple(name for name in LIBRARIES if find_spec(name))
    gpus = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    if not gpus:
        return Target(libraries=libraries)
    return Target(
        accelerator="cuda",
        count=len(gpus),
        memory_gib=round(min(gpu.total_memory for gpu in gpus) / 2**30, 1),
        compute_capability=min(float(f"{gpu.major}.{gpu.minor}") for gpu in gpus),
        libraries=libraries,
    )


if __name__ == "__main__":
    print(measured().model_dump_json())
