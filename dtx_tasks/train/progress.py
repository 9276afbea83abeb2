"""What training says while it runs, and when it must stop."""

from __future__ import annotations

import json
import math
import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback

from dtx_tasks.errors import DivergedError, TransientError
from dtx_tasks.settings import grace_s
from dtx_tasks.storage import append_line
from dtx_tasks.train.checkpoint import mark_complete

if TYPE_CHECKING:
    from types import FrameType

    from transformers import TrainerControl, TrainerState, TrainingArguments

EXPLODED = 3.0
"""A loss of so many times that of guessing has exploded; where guessing costs ln(vocabulary)."""


class Progress(TrainerCallback):  # type: ignore[misc]
    """One JSON line an interval: step, total, loss, learning rate, gradient norm, tokens a second, seconds left."""

    def __init__(self, events_uri: str, attempt: int, written_by: str, node: int) -> None:
        self.events_uri = events_uri
        self.written_by = written_by
        self.node = node
        self.attempt = attempt
        self.started_at = time.time()
        self.first_step = 0
        self.first_tokens = 0.0

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Notes where this attempt begins."""
        self.started_at, self.first_step = time.time(), state.global_step
        self.first_tokens = float(state.num_input_tokens_seen)
        self._say(state, {"event": "started", "step": state.global_step, "total": state.max_steps, "attempt": self.attempt})

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, Any] | None = None, **_: Any) -> None:
        """Writes the interval's figures."""
        if not logs or "loss" not in logs:
            return
        elapsed_s = max(1e-6, time.time() - self.started_at)
        done = max(1, state.global_step - self.first_step)
        tokens = float(state.num_input_tokens_seen) - self.first_tokens
        self._say(
            state,
            {
                "event": "step",
                "step": state.global_step,
                "total": state.max_steps,
                "loss": _plain(logs["loss"]),
                "lr": _plain(logs.get("learning_rate", 0.0)),
                "grad_norm": _plain(logs.get("grad_norm", 0.0)),
                "tokens_per_s": round(tokens / elapsed_s, 1),
                "eta_s": round(elapsed_s / done * (state.max_steps - state.global_step), 1),
                "attempt": self.attempt,
            },
        )

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Vouches for the checkpoint that was just written."""
        if torch.distributed.is_initialized():
            # Every rank writes its own random state.
            torch.distributed.barrier()
        if state.is_local_process_zero:
            mark_complete(Path(args.output_dir) / f"checkpoint-{state.global_step}", self.written_by, self.node)
        self._say(state, {"event": "checkpoint", "step": state.global_step, "total": state.max_steps, "attempt": self.attempt})

    def _say(self, state: TrainerState, event: dict[str, Any]) -> None:
        if state.is_world_process_zero:
            line = json.dumps({**event, "at": round(time.time(), 3)})
            append_line(self.events_uri, line)
            print(line, flush=True)


class DivergenceGuard(TrainerCallback):  # type: ignore[misc]
    """Ends a job whose loss is no number any more, or far beyond what guessing costs."""

    def __init__(self, vocabulary_size: int | None) -> None:
        # A loss that is no cross entropy has no such scale.
        self.limit = EXPLODED * math.log(vocabulary_size) if vocabulary_size else math.inf

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, Any] | None = None, **_: Any) -> None:
        """Looks at every loss; all ranks see the same one."""
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            raise DivergedError(f"The loss is {loss} at step {state.global_step}.", "Try a lower learning rate, or compute_type: fp32.")
        if loss > self.limit:
            raise DivergedError(f"The loss exploded to {loss:.3g} at step {state.global_step}.", "Try a lower learning rate or a longer warmup.")


class StopRequest(TrainerCallback):  # type: ignore[misc]
    """On SIGTERM: one more checkpoint, then the end."""

    def __init__(self) -> None:
        self.is_wanted = False
        self._before = signal.signal(signal.SIGTERM, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.is_wanted = True
        # The parent may be gone: nobody else would end a process that hangs before its next step.
        watch = threading.Timer(grace_s() * 2 / 3, os._exit, [TransientError.exit_code])
        watch.daemon = True
        watch.start()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Stops every rank at the same step, whichever of them was told."""
        if any_rank(self.is_wanted, args):
            self.is_wanted = control.should_save = control.should_training_stop = True
        if state.global_step >= state.max_steps:
            # The Trainer saves once more at the end; resumed from there it would take one step too many (transformers 5.23).
            control.should_save = False

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Gives the signal back."""
        signal.signal(signal.SIGTERM, self._before)


class SaveByClock(TrainerCallback):  # type: ignore[misc]
    """A checkpoint whenever so many minutes went by since the last one."""

    def __init__(self, minutes: float | None) -> None:
        self.interval_s = minutes * 60 if minutes else math.inf
        self.saved_at = time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """All ranks save at the same step, whichever clock is first."""
        if not math.isinf(self.interval_s) and any_rank(time.monotonic() - self.saved_at > self.interval_s, args):
            control.should_save = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Counts from here on."""
        self.saved_at = time.monotonic()


def any_rank(is_so: bool, args: TrainingArguments) -> bool:
    """Whether it is so on any rank: what is collective must be done by all of them or by none."""
    if args.world_size == 1:
        return is_so
    flag = torch.tensor(float(is_so), device=args.device)
    torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX)
    return bool(flag.item())


def _plain(value: Any) -> float | None:
    """A number that JSON can hold; None for NaN and infinity."""
    number = float(value)
    return round(number, 8) if math.isfinite(number) else None
