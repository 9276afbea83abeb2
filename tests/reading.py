"""The rows of a file for tests, with what was found on the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dtx_tasks.dataset import Findings, Row, RowFile
from dtx_tasks.spec import Columns, Format, Kind, Tags, reading_of

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Checked:
    """What came of a file."""

    rows: list[Row]
    findings: Findings
    ignored_columns: tuple[str, ...]

    @property
    def told(self) -> list[str]:
        """Code and sentence of each finding."""
        return [f"{finding.code}: {finding}" for kept in self.findings.shown.values() for finding in kept]


def checked(
    path: Path, row_format: Format = "alpaca", kind: Kind | None = None, columns: Columns | None = None, tags: Tags | None = None, **named: str | bool
) -> Checked:
    """Reads a file to its end; `named` are columns."""
    file = RowFile(path, path.name, reading_of(row_format, kind, columns or Columns(**named), tags or Tags()))  # type: ignore[arg-type]
    rows = list(file)
    return Checked(rows, file.findings, file.ignored_columns)
