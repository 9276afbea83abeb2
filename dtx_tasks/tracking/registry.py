"""MLflow's model registry: one version for one checkpoint, however often it is registered."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from dtx_tasks.errors import TransientError
from dtx_tasks.storage import claim
from dtx_tasks.tracking.server import connect

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlflow.entities.model_registry import ModelVersion

    from dtx_tasks.storage import Claim

WAIT_S = 60.0
DIGEST_TAG = "dtx.checkpoint_digest"


def register_version(name: str, checkpoint_uri: str, digest: str, alias: str, tags: Mapping[str, str], run_id: str, claim_uri: str) -> str:
    """Registers a checkpoint and points an alias at it.

    Args:
        name: The registered model.
        checkpoint_uri: Where the files are; they stay there.
        digest: Content hash of the checkpoint: a version that carries it is used again.
        alias: Such as `candidate`.
        tags: Lineage.
        run_id: The MLflow run that trained it.
        claim_uri: Keeps two registrations of one name apart.

    Returns:
        The version.

    Raises:
        TransientError: Another registration of this name takes too long.
    """
    with _waited_for(claim_uri):
        found = _version_of(name, digest) or _create(name, checkpoint_uri, {**tags, DIGEST_TAG: digest}, run_id)
        connect().set_registered_model_alias(name, alias, found.version)
        return str(found.version)


def _waited_for(claim_uri: str) -> Claim:
    deadline = time.monotonic() + WAIT_S
    while (held := claim(claim_uri, str(os.getpid()))) is None:
        if time.monotonic() > deadline:
            raise TransientError(f"{claim_uri} is held by another registration.")
        time.sleep(0.5)
    return held


def _version_of(name: str, digest: str) -> ModelVersion | None:
    # The filter language has no escape for quotes, and names may hold them: the tag alone is asked for.
    found = connect().search_model_versions(f"tags.`{DIGEST_TAG}` = '{digest}'")
    return min((version for version in found if version.name == name), key=lambda version: int(version.version), default=None)


def _create(name: str, checkpoint_uri: str, tags: Mapping[str, str], run_id: str) -> ModelVersion:
    from mlflow.exceptions import MlflowException

    client = connect()
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    return client.create_model_version(name, source=checkpoint_uri, run_id=run_id, tags=dict(tags))
