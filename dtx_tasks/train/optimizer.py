"""Optimisers that the Trainer does not make by a name alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peft.optimizers import create_loraplus_optimizer

from dtx_tasks.spec import PROJECTED

if TYPE_CHECKING:
    from transformers import Trainer

    from dtx_tasks.spec import Hyperparameters


def use_own_optimizer(trainer: Trainer, values: Hyperparameters) -> None:
    """Gives a trainer LoRA+, whose two halves of an adapter learn at different rates; any other optimiser it makes by itself."""
    if values.loraplus_lr_ratio is None:
        return
    kind, options = trainer.get_optimizer_cls_and_kwargs(trainer.args, trainer.model)
    options |= {"loraplus_weight_decay": values.weight_decay}
    trainer.optimizer = create_loraplus_optimizer(trainer.model, kind, loraplus_lr_ratio=values.loraplus_lr_ratio, **options)


def projected_modules(values: Hyperparameters) -> list[str] | str | None:
    """Modules whose gradients galore and apollo project; None for an optimiser that projects none."""
    if values.optim not in PROJECTED:
        return None
    return [name.strip() for name in values.optim_target_modules.split(",")] if values.optim_target_modules else "all-linear"
