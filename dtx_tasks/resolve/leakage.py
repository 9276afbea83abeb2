"""Rows that are scored on and almost the same as some that are learned from: told, and stopping nothing, since rows made from one pattern are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dtx_tasks.resolve.files import TOO_LARGE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dtx_tasks.resolve.files import ResolvedDataset


def near_leakage(datasets: Mapping[str, ResolvedDataset]) -> Iterator[str]:
    """What an author should know of such rows, over all the Datasets of an experiment; and in which of them nobody has looked.

    Args:
        datasets: By name. Those with bad rows are never learned or scored on; rows of plugins are not known yet, which the plan says.
    """
    # Airflow's parser imports this module, and should not wait for numpy.
    from dtx_tasks.dataset.near import nearly_leaked

    known = {name: dataset for name, dataset in datasets.items() if dataset.scans and not dataset.source.problem}
    signatures = {name: dataset.signatures for name, dataset in known.items() if dataset.signatures}
    found = nearly_leaked({name: dataset.scans for name, dataset in known.items() if dataset.scans and name in signatures}, signatures)
    if found:
        nearest = max(found, key=lambda leak: leak.similarity)
        places = f"{nearest.place} and {nearest.train_place} (similarity about {nearest.similarity:.2f})"
        yield f"{len(found)} rows to score on are almost the same as some that are learned from, most of all {places}"
    large = [name for name in known if name not in signatures]
    if large:
        yield f"In {', '.join(large)} nobody has looked for rows to score on that are almost learned from: {TOO_LARGE}; `dtx dataset check` does"
