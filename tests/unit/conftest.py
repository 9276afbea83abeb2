"""S3 for tests: a server in this process, and the real one of the cluster where the environment leads to it."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

import pytest
from moto.server import ThreadedMotoServer

from dtx_tasks.storage import remove, s3

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SERVERS = ["moto", *(["real"] if {"AWS_ENDPOINT_URL", "KUBECONFIG"} <= os.environ.keys() else [])]


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    """The address of a server in this process."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(params=SERVERS)
def bucket(request: pytest.FixtureRequest, moto_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URI of a fresh bucket; what is brought from there goes below the test's own folder."""
    if request.param == "moto":
        names = {"AWS_ENDPOINT_URL": moto_url, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
        for name, value in names.items():
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("DTX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DTX_SCRATCH", str(tmp_path / "scratch"))
    s3.client.cache_clear()
    name = f"test-{uuid.uuid4().hex[:12]}"
    s3.client().create_bucket(Bucket=name)
    yield f"s3://{name}"
    # What the test itself set must not keep the bucket from being removed.
    monkeypatch.undo()
    s3.client.cache_clear()
    if request.param == "real":
        _remove_bucket(name)


def _remove_bucket(name: str) -> None:
    for item in s3.client().list_objects_v2(Bucket=name, Delimiter="/").get("CommonPrefixes", []):
        remove(f"s3://{name}/{item['Prefix'].rstrip('/')}")
    s3.remove_below(f"s3://{name}", s3.sizes(f"s3://{name}"))
    s3.client().delete_bucket(Bucket=name)
    s3.client.cache_clear()
