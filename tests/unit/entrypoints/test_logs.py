"""What a stage says is kept on storage."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from dtx_tasks.entrypoints.logs import PART_BYTES, LogCopy, log_folder
from dtx_tasks.storage import list_names, read_bytes

if TYPE_CHECKING:
    from pathlib import Path

SPEAKER = """
import subprocess, sys
from dtx_tasks.entrypoints.logs import kept_log
with kept_log(sys.argv[1]):
    print("said by itself", flush=True)
    subprocess.run([sys.executable, "-c", "import sys; print('said by its child', file=sys.stderr)"])
print("said afterwards", flush=True)
"""


def test_words_of_a_stage_and_of_its_children_are_kept(tmp_path: Path) -> None:
    """And are still said."""
    said = subprocess.run([sys.executable, "-c", SPEAKER, str(tmp_path / "log")], capture_output=True, text=True, check=True).stdout
    assert said == "said by itself\nsaid by its child\nsaid afterwards\n"
    assert read_bytes(f"{tmp_path}/log/0001.log").decode() == "said by itself\nsaid by its child\n"


def test_long_log_is_kept_in_parts(tmp_path: Path) -> None:
    """Only the last one is written again."""
    copy = LogCopy(str(tmp_path))
    for piece in (b"a" * PART_BYTES, b"b" * 10, b"c" * 10):
        copy.add(piece)
        copy.send()
    assert list_names(str(tmp_path)) == ["0001.log", "0002.log"]
    assert read_bytes(f"{tmp_path}/0002.log") == b"b" * 10 + b"c" * 10


def test_calls_have_logs_of_their_own() -> None:
    """In the order in which they were made."""
    first, second = log_folder("e", "train", "a", 0), log_folder("e", "train", "a", 1)
    assert first.startswith("e/logs/train/a/")
    assert first != second
