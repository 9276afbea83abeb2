"""Loss curves."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from dtx_tasks.report.curves import Curve, colour_of, draw, read_curve
from tests.builders import FakeData


def read(folder: Path, *events: dict[str, Any]) -> Curve:
    path = FakeData(folder).text("events.jsonl", "".join(f"{json.dumps(event)}\n" for event in events))
    return read_curve("a", str(path))


def step(number: int, loss: float | None, attempt: int = 1) -> dict[str, Any]:
    return {"event": "step", "step": number, "total": 9, "loss": loss, "attempt": attempt}


def lines_of(svg: str) -> list[ET.Element]:
    return ET.fromstring(svg).findall("{http://www.w3.org/2000/svg}polyline")


def test_losses_are_in_the_order_of_steps(tmp_path: Path) -> None:
    """Events that are no step are none of them."""
    found = read(tmp_path, {"event": "started", "step": 0}, step(2, 1.5), {"event": "checkpoint", "step": 2}, step(1, 2.0))
    assert found.points == ((1, 2.0), (2, 1.5))


def test_steps_of_a_resumed_attempt_replace_the_earlier_ones(tmp_path: Path) -> None:
    """A step counts once, as it went in the end."""
    assert read(tmp_path, step(1, 3.0), step(2, 2.9), step(2, 2.5, 2), step(3, 2.0, 2)).points == ((1, 3.0), (2, 2.5), (3, 2.0))


def test_losses_that_are_no_number_are_left_out(tmp_path: Path) -> None:
    """A diverged job has a curve up to there."""
    assert read(tmp_path, step(1, 3.0), step(2, None)).points == ((1, 3.0),)


def test_job_without_events_has_no_points(tmp_path: Path) -> None:
    """It never started."""
    assert read_curve("a", f"{tmp_path}/none.jsonl").points == ()


@pytest.mark.parametrize("points", [(), ((1, 2.0),)])
def test_fewer_than_two_points_are_no_picture(points: tuple[tuple[float, float], ...]) -> None:
    """There is no line through one point."""
    assert draw([Curve("a", points)]) == ""


def test_every_curve_is_a_line_of_its_own_colour() -> None:
    """A curve of one point between two others takes its colour with it."""
    curves = [Curve("a", ((1, 2.0), (2, 1.0))), Curve("b", ((1, 2.0),)), Curve("c", ((1, 2.0), (2, 1.0)))]
    assert [line.get("stroke") for line in lines_of(draw(curves))] == [colour_of(0), colour_of(2)]


def test_name_of_a_curve_is_text() -> None:
    """SVG in a page would run what stands in it."""
    (line,) = lines_of(draw([Curve("<script>alert(1)</script>", ((1, 2.0), (2, 1.0)))]))
    assert [child.text for child in line] == ["<script>alert(1)</script>"]


def test_losses_of_zero_are_drawn() -> None:
    """A line along the bottom."""
    assert len(lines_of(draw([Curve("a", ((1, 0.0), (2, 0.0)))]))) == 1
