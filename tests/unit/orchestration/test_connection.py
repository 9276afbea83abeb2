"""The key to storage, from an Airflow connection."""

from __future__ import annotations

import json
import os

import pytest

from dtx_tasks.orchestration.connection import use_connection

NAMES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION")


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, "from the environment")


def test_connection_that_is_named_gives_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Amazon's provider keeps it; what it does not say stays."""
    connection = {"conn_type": "aws", "login": "key", "password": "secret", "extra": {"endpoint_url": "http://s3:9000"}}
    monkeypatch.setenv("AIRFLOW_CONN_STORE", json.dumps(connection))
    monkeypatch.setenv("DTX_S3_CONN_ID", "store")
    use_connection()
    assert [os.environ[name] for name in NAMES] == ["key", "secret", "http://s3:9000", "from the environment"]


def test_without_a_name_the_environment_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a Secret fills it."""
    monkeypatch.delenv("DTX_S3_CONN_ID", raising=False)
    use_connection()
    assert {os.environ[name] for name in NAMES} == {"from the environment"}
