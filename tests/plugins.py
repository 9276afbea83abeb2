"""Packages with data plugins, as if they had been installed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dtx_tasks.records import PluginSource

if TYPE_CHECKING:
    import pytest

KEEP = "def run(rows, parameters):\n    yield from rows\n"


@dataclass(frozen=True)
class Packages:
    """A folder that packages are looked for in, before all others."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch

    def add(self, name: str, code: str = KEEP, *, entry: str = "", package: str = "", declared: str | None = None, **declaration: Any) -> None:
        """Installs a package with one plugin.

        Args:
            name: Of the plugin.
            code: Of its module, which defines `run`.
            entry: The value of its entry point, where that is to be another one.
            package: Its name; by default one of the plugin's.
            declared: The text of its declaration, where that is to be no right one; empty for none at all.
            declaration: What stands below its name: version 1 where there is nothing.
        """
        package = package or f"of_{name.replace('-', '_')}"
        inner = self.folder / package
        inner.mkdir(parents=True)
        (inner / "__init__.py").touch()
        (inner / "plugin.py").write_text(code)
        text = json.dumps({name: {"version": "1", **declaration}}) if declared is None else declared
        if text:
            (inner / "dtx_plugin.yaml").write_text(text)
        facts = self.folder / f"{package}-1.dist-info"
        facts.mkdir()
        (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n")
        (facts / "entry_points.txt").write_text(f"[dtx.data_plugins]\n{name} = {entry or f'{package}.plugin:run'}\n")
        self.monkeypatch.syspath_prepend(self.folder)


def make_use(name: str, version: str = "1", **parameters: Any) -> PluginSource:
    """A plugin as a plan names it."""
    return PluginSource(name=name, version=version, parameters=parameters)
