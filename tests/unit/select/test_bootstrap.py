"""Whether a difference is more than chance."""

import numpy as np
import pytest

from dtx_tasks.select.bootstrap import NUM_RESAMPLES, compare, holm


def test_mean_and_bound_of_equal_differences_are_the_difference() -> None:
    """Nothing varies, so nothing is uncertain; chance is as rare as the resamples can tell."""
    found = compare(np.full(20, 0.5))
    assert (found.mean, found.lower_bound, found.p) == (0.5, 0.5, 1 / (1 + NUM_RESAMPLES))


@pytest.mark.parametrize("num_rows", [1, 2, 3])
def test_handful_of_rows_proves_nothing(num_rows: int) -> None:
    """However large the difference: R rows cannot say less than 2^-R."""
    assert compare(np.full(num_rows, 1.0)).p == 0.5**num_rows


@pytest.mark.parametrize("value", [0.0, -0.5])
def test_no_difference_and_a_loss_are_certainly_chance(value: float) -> None:
    """Every resample is at or below 0."""
    assert compare(np.full(20, value)).p == 1.0


@pytest.mark.parametrize(("differences", "p"), [([0.0, 1.0], 1 / 4), ([-1.0, 1.0, 1.0], 7 / 27), ([-1.0, 1.0], 3 / 4)])
def test_p_is_the_share_of_resamples_that_are_no_better(differences: list[float], p: float) -> None:
    """By hand: of all ways to draw R rows with replacement, those whose mean is at most 0."""
    assert compare(np.array(differences)).p == pytest.approx(p, abs=0.02)


def test_bound_is_that_of_the_normal_distribution_where_rows_are_many() -> None:
    """55 of 100 rows better: 0.55 - 1.645 x sqrt(0.55 x 0.45 / 100) = 0.468."""
    found = compare(np.repeat([1.0, 0.0], [55, 45]))
    assert (found.mean, found.lower_bound) == (pytest.approx(0.55), pytest.approx(0.468, abs=0.012))


def test_comparison_is_the_same_every_time() -> None:
    """A verdict must not change when it is asked for again."""
    differences = np.linspace(-1, 2, 30)
    assert compare(differences) == compare(differences)


def test_holm_adjusts_from_the_smallest_on() -> None:
    """By hand: 0.005 x 4, 0.01 x 3, 0.03 x 2, and 0.04 x 1 raised to the one before."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@pytest.mark.parametrize(("given", "adjusted"), [([], []), ([0.04], [0.04]), ([0.5, 0.9], [1.0, 1.0]), ([0.02, 0.02], [0.04, 0.04])])
def test_holm_at_its_edges(given: list[float], adjusted: list[float]) -> None:
    """None, one, more than certainty, ties."""
    assert holm(given) == pytest.approx(adjusted)
