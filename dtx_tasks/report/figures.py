"""Figures as reports and pages show them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dtx_tasks.records import Score

NOTHING = "-"
SMALLEST_CHANCE = 0.001
"""A bootstrap cannot tell a smaller one from 0."""


def score(found: Score | None) -> str:
    """A mean with its standard error."""
    if found is None or found.value is None:
        return "unscored"
    return f"{found.value:.3f}" + (f" ± {found.standard_error:.3f}" if found.standard_error is not None else "")


def figure(value: float | None) -> str:
    """Three decimals."""
    return NOTHING if value is None else f"{value:.3f}"


def signed(value: float | None) -> str:
    """A difference."""
    return NOTHING if value is None else f"{value:+.3f}"


def chance(value: float | None) -> str:
    """A p-value."""
    return "< 0.001" if value is not None and value < SMALLEST_CHANCE else figure(value)


FILTERS = {"score": score, "figure": figure, "signed": signed, "chance": chance}
"""For Jinja templates."""
