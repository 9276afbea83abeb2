"""The splits of a Dataset: files of their own, or rows held out of the train file."""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TYPE_CHECKING

from dtx_tasks.dataset.fields import Problem
from dtx_tasks.dataset.file import RowFile
from dtx_tasks.dataset.findings import Findings
from dtx_tasks.dataset.folder import folder_of, said_place
from dtx_tasks.dataset.media import anywhere
from dtx_tasks.errors import DataError, nearest
from dtx_tasks.spec import HELD_OUT, Subset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from dtx_tasks.dataset.media import MayLook
    from dtx_tasks.dataset.rewrite import Rewrite
    from dtx_tasks.dataset.row import Row
    from dtx_tasks.spec import Reading, Split

Portion = float | int | Subset


@dataclass(frozen=True)
class Part:
    """Where the rows of a split are.

    Attributes:
        path: The file, or a folder of files.
        label: What messages call it.
        portion: What of the train file is held out; None for a file of its own, and for train.
        may_look: Whether a file that a row names may be looked for; None where such files are elsewhere.
        beside: What relative paths of its rows count from; the folder that it is in, or that it is, by default.
        told_apart: What tells an image from others, by the path that a row has; None where images are told apart by their paths.
    """

    path: Path
    label: str
    portion: Portion | None = None
    may_look: MayLook | None = anywhere
    beside: Path | None = None
    told_apart: Callable[[str], str] | None = None

    @property
    def folder(self) -> Path:
        """What relative paths of its rows count from."""
        return self.beside or folder_of(self.path)


@dataclass
class Scan:
    """What one pass over a split leaves: small for every row, so that a million fit.

    Attributes:
        label: The file.
        ids: Content hashes of the rows, 64 bits each.
        lines: Where they stand.
        lengths: Their characters.
        subsets: Which split they say they are in, where the Dataset asks.
    """

    label: str
    ids: array[int] = field(default_factory=lambda: array("Q"))
    lines: array[int] = field(default_factory=lambda: array("Q"))
    lengths: array[int] = field(default_factory=lambda: array("Q"))
    subsets: list[str | None] = field(default_factory=list)

    def add(self, row_id: int, line: int, length: int) -> None:
        """Notes a row."""
        self.ids.append(row_id)
        self.lines.append(line)
        self.lengths.append(length)

    def first(self, most: int | None) -> Scan:
        """The first rows alone."""
        return self if most is None else Scan(self.label, self.ids[:most], self.lines[:most], self.lengths[:most])


