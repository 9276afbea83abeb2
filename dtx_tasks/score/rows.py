"""The rows that everything of a plan is scored on: the same ones for every job and every base."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dtx_tasks.errors import DataError
from dtx_tasks.records import Layout, PreparedDataset, digest_of, image_folder
from dtx_tasks.storage import bring, read_bytes, read_record

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dtx_tasks.records import ScoringDocument
    from dtx_tasks.spec import Scoring, Split


@dataclass(frozen=True)
class ScoredRow:
    """One question with the answer that it should get.

    Attributes:
        row_id: Content hash.
        split: `validation` decides, `test` is reported.
        messages: The conversation up to the answer, as OpenAI's API has it.
        answer: The reference.
        tools: Functions that may be called, as JSON Schema; None where the row speaks of none.
        answer_message: The reference where it calls tools: each template writes calls in its own way.
        rejected: The worse answer, where there are two.
        images: URIs of what is shown, in the order of `<image>` in the messages.
    """

    row_id: str
    split: Split
    messages: list[dict[str, Any]]
    answer: str
    tools: list[dict[str, Any]] | None = None
    answer_message: dict[str, Any] | None = None
    rejected: dict[str, Any] | None = None
    images: tuple[str, ...] = ()

    @property
    def reference(self) -> dict[str, Any]:
        """The reference as a turn of the assistant."""
        return self.answer_message or {"role": "assistant", "content": self.answer}

    @property
    def shown(self) -> dict[str, list[str]]:
        """Its `images` by their digests, as predictions tell of them; nothing where it has none."""
        return {"images": [uri.rpartition("/")[2] for uri in self.images]} if self.images else {}


@dataclass(frozen=True)
class ScoredRows:
    """The rows, and what should be known about them.

    Attributes:
        rows: In the order of their content hashes.
        is_cross_fitted: There was one split only, so each row was given one role by its hash.
        left_out_datasets: Datasets that could not be prepared.
    """

    rows: tuple[ScoredRow, ...]
    is_cross_fitted: bool
    left_out_datasets: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Which rows these are, and in which roles."""
        return digest_of([[row.row_id, row.split] for row in self.rows], 64)


def _can_be_scored(folder: str, scoring: Scoring) -> bool:
    """Whether rows are prepared, and their images whole at the length limit of this scoring: another experiment may have prepared them."""
    record = read_record(f"{folder}/prepared.json", PreparedDataset)
    return record is not None and record.is_whole_at(scoring.likelihood_cutoff_len)


def scored_rows(document: ScoringDocument, layout: Layout) -> ScoredRows:
    """The de-duplicated union of the validation and of the test splits of all the Datasets.

    Args:
        document: Which Datasets, and how many rows at most.
        layout: Where they are.

    Raises:
        DataError: There is no row to score on.
    """
    found: dict[str, ScoredRow] = {}
    left_out: list[str] = []
    for name, prepared_ids in sorted(document.datasets.items()):
        folder = next((folder for folder in map(layout.prepared, prepared_ids) if _can_be_scored(folder, document.scoring)), None)
        if folder is None:
            left_out.append(name)
            continue
        for row in _rows_of(folder):
            # A row of two splits counts where it decides: the test rows stay untouched by the choice.
            if row.row_id not in found or row.split == "validation":
                found[row.row_id] = row
    rows = [found[row_id] for row_id in sorted(found)]
    is_cross_fitted = len({row.split for row in rows}) == 1
    if is_cross_fitted:
        rows = [replace(row, split=_role(row.row_id)) for row in rows]
    rows = _limited(rows, document.scoring.max_samples)
    if not rows:
        raise DataError("There is no row to score on.", "No Dataset with a validation or test split could be prepared.")
    return ScoredRows(tuple(rows), is_cross_fitted, tuple(left_out))


def with_brought_images(rows: Sequence[ScoredRow]) -> tuple[ScoredRow, ...]:
    """Rows whose images are on this machine: those of a prepared split are brought together, and once for all that is scored on them.

    Args:
        rows: As of `scored_rows`.
    """
    places = {folder: _brought(folder, rows) for folder in {_folder_of(uri) for row in rows for uri in row.images}}
    return tuple(replace(row, images=tuple(f"{places[_folder_of(uri)]}/{uri.rpartition('/')[2]}" for uri in row.images)) for row in rows)


def _folder_of(uri: str) -> str:
    return uri.rpartition("/")[0]


def _brought(folder: str, rows: Sequence[ScoredRow]) -> Path:
    """The images of a prepared split that rows show."""
    files, _, name = folder.rpartition("/")
    prepared = read_record(f"{_folder_of(files)}/prepared.json", PreparedDataset)
    shown = {uri.removeprefix(f"{files}/") for row in rows for uri in row.images if _folder_of(uri) == folder}
    return bring(files, [entry for entry in (prepared.files if prepared else ()) if entry.path in shown]) / name


def _rows_of(folder: str) -> list[ScoredRow]:
    rows = []
    splits: tuple[Split, ...] = ("test", "validation")
    for split in splits:
        try:
            text = read_bytes(f"{folder}/files/{split}.jsonl").decode()
        except FileNotFoundError:
            continue
        images = f"{folder}/files/{image_folder(split)}"
        rows += [_row(split, values, images) for values in map(json.loads, text.rstrip("\n").split("\n"))]
    return rows


def _row(split: Split, values: dict[str, Any], images: str) -> ScoredRow:
    shown = tuple(f"{images}/{name}" for name in values.pop("images", ()))
    return ScoredRow(split=split, images=shown, **values)


def _role(row_id: str) -> Split:
    return "validation" if int(row_id[-1], 16) % 2 else "test"


def _limited(rows: list[ScoredRow], most: int | None) -> list[ScoredRow]:
    if most is None:
        return rows
    kept = {split: [row.row_id for row in rows if row.split == split][:most] for split in ("validation", "test")}
    return [row for row in rows if row.row_id in kept[row.split]]
