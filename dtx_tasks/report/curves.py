"""Loss curves as one self-contained SVG."""

from __future__ import annotations

import json
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from dtx_tasks.storage import read_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

Point = tuple[float, float]

WIDTH, HEIGHT = 760, 300
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 14, 34
NUM_TICKS = 4
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#444444", "#999933")
"""Okabe and Ito's palette: told apart by colour-blind readers too."""


@dataclass(frozen=True)
class Curve:
    """The loss of one job.

    Attributes:
        name: Of the job.
        points: (step, loss), in the order of the steps.
    """

    name: str
    points: tuple[Point, ...]

    @property
    def is_drawable(self) -> bool:
        """Whether there is a line to draw."""
        return len(self.points) > 1


def read_curve(name: str, events_uri: str) -> Curve:
    """The loss that a job's events tell of; a resumed attempt's steps replace the earlier ones."""
    losses: dict[float, float] = {}
    for event in map(json.loads, read_lines(events_uri)[0]):
        if event["event"] == "step" and event.get("loss") is not None:
            losses[event["step"]] = event["loss"]
    return Curve(name, tuple(sorted(losses.items())))


def colour_of(index: int) -> str:
    """The colour of the curve of this index."""
    return COLOURS[index % len(COLOURS)]


def draw(curves: Sequence[Curve]) -> str:
    """The curves in one picture; empty where there is no line to draw."""
    points = [point for curve in curves for point in curve.points]
    if not any(curve.is_drawable for curve in curves):
        return ""
    most_steps, most_loss = max(step for step, _ in points), max(loss for _, loss in points) or 1.0
    lines = [_line(curve, colour_of(index), most_steps, most_loss) for index, curve in enumerate(curves) if curve.is_drawable]
    return "\n".join(
        [
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="training loss by step" xmlns="http://www.w3.org/2000/svg">',
            *_axes(most_steps, most_loss),
            *lines,
            "</svg>",
        ]
    )


def _place(step: float, loss: float, most_steps: float, most_loss: float) -> Point:
    x = LEFT + (WIDTH - LEFT - RIGHT) * step / most_steps
    y = HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * loss / most_loss
    return round(x, 1), round(y, 1)


def _line(curve: Curve, colour: str, most_steps: float, most_loss: float) -> str:
    path = " ".join(f"{x},{y}" for x, y in (_place(step, loss, most_steps, most_loss) for step, loss in curve.points))
    return f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{path}"><title>{escape(curve.name)}</title></polyline>'


def _axes(most_steps: float, most_loss: float) -> list[str]:
    parts = []
    for tick in range(NUM_TICKS + 1):
        share = tick / NUM_TICKS
        x, _ = _place(most_steps * share, 0, most_steps, most_loss)
        _, y = _place(0, most_loss * share, most_steps, most_loss)
        parts.append(f'<line x1="{LEFT}" y1="{y}" x2="{WIDTH - RIGHT}" y2="{y}" class="grid"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{most_loss * share:.3g}</text>')
        parts.append(f'<text x="{x}" y="{HEIGHT - 12}" text-anchor="middle">{most_steps * share:.0f}</text>')
    return parts
