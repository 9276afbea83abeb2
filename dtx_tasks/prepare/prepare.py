"""Checks every row of a Dataset, tokenises the train split with its label mask, and lays out the rows to score on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from itertools import islice
from typing import TYPE_CHECKING

import pyarrow as pa
from transformers import AutoConfig

from dtx_tasks.dataset import Part, SplitRows, labelled, leaked_rows, said_place
from dtx_tasks.errors import ClaimedError, DataError, TransientError
from dtx_tasks.extension import rewriter
from dtx_tasks.plan import CODE_VERSIONS
from dtx_tasks.prepare.encode import can_be_scored, scored_row, told_with_place
from dtx_tasks.prepare.images import ScoredSight, seen_layout, with_kept_images
from dtx_tasks.prepare.layouts import LAYOUTS, PreparedRow, RowLayout
from dtx_tasks.prepare.record import prepared
from dtx_tasks.pretrained import load_tokenizer
from dtx_tasks.records import TRAIN_FILE, VALIDATION_FILE, FetchedLLM, Layout, PreparedDataset, PrepareDocument, SplitStatistics, digest_of, image_folder
from dtx_tasks.sight import copy_processor, load_sight
from dtx_tasks.spec import HELD_OUT
from dtx_tasks.storage import bring, bring_file, claim, manifest, put_folder, read_images, read_record, remove, sha256_of, workplace, write_record
from dtx_tasks.template import adapt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from dtx_tasks.dataset import Row, Scan
    from dtx_tasks.records import DatasetSource, EncodeOptions, FileSource
    from dtx_tasks.sight import Sight
    from dtx_tasks.spec import Split
    from dtx_tasks.storage import Claim
    from dtx_tasks.template.render import Tokenizer

TOKENIZER_FOLDER = "tokenizer"
BATCH_ROWS = 1000


def prepare(document: PrepareDocument, layout: Layout, owner: str) -> PreparedDataset:
    """Prepares the Dataset of a document.

    Args:
        document: Which Dataset, for which LLM.
        layout: Where everything is.
        owner: Who asks, for the claim.

    Raises:
        ClaimedError: Another process is preparing it.
        DataError: Rows are wrong, a plugin stopped, or a file has changed since the plan was made.
        SpecError: A plugin is missing here, or is here in another version.
        TransientError: The base LLM is not on storage.
    """
    base = read_record(f"{layout.llm(document.llm.llm_id)}/fetched.json", FetchedLLM)
    if base is None:
        raise TransientError(f"The base LLM {document.llm.name} is not on storage.", "The fetch stage says why.")
    folder = layout.prepared(document.prepared_id)
    finished = prepared(document, layout)
    if finished:
        return finished
    held = claim(f"{folder}/claim.json", owner)
    if held is None:
        raise ClaimedError(f"{document.dataset.name} is being prepared by another process.")
    with held:
        return prepared(document, layout) or _prepare(document, base, layout, held)


def _prepare(document: PrepareDocument, base: FetchedLLM, layout: Layout, held: Claim) -> PreparedDataset:
    folder = layout.prepared(document.prepared_id)
    target = workplace(f"{folder}/partial")
    remove(str(target))
    target.mkdir()
    llm_path = bring(f"{layout.llm(document.llm.llm_id)}/files", base.files)
    tokenizer = load_tokenizer(llm_path, document.llm.adapter_in(llm_path))
    adapt(tokenizer, document.llm.template)
    tokenizer.save_pretrained(target / TOKENIZER_FOLDER)
    copy_processor(llm_path, target / TOKENIZER_FOLDER)

    rows = _Rows(_checked_rows(document.dataset, is_leakage_allowed=document.allow_leakage is not None), document.dataset, target)
    sight = _sight(document.dataset, tokenizer, AutoConfig.from_pretrained(llm_path).model_type, target / TOKENIZER_FOLDER)
    layouts = _layouts(document.dataset, sight, target)
    learned = islice(rows.of("train"), document.dataset.max_samples)
    train = _write_rows(learned, rows.label("train"), layouts["train"], tokenizer, document.options, target / TRAIN_FILE)
    if "validation" in document.dataset.files:
        _write_rows(rows.of("validation"), rows.label("validation"), layouts["validation"], tokenizer, document.options, target / VALIDATION_FILE)
    scored: tuple[Split, ...] = tuple(split for split in document.dataset.files if split != "train")
    looked = ScoredSight(tokenizer, sight, document.scored_cutoff_len)
    num_scored_rows = {split: _write_scored(rows.seen(split, looked), target / f"{split}.jsonl") for split in scored}

    held.check()
    files = put_folder(target, f"{folder}/files")
    record = PreparedDataset(
        code_version=CODE_VERSIONS["prepare"],
        inputs={"llm": base.digest},
        digest=digest_of([entry.model_dump() for entry in files], 64),
        train_digest=digest_of([entry.model_dump() for entry in files if not entry.path.startswith(HELD_OUT)], 64),
        libraries={name: version(name) for name in ("transformers", "tokenizers", "pyarrow", *(["pillow"] if sight else []))},
        prepared_id=document.prepared_id,
        dataset_name=document.dataset.name,
        files=files,
        train=train,
        num_scored_rows=num_scored_rows,
        longest_seen_tokens=looked.longest_tokens,
        seen_cutoff_len=document.scored_cutoff_len,
        ignored_columns=rows.checked.ignored_columns,
        plugins=document.dataset.plugins,
    )
    held.check()
    write_record(f"{folder}/prepared.json", record)
    return record


@dataclass(frozen=True)
class _Rows:
    """Checked rows, whose images are kept in the folder that is being made."""

    checked: SplitRows
    dataset: DatasetSource
    target: Path

    def of(self, split: Split) -> Iterator[Row]:
        return with_kept_images(self.checked.rows(split), self.dataset.files[split], self.target / image_folder(split))

    def seen(self, split: Split, by: ScoredSight) -> Iterator[Row]:
        return by.passed(self.of(split), self.label(split), self.target / image_folder(split))

    def label(self, split: Split) -> str:
        return self.checked.label(split)


def _sight(dataset: DatasetSource, tokenizer: Tokenizer, architecture: str, folder: Path) -> Sight | None:
    """How the model takes in the images of a Dataset; None where it has none."""
    if not dataset.has_images:
        return None
    sight = load_sight(folder, architecture, tokenizer)
    if sight is None:
        problem = "The base model's files do not say how it takes in images: there is no preprocessor_config.json or processor_config.json for its template"
        raise DataError(f"{problem}, or none that says what it counts tokens by (patch_size).", "Take a base model that has them.")
    return sight


def _layouts(dataset: DatasetSource, sight: Sight | None, target: Path) -> dict[Split, RowLayout]:
    """How the rows of each split are laid out."""
    return {split: seen_layout(sight, target / image_folder(split)) if sight else LAYOUTS[dataset.kind] for split in dataset.files}


def _checked_rows(dataset: DatasetSource, *, is_leakage_allowed: bool) -> SplitRows:
    """The rows of every split; the mistakes of all files together when there are any."""
    parts: dict[Split, Part] = {}
    for split, file in dataset.files.items():
        path = bring(file.path, file.files) if file.files else bring_file(file.path, file.sha256)
        if not _is_same(path, file):
            raise DataError(f"{file.label} has changed since the experiment was planned.", "Start the experiment again.")
        # The plan knows every image that may be read: others are not looked for.
        parts[split] = Part(path, labelled(path, file.label), file.portion, may_look=None, told_apart=_digests(file))
    rows = SplitRows(parts, dataset.reading, dataset.split_seed, rewriter(dataset.plugins))
    # Rows that no plugin has touched were looked at when the experiment was planned.
    scans = rows.scan(partial(_refuse_files, parts) if dataset.plugins else None)
    rows.refuse()
    # An image that was missing then was left out of the plan, and is not looked for again.
    if dataset.problem and not dataset.plugins:
        raise DataError(dataset.problem, "Put it right, and start the experiment again.")
    if dataset.plugins and not is_leakage_allowed:
        _refuse_leakage(scans)
    return rows


def _digests(file: FileSource) -> Callable[[str], str] | None:
    """What an image holds, by the path that rows have: which rows are held out must be what it was when the experiment was planned."""
    if file.images is None:
        return None
    known = {image.written: image.sha256 for image in read_images(file.images)}
    return lambda written: known.get(written, written)


def _refuse_leakage(scans: Mapping[Split, Scan]) -> None:
    found = leaked_rows({"": scans})
    if found:
        problem = f"{len(found)} rows that are scored on are learned from too, the first is {found[0]}."
        raise DataError(problem, "Have a plugin leave them out of the train split, or say why it does not matter: `allow_leakage: REASON` of the experiment.")


def _is_same(path: Path, file: FileSource) -> bool:
    if file.files:
        return path.is_dir() and manifest(path) == file.files
    return path.is_file() and sha256_of(path) == file.sha256


def _refuse_files(parts: dict[Split, Part], split: Split, row: Row) -> None:
    if row.files:
        raise DataError(
            f"{said_place(parts[split].label, row.line)}: row: what plugins give cannot have images, videos or audios yet.",
            "Have a plugin leave such rows out.",
        )


def _write_rows(rows: Iterator[Row], label: str, layout: RowLayout, tokenizer: Tokenizer, options: EncodeOptions, path: Path) -> SplitStatistics:
    """Rows a batch at a time: a million of them need no more memory than a thousand."""
    totals = _Totals()
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, layout.schema) as writer:
        for batch in iter(lambda: list(islice(rows, BATCH_ROWS)), []):
            encoded = _encoded(tokenizer, batch, layout, options, label)
            totals.add(encoded)
            columns = [pa.array(values, field.type) for field, values in zip(layout.schema, zip(*(row.columns for row in encoded), strict=True), strict=True)]
            writer.write_batch(pa.record_batch(columns, layout.schema))
    return totals.statistics()


def _encoded(tokenizer: Tokenizer, rows: list[Row], layout: RowLayout, options: EncodeOptions, label: str) -> list[PreparedRow]:
    """All at once; where something is wrong, one after the other, to find out with which row."""
    try:
        return list(layout.encode(tokenizer, rows, options))
    except DataError:
        for row in rows:
            with told_with_place(label, row):
                list(layout.encode(tokenizer, [row], options))
        raise


@dataclass
class _Totals:
    num_rows: int = 0
    num_tokens: int = 0
    num_trained_tokens: int = 0
    num_truncated: int = 0
    longest_tokens: int = 0

    def add(self, rows: list[PreparedRow]) -> None:
        self.num_rows += len(rows)
        self.num_tokens += sum(row.num_tokens for row in rows)
        self.num_trained_tokens += sum(row.num_trained_tokens for row in rows)
        self.num_truncated += sum(row.is_truncated for row in rows)
        self.longest_tokens = max(self.longest_tokens, *(row.num_tokens for row in rows))

    def statistics(self) -> SplitStatistics:
        return SplitStatistics(**vars(self))


def _write_scored(rows: Iterable[Row], path: Path) -> int:
    """Lays rows out to be scored on, and counts them."""
    num_rows = 0
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            if can_be_scored(row):
                file.write(f"{json.dumps(scored_row(row), ensure_ascii=False)}\n")
                num_rows += 1
    return num_rows
