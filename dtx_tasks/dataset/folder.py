"""A folder of row files, read one after the other as one: which files it may hold, and which of them a row stands in."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import PurePath
from typing import TYPE_CHECKING

from dtx_tasks.dataset.read import KINDS_OF_FILES, kind_of_file, read_file
from dtx_tasks.errors import Mistake
from dtx_tasks.storage import list_names, parted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from dtx_tasks.dataset.raw import RawRow, Unreadable

LINES_OF_A_FILE = 1 << 40
"""Lines of the first file of a folder count from here, those of the second from twice as many: a place stays one number for each row."""


SPLIT_OF_NAME = re.compile(r"(?P<split>train|test|validation|valid|val|dev|eval)[-_.]")
"""How the hub's datasets name files of splits that lie in one folder: `train-00000-of-00001.parquet`."""

DOCUMENTATION = re.compile(r"(README|LICENSE).*|.*\.md", re.IGNORECASE)


IMAGES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


class FolderLabel(str):
    """What messages call a folder; unlike the name of a file it knows what stands behind a line.

    Attributes:
        names: Of its files, in the order in which they are read.
    """

    names: tuple[str, ...]


def labelled(path: Path, written: str) -> str:
    """What messages call a file or a folder of rows.

    Args:
        path: Where it is on this machine.
        written: As its author wrote it.
    """
    if not path.is_dir():
        return written
    label = FolderLabel(written.rstrip("/"))
    label.names = tuple(list_names(str(path)))
    return label


def place_of(label: str, line: int) -> tuple[str, int]:
    """The file and the line in it, as a person looks for them; the folder and 1 for what is said of all of its files.

    Args:
        label: As `labelled` gave it.
        line: Of a row of the split.
    """
    number, line_of_file = divmod(line, LINES_OF_A_FILE)
    return (_inside(label, label.names[number - 1]), line_of_file) if number and isinstance(label, FolderLabel) else (label, line)


def _inside(written: str, name: str) -> str:
    """A file of a folder, or of the folder of a pattern."""
    # A pattern without a folder is of this one.
    return f"{parted(f'/{written}')[0].rstrip('/')}/{name}".removeprefix("/")


def said_place(label: str, line: int) -> str:
    """`rows.jsonl:3`."""
    return "{}:{}".format(*place_of(label, line))


def said_line(label: str, line: int) -> str:
    """`line 3` of the same file; of a folder with the file that it is in."""
    file, number = place_of(label, line)
    return f"line {number}" if file == label else f"line {number} of {PurePath(file).name}"


def folder_mistake(names: Sequence[str], written: str) -> Mistake | None:
    """Why the files of a folder cannot be read as one; None where they can.

    Args:
        names: Of all that is in it.
        written: What its author called it.
    """
    kinds = {name: kind_of_file(PurePath(name))[0] for name in names}
    if not names:
        return Mistake("", f"is an empty folder (got {written!r})", f"Put files of rows into it: {', '.join(KINDS_OF_FILES)}.")
    odd = next((name for name, kind in kinds.items() if not kind), None)
    if odd:
        return Mistake("", f"is a folder with something in it that is no file of rows: {odd!r} (got {written!r})", _remedy(names, written))
    splits = {found["split"]: name for name in reversed(names) if (found := SPLIT_OF_NAME.match(name))}
    if len(splits) > 1:
        first = "train" if "train" in splits else min(splits)
        others = ", ".join(repr(splits[word]) for word in sorted(splits) if word != first)
        problem = f"is a folder with rows of several splits: {splits[first]!r} beside {others} (got {written!r})"
        return Mistake("", problem, f"Name those of one split: {_inside(written, splits[first][: len(first) + 1])}*.")
    if len(set(kinds.values())) > 1:
        problem = f"is a folder with files of several kinds: {', '.join(sorted(set(kinds.values())))} (got {written!r})"
        return Mistake("", problem, "Give each kind a folder of its own, or make them one kind: the same rows may be in it twice.")
    return None


def is_of_images(path: Path) -> bool:
    """Whether something beside rows is an image, or a folder of images and nothing else.

    Args:
        path: On this machine.
    """
    if not path.is_dir():
        return path.suffix.lower() in IMAGES
    files = [item for item in path.rglob("*") if item.is_file() and not item.name.startswith(".")]
    return bool(files) and all(item.suffix.lower() in IMAGES for item in files)


def without_documentation(names: Iterable[str]) -> tuple[str, ...]:
    """The names of a dataset's files but for those that tell about it."""
    return tuple(name for name in names if kind_of_file(PurePath(name))[0] or not DOCUMENTATION.fullmatch(name))


def _remedy(names: Sequence[str], written: str) -> str:
    ending = next(("".join(kind_of_file(PurePath(name))) for name in names if kind_of_file(PurePath(name))[0]), "")
    if not ending:
        return "Name the files of rows, or the folder that they are in."
    return f"Give the rows a folder of their own, or name them: {_inside(written, '*' + ending)}."


def folder_of(path: Path) -> Path:
    """The folder that a file of rows is in; a folder of such files is its own.

    Args:
        path: On this machine.
    """
    return path if path.is_dir() else path.parent


def read_rows(path: Path) -> Iterator[RawRow | Unreadable]:
    """The raw rows of a file, or of all files of a folder by name, and the places that cannot be read.

    Args:
        path: As for `read_file`, or a folder of such files.
    """
    return _read_folder(path) if path.is_dir() else read_file(path)


def _read_folder(path: Path) -> Iterator[RawRow | Unreadable]:
    for number, name in enumerate(list_names(str(path)), 1):
        for row in read_file(path / name):
            yield replace(row, line=number * LINES_OF_A_FILE + row.line)
