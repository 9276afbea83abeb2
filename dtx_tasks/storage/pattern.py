"""Some files of a folder by a pattern: `data/train-*.parquet`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def parted(written: str) -> tuple[str, str]:
    """A path or an address as its folder and the pattern of names in it; without a `*` in its last part it is a folder, and the pattern is empty."""
    folder, _, last = written.rpartition("/")
    return (folder, last) if "*" in last else (written, "")


def chosen(names: Iterable[str], pattern: str) -> list[str]:
    """The names that fit a pattern, where `*` stands for any text; all of them for an empty one."""
    form = re.compile(".*".join(map(re.escape, pattern.split("*"))) if pattern else ".*", re.DOTALL)
    return [name for name in names if form.fullmatch(name)]
