"""Databases for the catalog: a SQLite file, and PostgreSQL where Debian's package is installed."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import psycopg2
import pytest

from dtx_tasks.catalog.store import OwnResources
from tests.postgres import MISSING, postgres, postgres_programs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """A PostgreSQL of its own."""
    if postgres_programs() is None:
        pytest.skip(MISSING)
    with postgres() as address:
        yield address


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'new' / 'catalog.db'}"
    address, name = request.getfixturevalue("server"), f"test_{uuid.uuid4().hex[:12]}"
    connection = psycopg2.connect(f"{address.replace('+psycopg2', '')}/postgres")
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
    connection.close()
    return f"{address}/{name}"


@pytest.fixture
def own(url: str) -> OwnResources:
    """The resources of the team `default` in it."""
    return OwnResources(url, "default")
