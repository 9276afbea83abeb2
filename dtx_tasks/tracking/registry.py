"""MLflow's model registry: one version for one checkpoint, however often it is registered."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from dtx_tasks.storage import claim_within, is_remote, link_folder, local_path, unique_owner
from dtx_tasks.tracking.server import connect

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlflow.entities.model_registry import ModelVersion

WAIT_S = 60.0
ARTIFACT = "checkpoint"
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
        ClaimedError: Another registration of this name takes too long.
    """
    with claim_within(claim_uri, unique_owner(), WAIT_S):
        found = _version_of(name, digest) or _create(name, checkpoint_uri, {**tags, DIGEST_TAG: digest}, run_id)
        connect().set_registered_model_alias(name, alias, found.version)
        return str(found.version)


def _version_of(name: str, digest: str) -> ModelVersion | None:
    # The filter language has no escape for quotes, and names may hold them: the tag alone is asked for.
    found = connect().search_model_versions(f"tags.`{DIGEST_TAG}` = '{digest}'")
    return min((version for version in found if version.name == name), key=lambda version: int(version.version), default=None)


def _as_artifact(checkpoint_uri: str, run_id: str) -> str:
    """Makes a checkpoint an artifact of its run: MLflow takes no other local folder as the source of a version.

    Returns:
        The artifact's URI. `mlflow.artifacts.download_artifacts("models:/NAME@candidate")` brings the files.
        A checkpoint on S3 is its own source.
    """
    if is_remote(checkpoint_uri):
        return checkpoint_uri
    base = str(connect().get_run(run_id).info.artifact_uri)
    if not base.startswith("file:"):
        connect().log_artifacts(run_id, str(local_path(checkpoint_uri)), ARTIFACT)
        return f"runs:/{run_id}/{ARTIFACT}"
    link_folder(checkpoint_uri, f"{unquote(urlsplit(base).path)}/{ARTIFACT}")
    return f"{base}/{ARTIFACT}"


def _create(name: str, checkpoint_uri: str, tags: Mapping[str, str], run_id: str) -> ModelVersion:
    from mlflow.exceptions import MlflowException

    client = connect()
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    return client.create_model_version(name, source=_as_artifact(checkpoint_uri, run_id), run_id=run_id, tags=dict(tags))
