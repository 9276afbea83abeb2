"""What one attempt at one job came to, told by the training process to its parent."""

from __future__ import annotations

from dtx_tasks.errors import DtxError
from dtx_tasks.records import Record


class Outcome(Record):
    """Either what was trained, or what went wrong."""

    error_class: str = ""
    """A class of dtx_tasks.errors; empty when the job is trained."""
    message: str = ""
    hint: str = ""
    num_steps: int = 0
    num_trained_tokens: int = 0
    final_loss: float = 0.0
    best_step: int = 0
    """The step whose weights these are, where that was asked for; 0 for the last one."""
    validation_loss: float | None = None
    """Of these weights; None where it was not measured."""
    num_trained_parameters: int = 0
    num_parameters: int = 0
    train_s: float = 0.0
    peak_memory_bytes: int = 0
    libraries: dict[str, str] = {}


def failed(error: DtxError) -> Outcome:
    """An outcome that tells of an error."""
    return Outcome(error_class=type(error).__name__, message=error.message, hint=error.hint)
