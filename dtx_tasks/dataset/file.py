"""The rows of one file or folder, checked as they are read: what planning, preparing and `dtx dataset check` all go through."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from dtx_tasks.dataset.fields import Fields, Problem, shown
from dtx_tasks.dataset.findings import Findings
from dtx_tasks.dataset.folder import folder_of, read_rows
from dtx_tasks.dataset.formats import FORMATS
from dtx_tasks.dataset.media import anywhere, media_problems
from dtx_tasks.dataset.raw import RawRow, Unreadable
from dtx_tasks.dataset.rewrite import RewriteError
from dtx_tasks.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dtx_tasks.dataset.media import MayLook
    from dtx_tasks.dataset.rewrite import Rewrite
    from dtx_tasks.dataset.row import Row
    from dtx_tasks.spec import Reading

WELL_KNOWN = frozenset(
    {"system", "history", "tools", "images", "videos", "audios", "chosen", "rejected", "kto_tag", "label", "conversations", "messages", "input"}
)
"""Columns that mean something in the field: whoever has one and does not read it should know."""

SAMPLES = {
    "alpaca": '{"instruction": "...", "output": "..."}',
    "sharegpt": '{"conversations": [{"from": "human", "value": "..."}, {"from": "gpt", "value": "..."}]}',
    "openai": '{"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}',
    "prompt_completion": '{"prompt": "...", "completion": "..."}',
    "text": '{"text": "..."}',
}


@dataclass
class RowFile:
    """The good rows of a file; iterate once, then ask what was found.

    Attributes:
        path: The file, or a folder of files.
        label: What messages call it.
        reading: How its rows are read.
        rewrite: What changes them before they are read by their format.
        may_look: Whether a file that a row names may be looked for; None where such files are elsewhere.
        beside: What relative paths of its rows count from; the folder that it is in, or that it is, by default.
        told_apart: What tells an image from others, by the path that a row has; None where images are told apart by their paths.
        findings: What is wrong so far.
        num_rows: Good rows so far.
    """

    path: Path
    label: str
    reading: Reading
    rewrite: Rewrite | None = None
    may_look: MayLook | None = anywhere
    beside: Path | None = None
    told_apart: Callable[[str], str] | None = None
    findings: Findings = field(default_factory=Findings)
    num_rows: int = 0
    _seen: set[str] = field(default_factory=set)
    _unread: dict[str, int] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Row]:
        try:
            for raw in self.rewrite(self.raw_rows()) if self.rewrite else self.raw_rows():
                if (row := self._row(raw)) is not None:
                    self.num_rows += 1
                    yield row
        except RewriteError as error:
            self.add(error.line, error.problem)
        else:
            self._close()

    def raw_rows(self) -> Iterator[RawRow]:
        """The rows as they stand in the file; places that cannot be read, and values that are no rows, are noted."""
        for raw in read_rows(self.path):
            if isinstance(raw, Unreadable):
                self.add(raw.line, Problem(f"character {raw.column}", raw.code, raw.problem, raw.hint))
            elif isinstance(raw.values, dict):
                yield raw
            else:
                said, hint = f"the row is a {type(raw.values).__name__}, not an object", f"A row looks like {SAMPLES[self.reading.format]}."
                self.add(raw.line, Problem("row", "not_an_object", said, hint))

    @property
    def ignored_columns(self) -> tuple[str, ...]:
        """Columns of good rows that nothing reads."""
        return tuple(sorted(self._seen - {*self.reading.columns.values(), self.reading.subset}))

    def add(self, line: int, problem: Problem) -> None:
        """Notes what was found at a line."""
        self.findings.add(problem.at(self.label, line))

    def _row(self, raw: RawRow) -> Row | None:
        fields = Fields(raw.values, self.reading)
        row = FORMATS[self.reading.format](fields, raw.line)
        if row.files and not fields.problems:
            fields.problems += media_problems(row, self.reading, self.beside or folder_of(self.path), self.may_look)
        if fields.problems:
            for problem in fields.problems:
                self.add(raw.line, problem)
            return None
        self._seen |= raw.values.keys()
        for key in fields.unread - self._unread.keys():
            self._unread[key] = raw.line
        row = self._with_files(row) if row.files else row
        return replace(row, subset=shown_subset(raw.values.get(self.reading.subset))) if self.reading.subset else row

    def _with_files(self, row: Row) -> Row:
        """With those alone that there are: many exports have a list in every row, and most of them are empty."""
        files = {part: paths for part, paths in row.files.items() if paths}
        images = files.get("images", ())
        return replace(row, files=files, digests=tuple(map(self.told_apart, images)) if self.told_apart else ())

    def _close(self) -> None:
        """What can be said once every row was seen."""
        if not (self.num_rows or self.findings.num_errors):
            self.add(1, Problem("file", "no_rows", "there is no row in it", "Add at least one."))
        if not self.num_rows:
            return
        for name in {*self.reading.named, *filter(None, [self.reading.subset])} - self._seen:
            self.add(1, Problem(name, "absent_column", "no row has this column", nearest(name, self._seen)))
        for key, line in self._unread.items():
            self.add(
                line, Problem(key, "unread_key", "turns have this key, and it is not read", "Nothing that it says has an effect: remove the turns it is about.")
            )
        for name in sorted(WELL_KNOWN.intersection(self.ignored_columns)):
            self.add(1, Problem(name, "unread_column", "rows have this column, and it is not read", "Name it under `columns` of the Dataset if it matters."))


def shown_subset(value: object) -> str | None:
    """What a row says of its split; a number counts as its digits."""
    if value is None or isinstance(value, str):
        return value
    return shown(value)
