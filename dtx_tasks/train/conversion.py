"""PiSSA begins by changing the base; what is handed on is an adapter on the base as it was."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from dtx_tasks.spec import Hyperparameters


@dataclass(frozen=True)
class Conversion:
    """An adapter that may have to be written as the difference to where it began.

    Attributes:
        model: The model with its adapter.
        beginning: Where the adapter is kept as it began; None where nothing is to be converted, or by another process.
    """

    model: Any
    beginning: Path | None

    def save(self, folder: Path) -> None:
        """Writes the adapter once more, for the base as it was: of twice the rank, and exact."""
        if self.beginning is not None:
            self.model.save_pretrained(folder, path_initial_model_for_weight_conversion=str(self.beginning))


def begin_conversion(model: Any, values: Hyperparameters, work: Path, *, is_main: bool) -> Conversion:
    """Keeps an adapter as it begins, where it took its beginning from the base's own weights.

    Args:
        model: The model with a new adapter.
        values: How the adapter begins.
        work: A folder of this job.
        is_main: Whether this process is rank 0, which alone converts in the end: no other rank writes or waits.
    """
    if not is_main or values.finetuning_type != "lora" or values.init_lora_weights not in ("pissa", "olora"):
        return Conversion(model, None)
    beginning = work / "beginning"
    shutil.rmtree(beginning, ignore_errors=True)
    # PEFT reads it back as an ordinary adapter.
    config = model.peft_config["default"]
    written, config.init_lora_weights = config.init_lora_weights, True
    model.save_pretrained(beginning)
    config.init_lora_weights = written
    return Conversion(model, beginning)
