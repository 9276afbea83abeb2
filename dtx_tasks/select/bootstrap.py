"""Whether one result is better than another on the same rows, beyond chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Differences_R = NDArray[np.float64]
"""Shape [R], one difference for each row: `_R` is the number of rows."""

NUM_RESAMPLES = 10_000
CHUNK = 500
SEED = 20240607
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Comparison:
    """One result minus another, positive when the first is better.

    Attributes:
        mean: Over the rows.
        lower_bound: One-sided 95 % bound of the mean.
        p: How often chance alone would do as well.
    """

    mean: float
    lower_bound: float
    p: float


def compare(differences_R: Differences_R) -> Comparison:
    """Paired bootstrap over the rows.

    Args:
        differences_R: Shape [R], R >= 1: score of the one minus score of the other, row by row.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapters 13 and 16.
    """
    num_rows = len(differences_R)
    generator = np.random.default_rng(SEED)
    means = np.concatenate([differences_R[generator.integers(num_rows, size=(CHUNK, num_rows))].mean(axis=1) for _ in range(NUM_RESAMPLES // CHUNK)])
    p = (1 + int((means <= 0).sum())) / (1 + NUM_RESAMPLES)
    # A handful of equal rows has no spread to resample: no paired test of R rows can say less than 2^-R.
    return Comparison(float(differences_R.mean()), float(np.quantile(means, 1 - CONFIDENCE)), max(p, 0.5**num_rows))


def holm(p_values: list[float]) -> list[float]:
    """Adjusts p-values for having been tried together.

    Args:
        p_values: Any number of them.

    Returns:
        The adjusted ones, in the same order, at most 1.

    Source: Holm, A simple sequentially rejective multiple test procedure (1979).
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, p_values[index] * (len(p_values) - rank)))
        adjusted[index] = highest
    return adjusted
