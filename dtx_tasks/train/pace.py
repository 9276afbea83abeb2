"""How long a training still takes, from what its steps and its pauses have taken so far; the clock is the caller's."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

SHARE_OF_A_STEP = 1 / 3
"""A forward pass costs a third of a step: the backward pass takes twice as much (Kaplan et al. 2020, section 2.1)."""

LEFT_OUT = 0.5
"""The share of an attempt's steps, its first ones, that say nothing: compilation, caches and memory make them slow."""


@dataclass
class Pause:
    """Something that stops the steps every so often.

    Attributes:
        every: Steps between two of them; 0 where there are none.
        steps_worth: What one is expected to take, in steps, before there was one.
        at_the_end: Whether there is one behind the last step too.
        taken_s: What each took so far.
    """

    every: int = 0
    steps_worth: float = 0.0
    at_the_end: bool = False
    taken_s: list[float] = field(default_factory=list)

    def left_s(self, step: int, total: int, step_s: float) -> float:
        """Seconds of those from this step on, its own included."""
        if not self.every:
            return 0.0
        due = (total - 1) // self.every - (step - 1) // self.every + self.at_the_end
        one_s = sum(self.taken_s) / len(self.taken_s) if self.taken_s else self.steps_worth * step_s
        return due * one_s


@dataclass
class Pace:
    """The steps of one attempt.

    Attributes:
        total: Steps of the whole training.
        marks: (step, seconds of work) behind each step, pauses not counted; the first one where the attempt began.
        pauses: What comes between the steps.
    """

    total: int
    marks: list[tuple[int, float]]
    pauses: tuple[Pause, ...] = ()

    @property
    def work_s(self) -> float:
        """Seconds of work in this attempt."""
        return self.marks[-1][1] - self.marks[0][1]

    def step_s(self) -> float | None:
        """Seconds of one step, by the later ones of this attempt; None before the first."""
        first, last = self.marks[0][0], self.marks[-1][0]
        if last == first:
            return None
        begin = bisect_left(self.marks, (first + int((last - first) * LEFT_OUT), 0.0))
        (step, before_s), (_, now_s) = self.marks[begin], self.marks[-1]
        return (now_s - before_s) / (last - step)

    def left_s(self) -> float | None:
        """Seconds until the last step and the last pause are over; None before the first step."""
        step_s, step = self.step_s(), self.marks[-1][0]
        if step_s is None:
            return None
        return step_s * (self.total - step) + sum(pause.left_s(step, self.total, step_s) for pause in self.pauses)
