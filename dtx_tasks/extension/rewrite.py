"""Runs the plugins of a Dataset over the rows of a file, one row at a time."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator
from copy import deepcopy
from typing import TYPE_CHECKING, Any, cast

from dtx_tasks.dataset import Problem, RawRow, RewriteError
from dtx_tasks.errors import DtxError, SpecError
from dtx_tasks.extension.declaration import broken, declaration_of, entry_point_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dtx_tasks.dataset import Rewrite
    from dtx_tasks.extension.plugin import DataPlugin
    from dtx_tasks.records import PluginSource


def rewriter(plugins: Sequence[PluginSource]) -> Rewrite | None:
    """What changes the rows of a file as a Dataset's plugins say; None without plugins. Imports them.

    Args:
        plugins: In the order in which they run.

    Raises:
        SpecError: One is missing here, is here in another version, or cannot be imported.
    """
    loaded = [(plugin, _loaded(plugin)) for plugin in plugins]

    def rewrite(rows: Iterator[RawRow]) -> Iterator[RawRow]:
        for plugin, run in loaded:
            rows = _rewritten(rows, plugin, run)
        return rows

    return rewrite if loaded else None


def _loaded(plugin: PluginSource) -> DataPlugin:
    here = declaration_of(plugin.name).version
    if here != plugin.version:
        problem = f"The plugin {plugin.name!r} has version {here} here, and the experiment was planned with version {plugin.version}."
        raise SpecError(problem, "Install the same version where experiments are planned and where rows are prepared, and start again.")
    try:
        found = entry_point_of(plugin.name).load()
    except Exception as error:  # noqa: BLE001 - importing it may raise anything
        raise broken(plugin.name, f"it cannot be imported: {_last_line(error)}") from None
    if not callable(found):
        raise broken(
            plugin.name, f"its entry point leads to an object of the type {type(found).__name__}", "It must lead to a function of rows and parameters."
        )
    return cast("DataPlugin", found)


def _rewritten(rows: Iterator[RawRow], plugin: PluginSource, run: DataPlugin) -> Iterator[RawRow]:
    taken = _Taken(rows)
    num_made = 0
    try:
        for row in _made(run, taken, plugin):
            num_made += 1
            yield RawRow(taken.line, _checked(row, taken, plugin))
    except (RewriteError, DtxError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - a plugin may raise anything
        hint = "Mend the row, or the plugin."
        raise RewriteError(taken.line, _problem(plugin, f"stopped with {_last_line(error)}", hint)) from None
    if taken.num_rows and not num_made:
        raise RewriteError(1, _problem(plugin, f"left none of {taken.num_rows} rows", "Change its parameters, or leave it out."))


class _Taken:
    """The rows of a file as a plugin takes them.

    Attributes:
        line: Of the row that was taken last.
        num_rows: How many were taken.
    """

    def __init__(self, rows: Iterator[RawRow]) -> None:
        self._rows, self.line, self.num_rows = rows, 1, 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for row in self._rows:
            self.line = row.line
            self.num_rows += 1
            yield row.values


def _made(run: DataPlugin, taken: _Taken, plugin: PluginSource) -> Iterable[object]:
    # A plugin that changes its parameters must not change the record of them.
    made: object = run(iter(taken), deepcopy(plugin.parameters))
    if not isinstance(made, Iterable):
        hint = "A plugin is a generator, or returns a list of rows."
        raise RewriteError(taken.line, _problem(plugin, f"gave a {type(made).__name__} in place of rows", hint))
    return made


def _checked(row: object, taken: _Taken, plugin: PluginSource) -> dict[str, Any]:
    if isinstance(row, dict) and all(isinstance(key, str) for key in row):
        return row
    found = "a dict with keys that are no text" if isinstance(row, dict) else f"a {type(row).__name__}"
    raise RewriteError(taken.line, _problem(plugin, f"made {found}, which is no row", "It must yield dicts as the file holds them."))


def _problem(plugin: PluginSource, message: str, hint: str) -> Problem:
    return Problem(f"plugin {plugin.name}", "plugin_failed", message, hint)


def _last_line(error: Exception) -> str:
    return traceback.format_exception_only(error)[-1].strip()
