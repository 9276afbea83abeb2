"""The format of a file whose author names none, by its first rows."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from dtx_tasks.dataset.fields import truth
from dtx_tasks.dataset.folder import read_rows
from dtx_tasks.dataset.raw import RawRow
from dtx_tasks.spec import Columns

if TYPE_CHECKING:
    from pathlib import Path

    from dtx_tasks.spec import Format, Kind

LOOKED_AT = 20
"""Rows whose columns are looked at: the first may lack what is optional."""

OPTIONAL_OF_ALPACA = ("system", "history", "tools", "images", "videos", "audios")


def detect(path: Path) -> tuple[Format, Kind | None, Columns]:
    """The likely format, kind and columns of a file; alpaca where nothing speaks for another one.

    Args:
        path: The file.
    """
    rows = _first_rows(path)
    seen = {str(name) for row in rows for name in row}
    for name in ("messages", "conversations"):
        if name in seen:
            return _turns(name, next((row[name] for row in rows if row.get(name)), None), rows)
    if "prompt" in seen and "instruction" not in seen:
        return "prompt_completion", None if "completion" in seen else "prompts", Columns()
    if seen == {"text"} or ("text" in seen and not seen & {"instruction", "output"}):
        return "text", None, Columns()
    named: dict[str, Any] = {name: name for name in OPTIONAL_OF_ALPACA if name in seen}
    kind, label = _kind(rows)
    return "alpaca", kind, Columns(**named, **label)


def columns_of_file(path: Path) -> set[str] | None:
    """The columns of a file's first rows; None where it cannot be read."""
    return {str(name) for row in _first_rows(path) for name in row} or None


def _first_rows(path: Path) -> list[dict[str, Any]]:
    return [raw.values for raw in islice(read_rows(path), LOOKED_AT) if isinstance(raw, RawRow) and isinstance(raw.values, dict)]


def _turns(name: str, turns: Any, rows: list[dict[str, Any]]) -> tuple[Format, Kind | None, Columns]:
    first = turns[0] if isinstance(turns, list) and turns else None
    row_format: Format = "openai" if isinstance(first, dict) and "role" in first else "sharegpt"
    kind, label = _kind(rows)
    return row_format, kind, Columns(messages=name, **label)


def _kind(rows: list[dict[str, Any]]) -> tuple[Kind | None, dict[str, Any]]:
    seen = {name for row in rows for name in row}
    if {"chosen", "rejected"} <= seen:
        return "preferences", {}
    if "kto_tag" in seen:
        return "labels", {"kto_tag": "kto_tag"}
    # A column of this name may as well say what a row is about.
    labels = [row["label"] for row in rows if row.get("label") is not None]
    is_label = bool(labels) and all(truth(label) is not None for label in labels)
    return ("labels", {"kto_tag": "label"}) if is_label else (None, {})
