"""The figures that a job's events tell of, under the names that people find them by, in MLflow and elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

OF_STEPS = {
    "loss": "train/loss",
    "perplexity": "train/perplexity",
    "lr": "train/learning_rate",
    "grad_norm": "train/grad_norm",
    "tokens_per_s": "train/tokens_per_s",
    "eta_s": "train/eta_s",
}
OF_VALIDATION = {"loss": "eval/loss", "perplexity": "eval/perplexity"}
"""Not `validation/`: scores are called so, and those of the end are others than those on the way."""


def figures(event: Mapping[str, Any]) -> dict[str, float]:
    """What an event measured, by name; nothing for an event that measured nothing.

    Args:
        event: A line of a job's `events.jsonl`.
    """
    if event["event"] not in ("step", "validation"):
        return {}
    names, prefix = (OF_STEPS, "train") if event["event"] == "step" else (OF_VALIDATION, "eval")
    found = {name: event.get(key) for key, name in names.items()}
    found |= {f"{prefix}/{name}": value for name, value in event.get("metrics", {}).items()}
    # MLflow shows what is called so on a page of its own.
    found |= {f"system/{name}": value for name, value in event.get("system", {}).items()}
    return {name: float(value) for name, value in found.items() if value is not None}
