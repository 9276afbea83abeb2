"""The `dtx` command, run in this process by somebody who stands in a folder."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from dtx_tasks.cli import main
from tests.builders import FakeData

if TYPE_CHECKING:
    from pathlib import Path


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> FakeData:
    """Makes a folder the working directory, with a configuration and an empty home, and nothing of the machine's own settings."""
    data = FakeData(folder)
    for name in [name for name in os.environ if name.startswith("DTX_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DTX_CONFIG", str(data.config()))
    monkeypatch.setenv("DTX_HOME", str(folder / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(folder)
    return data


def dtx(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The exit code of a command."""
    monkeypatch.setattr(sys, "argv", ["dtx", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)
