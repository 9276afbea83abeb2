"""The places of an experiment's `parallelism`, kept for pods that are still to come: a pod that only finds them taken has cost a GPU for nothing."""

from __future__ import annotations

from dtx_tasks.entrypoints.stages import owner_of, slot_uris
from dtx_tasks.launch.state import read_document
from dtx_tasks.records import BaseDocument, Layout, Pack
from dtx_tasks.storage import holder, is_remote, reserve


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
    owner, uris = owner_of(stage, document_uri, run_key), _uris(stage, document_uri)
    return not uris or any(holder(uri) == owner for uri in uris) or any(reserve(uri, owner, ttl_s) for uri in uris)


def free_slot(stage: str, document_uri: str, run_key: str) -> None:
    """Gives a place back whose pod has ended, however it ended."""
    owner = owner_of(stage, document_uri, run_key)
    for uri in _uris(stage, document_uri):
        if holder(uri) == owner:
            reserve(uri, owner, 0)


def _uris(stage: str, document_uri: str) -> list[str]:
    document = read_document(stage, document_uri)
    needs_one = stage not in ("fetch", "prepare") and isinstance(document, Pack | BaseDocument) and is_remote(document_uri)
    return slot_uris(document, Layout.of(document_uri)) if needs_one and isinstance(document, Pack | BaseDocument) else []