class SplitRows:
    """The rows of every split, checked.

    Args:
        parts: Where each split's rows are.
        reading: How they are read.
        seed: Which rows a share or a number takes.
        rewrite: What changes them before they are read by their format; must do the same each time.
    """

    def __init__(self, parts: Mapping[Split, Part], reading: Reading, seed: int, rewrite: Rewrite | None = None) -> None:
        self._parts, self._reading, self._seed, self._rewrite = parts, reading, seed, rewrite
        self._first_ids: dict[Path, array[int]] = {}
        self._held_out: list[Split | None] | None = None
        self._num_rows: dict[Split, int] = {}
        self.findings: dict[Split, Findings] = {}
        self.ignored_columns: tuple[str, ...] = ()

    def scan(self, each: Callable[[Split, Row], None] | None = None) -> dict[Split, Scan]:
        """Reads and checks every file once.

        Args:
            each: Sees every good row with the split of its file, before anything is held out of it.
        """
        found = {split: self._scan(split, part, each) for split, part in self._parts.items() if part.portion is None}
        if len(found) < len(self._parts):
            found |= self._taken_apart(found["train"])
        return {split: found[split] for split in self._parts}

    def rows(self, split: Split) -> Iterator[Row]:
        """The good rows of a split, after `scan` has seen them all."""
        part, wanted = self._parts[split], None if split == "train" else split
        file: Iterable[Row] = self._file(part)
        if self._rewrite:
            file = _same(file, self._first_ids[part.path], part.label)
        if self._has_own_file(split):
            yield from file
        else:
            yield from (row for row, taken in zip(file, self._held_out or (), strict=True) if taken == wanted)

    def numbers(self, split: Split) -> list[int]:
        """Which of the good rows of its file a split holds, 0-based, after `scan` has seen them all."""
        if self._has_own_file(split):
            return list(range(self._num_rows[split]))
        wanted = None if split == "train" else split
        return [number for number, taken in enumerate(self._held_out or ()) if taken == wanted]

    def label(self, split: Split) -> str:
        """What messages call the file or folder that a split is in."""
        return self._parts[split].label

    def refuse(self) -> None:
        """Stops where a file has errors.

        Raises:
            DataError: With the first of each code of all files.
        """
        merged = Findings()
        merged.merge(self.findings.values())
        merged.refuse()

    def _has_own_file(self, split: Split) -> bool:
        return self._held_out is None or (split != "train" and self._parts[split].portion is None)

    def _file(self, part: Part) -> RowFile:
        return RowFile(part.path, part.label, self._reading, self._rewrite, part.may_look, part.beside, part.told_apart)

    def _scan(self, split: Split, part: Part, each: Callable[[Split, Row], None] | None) -> Scan:
        file, scan = self._file(part), Scan(part.label)
        for row in file:
            scan.add(int(row.row_id, 16), row.line, sum(map(len, row.texts)))
            if each:
                each(split, row)
            if self._reading.subset:
                scan.subsets.append(row.subset)
        self.findings[split] = file.findings
        if self._rewrite:
            self._first_ids[part.path] = scan.ids
        self._num_rows[split] = file.num_rows
        self.ignored_columns = tuple(sorted({*self.ignored_columns, *file.ignored_columns}))
        return scan

    def _taken_apart(self, whole: Scan) -> dict[Split, Scan]:
        portions = {split: part.portion for split, part in self._parts.items() if part.portion is not None}
        self._held_out = held_out(whole.ids, portions, self._seed, whole.subsets)
        scans: dict[Split | None, Scan] = {None: Scan(whole.label), **{split: Scan(whole.label) for split in portions}}
        for row_id, line, length, split in zip(whole.ids, whole.lines, whole.lengths, self._held_out, strict=True):
            scans[split].add(row_id, line, length)
        self._refuse_empty(portions, scans, whole)
        train = scans.pop(None)
        return {"train": train, **{split: scan for split, scan in scans.items() if split is not None}}

    def _refuse_empty(self, portions: Mapping[Split, Portion], scans: Mapping[Split | None, Scan], whole: Scan) -> None:
        """A split that was asked for and is empty is a mistake, and so is a train split of which nothing is left."""
        findings, label = self.findings["train"], whole.label
        if not whole.ids:
            return
        for split, portion in portions.items():
            if not scans[split].ids and isinstance(portion, Subset):
                known = nearest(portion.subset, {name for name in whole.subsets if name})
                said = Problem(f"{self._reading.subset}", "unknown_subset", f"no row is in the subset {portion.subset!r} of {split}", known)
                findings.add(said.at(label, 1))
        if not scans[None].ids:
            said = Problem("file", "no_rows", f"all {len(whole.ids)} rows are held out, nothing is left to learn from", "Hold fewer rows out.")
            findings.add(said.at(label, 1))


def _same(rows: Iterable[Row], ids: Iterable[int], label: str) -> Iterator[Row]:
    """Rows that were made anew, if they are those that were made and checked before.

    Raises:
        DataError: They are not.
    """
    for row, row_id in zip_longest(rows, ids):
        if row is None or int(row.row_id, 16) != row_id:
            place = said_place(label, row.line) if row else label
            raise DataError(
                f"{place}: the plugins gave other rows when they ran again.", "The same file must give the same rows: have them draw from a fixed seed."
            )
        yield row


def held_out(ids: Sequence[int], portions: Mapping[Split, Portion], seed: int, subsets: Sequence[str | None]) -> list[Split | None]:
    """For each row the split that takes it out of the train file, None for a row to learn from.

    A share or a number takes the rows whose hash with the seed is lowest: new rows move few others, and equal rows stay together,
    so that none of them is scored on and learned from.

    Args:
        ids: Content hashes, in file order.
        portions: What each split takes.
        seed: Another one takes other rows.
        subsets: What each row says of its split; empty where nothing asks.
    """
    names = {portion.subset: split for split, portion in portions.items() if isinstance(portion, Subset)}
    taken: list[Split | None] = [names.get(subset) if subset is not None else None for subset in subsets] if names else [None] * len(ids)
    left = Counter(row_id for row_id, split in zip(ids, taken, strict=True) if split is None)
    drawn = iter(sorted(left, key=lambda row_id: hashlib.sha256(f"{seed}:{row_id:016x}".encode()).digest()))
    split_of: dict[int, Split] = {}
    for split in HELD_OUT:
        portion = portions.get(split)
        if portion is not None and not isinstance(portion, Subset):
            wanted = portion if isinstance(portion, int) else max(1, round(portion * len(ids)))
            split_of |= dict.fromkeys(_first(drawn, left, wanted), split)
    return [split or split_of.get(row_id) for row_id, split in zip(ids, taken, strict=True)]


def _first(drawn: Iterator[int], counts: Mapping[int, int], wanted: int) -> Iterator[int]:
    """Different rows until they make up so many, equal ones counted."""
    while wanted > 0 and (row_id := next(drawn, None)) is not None:
        wanted -= counts[row_id]
        yield row_id
