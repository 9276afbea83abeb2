"""The places of an experiment's `parallelism`, kept for pods that are still to come: a pod that only finds them taken has cost a GPU for nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dtx_tasks.entrypoints.stages import owner_of, places_of
from dtx_tasks.launch.state import read_document
from dtx_tasks.records import BaseDocument, Layout, Pack

if TYPE_CHECKING:
    from dtx_tasks.storage import Places


def reserve_slot(stage: str, document_uri: str, run_key: str, ttl_s: float) -> bool:
    """Keeps a place for a pod.

    Args:
        stage: What it will run.
        document_uri: What it will run it on.
        run_key: The round of attempts.
        ttl_s: For how long, should the pod never come.

    Returns:
        Whether there is one; always for a stage that needs none.
    """
    found = _places(stage, document_uri)
    return found is None or found.keep(owner_of(stage, document_uri, run_key), ttl_s)


def free_slot(stage: str, document_uri: str, run_key: str) -> None:
    """Gives a place back whose pod has ended, however it ended."""
    found = _places(stage, document_uri)
    if found:
        found.give_back(owner_of(stage, document_uri, run_key))


def _places(stage: str, document_uri: str) -> Places | None:
    document = read_document(stage, document_uri)
    needs_one = stage not in ("fetch", "prepare") and isinstance(document, Pack | BaseDocument)
    return places_of(document, Layout.of(document_uri)) if needs_one and isinstance(document, Pack | BaseDocument) else None
