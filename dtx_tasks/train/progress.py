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
from transformers.trainer_utils import rotate_checkpoints

from dtx_tasks.errors import DivergedError, TransientError
from dtx_tasks.perplexity import perplexity
from dtx_tasks.settings import grace_s
from dtx_tasks.storage import append_line
from dtx_tasks.train.checkpoint import mark_complete
from dtx_tasks.train.machine import Machine
from dtx_tasks.train.pace import Pace, Pause

if TYPE_CHECKING:
    from types import FrameType

    from transformers import TrainerControl, TrainerState, TrainingArguments

EXPLODED = 3.0
"""A loss of so many times that of guessing has exploded; where guessing costs ln(vocabulary)."""


class Progress(TrainerCallback):  # type: ignore[misc]
    """A JSON line for each interval, validation and checkpoint: figures of the model and of the machine, and the seconds left.

    Args:
        events_uri: Where the lines go, on this machine.
        attempt: Its number.
        written_by: The processes and the sharding, for checkpoints.
        node: The machine, from 0.
        is_likelihood: Whether the loss is a cross entropy over the vocabulary, so that it has a perplexity.
        evaluations: What is expected of a validation.
    """

    def __init__(self, events_uri: str, attempt: int, written_by: str, node: int, *, is_likelihood: bool, evaluations: Pause) -> None:
        self.events_uri = events_uri
        self.attempt = attempt
        self.written_by = written_by
        self.node = node
        self.is_likelihood = is_likelihood
        self.machine = Machine()
        self.evaluations, self.saves = evaluations, Pause()
        self.pace = Pace(0, [(0, 0.0)])
        self.paused_s, self.paused_at, self.first_tokens = 0.0, 0.0, 0.0

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Notes where this attempt begins."""
        self.evaluations.every = state.eval_steps if args.eval_strategy == "steps" else 0
        self.saves.every = state.save_steps
        self.pace = Pace(state.max_steps, [(state.global_step, time.monotonic())], (self.evaluations, self.saves))
        self.first_tokens = float(state.num_input_tokens_seen)
        self._say(state, {"event": "started"})

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """The clock of the steps stands still until the next one."""
        self.paused_at = time.monotonic()
        self.pace.marks.append((state.global_step, self.paused_at - self.paused_s))

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, Any] | None = None, **_: Any) -> None:
        """Writes the interval's figures, or those of a validation."""
        if logs and "loss" in logs:
            tokens = float(state.num_input_tokens_seen) - self.first_tokens
            left_s = self.pace.left_s()
            known = {
                "lr": _plain(logs.get("learning_rate", 0.0)),
                "grad_norm": _plain(logs.get("grad_norm", 0.0)),
                "tokens_per_s": round(tokens / max(1e-6, self.pace.work_s), 1),
                "eta_s": None if left_s is None else round(left_s, 1),
                "system": self.machine.figures(),
            }
            self._say(state, {"event": "step", **self._measured(logs, ""), **known})
        elif logs and "eval_loss" in logs:
            self._say(state, {"event": "validation", **self._measured(logs, "eval_")})

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """How long that took."""
        self._resume(self.evaluations)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Vouches for the checkpoint that was just written."""
        # Every rank writes its own random state.
        _wait_for_all()
        if state.is_local_process_zero:
            mark_complete(Path(args.output_dir) / f"checkpoint-{state.global_step}", self.written_by, self.node)
        self._resume(self.saves)
        self._say(state, {"event": "checkpoint"})

    def _resume(self, pause: Pause) -> None:
        now = time.monotonic()
        pause.taken_s.append(now - self.paused_at)
        self.paused_s += now - self.paused_at
        self.paused_at = now

    def _measured(self, logs: dict[str, Any], prefix: str) -> dict[str, Any]:
        """The loss, and what else the stage's trainer tells of the model: rewards, margins, entropy."""
        loss = _plain(logs[f"{prefix}loss"])
        likelihood = {"perplexity": _plain(perplexity(loss))} if self.is_likelihood and loss is not None else {}
        others = {name.removeprefix(prefix): _plain(value) for name, value in logs.items() if name.startswith(prefix) and _is_of_the_model(name, value)}
        return {"loss": loss, **likelihood, "metrics": others}

    def _say(self, state: TrainerState, event: dict[str, Any]) -> None:
        if state.is_world_process_zero:
            place = {"step": state.global_step, "total": state.max_steps, "attempt": self.attempt}
            line = json.dumps({"event": event["event"], **place, **event, "at": round(time.time(), 3)})
            append_line(self.events_uri, line)
            print(line, flush=True)


OWN = ("loss", "learning_rate", "grad_norm", "epoch", "num_input_tokens_seen", "num_tokens", "runtime", "samples_per_second", "steps_per_second", "step_time")
"""Figures of the Trainer's that are said under another name, or follow from the others."""


def _is_of_the_model(name: str, value: Any) -> bool:
    return isinstance(value, int | float) and not name.startswith("train_") and name.removeprefix("eval_") not in OWN


class DivergenceGuard(TrainerCallback):  # type: ignore[misc]
    """Ends a job whose loss is no number any more, or far beyond what guessing costs."""

    def __init__(self, vocabulary_size: int | None) -> None:
        # A loss that is no cross entropy has no such scale.
        self.limit = EXPLODED * math.log(vocabulary_size) if vocabulary_size else math.inf
        self.last_good = "It never was good"

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, Any] | None = None, **_: Any) -> None:
        """Looks at every loss; all ranks see the same one."""
        if not logs or "loss" not in logs:
            return
        loss, grad_norm, rate = (float(logs.get(name, math.nan)) for name in ("loss", "grad_norm", "learning_rate"))
        if not math.isfinite(loss):
            raise DivergedError(f"The loss is {loss} at step {state.global_step}. {self.last_good}.", "Try a lower learning rate, or compute_type: fp32.")
        if loss > self.limit:
            told = f"The loss exploded to {loss:.3g} at step {state.global_step}. {self.last_good}."
            raise DivergedError(told, "Try a lower learning rate or a longer warmup.")
        self.last_good = f"The last good values: loss {loss:.4g}, gradient norm {grad_norm:.3g}, learning rate {rate:.3g} at step {state.global_step}"


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


class KeepNewest(TrainerCallback):  # type: ignore[misc]
    """Removes old checkpoints when the new one is vouched for: killed in between, a training goes on from an old one.

    Args:
        num_kept: How many stay; the best is one of them wherever it is known.
    """

    def __init__(self, num_kept: int) -> None:
        self.num_kept = num_kept

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """As the Trainer itself would do before, by age: the half of one that a killed attempt left may have a higher number."""
        # Every machine vouches for its own part.
        _wait_for_all()
        if state.is_world_process_zero:
            rotate_checkpoints(args.output_dir, self.num_kept, state.best_model_checkpoint, use_mtime=True)


def _wait_for_all() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.barrier()


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
