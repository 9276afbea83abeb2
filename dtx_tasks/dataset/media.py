"""The files of multimodal rows: one for each placeholder, and all of them there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from dtx_tasks.dataset.fields import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dtx_tasks.dataset.row import Row
    from dtx_tasks.spec import Reading

MayLook = Callable[[Path], bool]

PLACEHOLDERS = {"images": "<image>", "videos": "<video>", "audios": "<audio>"}


def media_problems(row: Row, reading: Reading, folder: Path, may_look: MayLook | None) -> Iterator[Problem]:
    """What is wrong with the files of a row.

    Args:
        row: The row.
        reading: Which columns hold them.
        folder: What relative paths count from.
        may_look: Whether a file may be looked for: who asks for one must not learn what else is on this machine. None where they are elsewhere.
    """
    for part, paths in row.files.items():
        column, placeholder = reading.columns[part] or part, PLACEHOLDERS[part]
        wanted = sum(text.count(placeholder) for text in row.texts)
        if wanted != len(paths):
            hint = f"Each file stands where {placeholder} is written."
            yield Problem(column, "file_count", f"{len(paths)} files for {wanted} {placeholder}", hint)
        if any(placeholder in str(answer["content"]) for answer in (row.answer_message, row.rejected) if answer):
            hint = f"Models answer with text: write {placeholder} where the user speaks."
            yield Problem(_column_of_answers(reading), "file_in_answer", f"{placeholder} stands in the answer", hint)
        for path in paths:
            if may_look and "://" not in path and not _is_there(folder / path, may_look):
                yield Problem(column, "missing_file", f"there is no file {path!r}", f"Relative paths count from the folder of the rows, {folder}.")


def _column_of_answers(reading: Reading) -> str:
    return next(column for part in ("chosen", "output", "messages") if (column := reading.columns.get(part)))


def anywhere(_path: Path) -> bool:
    """For whoever may read all that this process may."""
    return True


def _is_there(path: Path, may_look: MayLook) -> bool:
    try:
        return may_look(path) and path.is_file()
    except (OSError, ValueError):
        # A name that is too long, or with a NUL in it.
        return False
