"""The seconds that are left, on clocks that the tests make: no test waits."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING

import pytest

from dtx_tasks.train.pace import Pace, Pause

if TYPE_CHECKING:
    from collections.abc import Callable

TOTAL = 300


@dataclass(frozen=True)
class Run:
    """A made-up training.

    Attributes:
        step_s: Seconds of each step, by its number in this attempt.
        evaluation: Steps between two validations, and seconds of one; none by default.
        save: The same of checkpoints.
        first: The step that the attempt resumes from.
        expected_evaluation: What a validation is thought to take, in steps.
    """

    step_s: Callable[[int], float]
    evaluation: tuple[int, float] = (0, 0.0)
    save: tuple[int, float] = (0, 0.0)
    first: int = 0
    expected_evaluation: float = 0.0

    def estimates(self) -> dict[int, tuple[float, float]]:
        """For each step what is said to be left then, and what is."""
        evaluations = Pause(self.evaluation[0], self.expected_evaluation, at_the_end=True)
        saves = Pause(self.save[0])
        pace = Pace(TOTAL, [(self.first, 1000.0)], (evaluations, saves))
        work_s, now, said = 1000.0, 1000.0, dict[int, tuple[float, float]]()
        for step in range(self.first + 1, TOTAL + 1):
            work_s += self.step_s(step - self.first)
            now += self.step_s(step - self.first)
            pace.marks.append((step, work_s))
            left_s = pace.left_s()
            assert left_s is not None
            said[step] = (left_s, now)
            for pause, (every, seconds) in ((evaluations, self.evaluation), (saves, self.save)):
                if every and (step % every == 0 or (step == TOTAL and pause is evaluations)) and not (step == TOTAL and pause is saves):
                    pause.taken_s.append(seconds)
                    now += seconds
        return {step: (left_s, now - at) for step, (left_s, at) in said.items()}

    def worst(self) -> float:
        """The largest share by which an estimate is off, from one third of the attempt on; the last steps, whose seconds are few, are left out."""
        begin = self.first + math.ceil((TOTAL - self.first) / 3)
        return max(abs(left_s / truth - 1) for step, (left_s, truth) in self.estimates().items() if begin <= step <= TOTAL * 0.95)


def uneven(number: int) -> float:
    """Rows of many lengths."""
    return Random(number).uniform(0.5, 1.5)


STEADY = Run(lambda _: 2.0)
RUNS = {
    "steady": STEADY,
    "rows of many lengths": Run(uneven),
    "a first step of compilation": Run(lambda number: 400.0 if number == 1 else 2.0),
    "a slow tenth": Run(lambda number: 10.0 if number <= 30 else 2.0),
    "long validations": replace(STEADY, evaluation=(50, 40.0)),
    "few validations, none seen at one third": replace(STEADY, evaluation=(150, 80.0), expected_evaluation=40.0),
    "a validation at one third": replace(STEADY, evaluation=(100, 60.0), expected_evaluation=30.0),
    "slow checkpoints": replace(STEADY, save=(30, 15.0)),
    "everything at once": Run(lambda number: 100.0 if number == 1 else uneven(number), evaluation=(40, 30.0), save=(25, 10.0)),
    "resumed in the middle": replace(STEADY, first=150, evaluation=(40, 30.0), save=(25, 10.0)),
    "resumed with a slow start": Run(lambda number: 60.0 if number <= 3 else 2.0, first=200),
}


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS.keys())
def test_what_is_left_is_known_within_a_fifth_from_one_third_on(run: Run) -> None:
    """Slow beginnings, pauses and resuming change nothing about that."""
    assert run.worst() < 0.2


def test_steady_steps_are_told_exactly() -> None:
    """Twice the steps, twice the seconds."""
    assert STEADY.estimates()[100] == (400.0, 400.0)


def test_nothing_is_said_before_the_first_step() -> None:
    """There is nothing to say it by."""
    assert Pace(TOTAL, [(7, 0.0)]).left_s() is None


def test_pauses_at_the_end_are_counted() -> None:
    """A validation comes behind the last step too, a checkpoint does not."""
    evaluations, saves = Pause(every=4, at_the_end=True, taken_s=[5.0]), Pause(every=5, taken_s=[3.0])
    assert evaluations.left_s(10, 10, 1.0) == 5.0
    assert saves.left_s(10, 10, 1.0) == 0.0
    assert evaluations.left_s(8, 10, 1.0) == 10.0
