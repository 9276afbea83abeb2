"""The world that tests of real training share."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.recipes.world import Trial, make_trial

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data and a storage root on which the base is made and the data prepared."""
    folder = tmp_path_factory.mktemp("world")
    make_trial(folder, "the world").ready()
    return folder


@pytest.fixture
def trial(world: Path, request: pytest.FixtureRequest) -> Callable[..., Trial]:
    """Makes experiments on the world, named after the test."""

    def make(*, groups: list[dict[str, object]] | None = None, name: str = request.node.name, **changes: object) -> Trial:
        return make_trial(world, name, groups, **changes)

    return make


@pytest.fixture(scope="session")
def needs_compiler() -> None:
    """DeepSpeed builds an operator when it starts on a CPU."""
    if shutil.which("g++") is None:
        pytest.skip("DeepSpeed on a CPU needs a C++ compiler, and there is no g++")
