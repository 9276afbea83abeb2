"""Columns that an author names although rows may do without them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dtx_tasks.spec import Columns
from tests.reading import checked

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("columns", "problem"), [({"input": "contxt"}, "contxt: no row has this column"), ({"system": "role"}, "role: no row has this column")]
)
def test_named_column_that_no_row_has_is_a_mistake(tmp_path: Path, columns: dict[str, str], problem: str) -> None:
    """A name that fits no row is misspelt; a mapping that was written to a plan and read again says the same."""
    path = tmp_path / "rows.jsonl"
    path.write_text('{"instruction": "a", "output": "b"}\n')
    for read in (Columns(**columns), Columns.model_validate_json(Columns(**columns).model_dump_json())):
        (found,) = checked(path, columns=read).findings.of("error")
        assert str(found).startswith(f"rows.jsonl:1: {problem}")


def test_default_column_may_be_in_no_row(tmp_path: Path) -> None:
    """Most files have no `input`."""
    path = tmp_path / "rows.jsonl"
    path.write_text('{"instruction": "a", "output": "b"}\n')
    assert checked(path, columns=Columns.model_validate_json(Columns().model_dump_json())).findings.counts == {}
