"""A spec as text again."""

from typing import Any

import pytest
import yaml

from dtx_tasks.spec import dump_text, load_text


@pytest.mark.parametrize(
    "value", ["no", "1e-4", "010", "2026-01-01", "~", "", "a: b", "#", "识别\U0001f600", "a\nb ", "0x1F", "1_000", 1e-05, 1e-4, 3, True, None, ["y", 1.0]]
)
def test_text_reads_as_it_was_written(value: Any) -> None:
    """By this program, and by those that read YAML 1.1."""
    text = dump_text({"name": "x", "value": value})
    assert load_text(text, "x.yaml").data == {"name": "x", "value": value}
    assert yaml.safe_load(text) == {"name": "x", "value": value}
