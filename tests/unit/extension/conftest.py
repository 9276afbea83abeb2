"""Plugins for tests."""

from pathlib import Path

import pytest

from tests.plugins import Packages


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Packages:
    """A folder of packages."""
    return Packages(tmp_path / "packages", monkeypatch)
