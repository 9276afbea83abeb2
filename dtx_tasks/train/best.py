"""The step of the lowest validation loss: kept whenever it comes, and loaded in the end where that is wanted."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from dtx_tasks.train.encoder import load_encoder

if TYPE_CHECKING:
    from transformers import Trainer, TrainerControl, TrainerState, TrainingArguments


class KeepBest(TrainerCallback):  # type: ignore[misc]
    """A checkpoint of every step whose validation loss is the lowest so far, so that saving need not keep time with measuring."""

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Finds the best checkpoint again, which may have been written on another machine."""
        best = Path(args.output_dir) / f"checkpoint-{state.best_global_step}"
        if state.best_global_step and best.is_dir():
            state.best_model_checkpoint = str(best)

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, metrics: Any = None, **_: Any) -> None:
        """Compares with the best before; the Trainer itself does so a moment later. What the last step made is handed on anyway."""
        is_best = metrics["eval_loss"] < (math.inf if state.best_metric is None else state.best_metric)
        if is_best and state.global_step < state.max_steps:
            control.should_save = True


def load_best(trainer: Trainer) -> None:
    """Puts the weights of the best step in place of those of the last one, on every rank.

    Args:
        trainer: It has trained, and measured the validation loss on the way.
    """
    if 0 < (trainer.state.best_global_step or 0) < trainer.state.global_step:
        # TrainingArguments.load_best_model_at_end wants save_steps to be a multiple of eval_steps (transformers 5.23); KeepBest does not.
        trainer._load_best_model()
        load_encoder(trainer.model, Path(trainer.state.best_model_checkpoint))
