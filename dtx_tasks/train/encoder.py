"""p-tuning learns a network that makes its tokens; PEFT saves the tokens alone, from which no training goes on (0.21)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from peft import PromptEncoder
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback

if TYPE_CHECKING:
    from transformers import PreTrainedModel, TrainerControl, TrainerState, TrainingArguments

FILE = "prompt_encoder.safetensors"


class KeepEncoder(TrainerCallback):  # type: ignore[misc]
    """Saves that network with every checkpoint, and loads it where a training goes on from one."""

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **_: Any) -> None:
        """Behind the Trainer's own loading."""
        load_encoder(model, Path(args.output_dir) / f"checkpoint-{state.global_step}")

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **_: Any) -> None:
        """Before the checkpoint is vouched for."""
        encoder = _encoder(model)
        if encoder and state.is_world_process_zero:
            save_file(encoder.state_dict(), Path(args.output_dir) / f"checkpoint-{state.global_step}" / FILE)


def load_encoder(model: PreTrainedModel, checkpoint: Path) -> None:
    """Takes the network out of a checkpoint, where there is one.

    Args:
        model: With its adapter.
        checkpoint: The checkpoint's folder.
    """
    encoder = _encoder(model)
    if encoder and (checkpoint / FILE).exists():
        encoder.load_state_dict(load_file(checkpoint / FILE))


def _encoder(model: PreTrainedModel) -> PromptEncoder | None:
    return next((module for module in model.modules() if isinstance(module, PromptEncoder)), None)
