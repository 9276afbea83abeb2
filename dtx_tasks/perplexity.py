"""How many tokens a model hesitates between."""

from __future__ import annotations

import math

MOST_NATS = 300.0
"""Of a loss whose perplexity, and its square, a float still holds: means and standard errors are computed of it."""


def perplexity(loss: float) -> float:
    """The exponential of a mean loss; finite, also where the loss is not worth telling any more.

    Args:
        loss: Of a token, in nats.
    """
    return math.exp(min(loss, MOST_NATS))
