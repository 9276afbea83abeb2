"""What a diverged job says: the step, and the last values that were good."""

from __future__ import annotations

import math
import re

import pytest
from transformers import TrainerState

from dtx_tasks.errors import DivergedError
from dtx_tasks.train.progress import DivergenceGuard


def look(guard: DivergenceGuard, step: int, **logs: float) -> None:
    guard.on_log(None, TrainerState(global_step=step), None, logs)


@pytest.mark.parametrize(
    ("loss", "told"), [(math.nan, "The loss is nan at step 3"), (math.inf, "The loss is inf at step 3"), (99.0, "The loss exploded to 99 at step 3")]
)
def test_step_and_last_good_values_are_told(loss: float, told: str) -> None:
    """What somebody needs to see whether the rate or a row is to blame; the exit code is 76."""
    guard = DivergenceGuard(1000)
    look(guard, 1, loss=6.9, grad_norm=1.0, learning_rate=1e-3)
    look(guard, 2, loss=5.25, grad_norm=88.5, learning_rate=2e-3)
    look(guard, 2, eval_loss=7.0)
    good = "The last good values: loss 5.25, gradient norm 88.5, learning rate 0.002 at step 2."
    with pytest.raises(DivergedError, match=re.escape(f"{told}. {good}")) as caught:
        look(guard, 3, loss=loss, grad_norm=math.nan, learning_rate=3e-3)
    assert caught.value.exit_code == 76


def test_loss_that_is_no_likelihood_has_no_limit() -> None:
    """A preference loss has no scale to explode on; that it is no number is seen."""
    guard = DivergenceGuard(None)
    look(guard, 1, loss=1e6)
    with pytest.raises(DivergedError, match=r"The loss is nan at step 2\. The last good values: loss 1e\+06"):
        look(guard, 2, loss=math.nan)


def test_first_loss_may_be_bad() -> None:
    """Then nothing ever was good."""
    with pytest.raises(DivergedError, match="It never was good"):
        look(DivergenceGuard(1000), 1, loss=math.nan)
