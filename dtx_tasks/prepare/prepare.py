"""Checks every row of a Dataset, tokenises the train split with its label mask, and lays out the rows to score on."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import TYPE_CHECKING

import pyarrow as pa
from transformers import AutoTokenizer

from dtx_tasks.dataset import rows_of
from dtx_tasks.errors import ClaimedError, DataError, TransientError
from dtx_tasks.plan import CODE_VERSIONS
from dtx_tasks.prepare.record import prepared
from dtx_tasks.records import FetchedLLM, Layout, PreparedDataset, PrepareDocument, SplitStatistics, digest_of
from dtx_tasks.storage import bring, bring_file, claim, put_folder, read_record, remove, sha256_of, workplace, write_record
from dtx_tasks.template import IGNORED_LABEL, Encoded, adapt, encode

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from dtx_tasks.dataset import Row
    from dtx_tasks.records import DatasetSource
    from dtx_tasks.storage import Claim
    from dtx_tasks.template.render import Tokenizer

TRAIN_FILE = "train.arrow"
TOKENIZER_FOLDER = "tokenizer"


def prepare(document: PrepareDocument, layout: Layout, owner: str) -> PreparedDataset:
    """Prepares the Dataset of a document.

    Args:
        document: Which Dataset, for which LLM.
        layout: Where everything is.
        owner: Who asks, for the claim.

    Raises:
        ClaimedError: Another process is preparing it.
        DataError: Rows are wrong, or a file has changed since the plan was made.
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
    tokenizer = AutoTokenizer.from_pretrained(bring(f"{layout.llm(document.llm.llm_id)}/files", base.files))
    adapt(tokenizer, document.llm.template)
    tokenizer.save_pretrained(target / TOKENIZER_FOLDER)

    rows, ignored = _checked_rows(document.dataset)
    train = _write_train(rows.pop("train")[: document.dataset.max_samples], tokenizer, document, target / TRAIN_FILE)
    for split, scored in rows.items():
        _write_scored(scored, target / f"{split}.jsonl")

    held.check()
    files = put_folder(target, f"{folder}/files")
    record = PreparedDataset(
        code_version=CODE_VERSIONS["prepare"],
        inputs={"llm": base.digest},
        digest=digest_of([entry.model_dump() for entry in files], 64),
        train_digest=digest_of([entry.model_dump() for entry in files if not entry.path.endswith(".jsonl")], 64),
        libraries={name: version(name) for name in ("transformers", "tokenizers", "pyarrow")},
        prepared_id=document.prepared_id,
        dataset_name=document.dataset.name,
        files=files,
        train=train,
        num_scored_rows={split: len(scored) for split, scored in rows.items()},  # type: ignore[misc]
        ignored_columns=ignored,
    )
    held.check()
    write_record(f"{folder}/prepared.json", record)
    return record


def _checked_rows(dataset: DatasetSource) -> tuple[dict[str, list[Row]], tuple[str, ...]]:
    """The rows of every split; the mistakes of all files together when there are any."""
    rows: dict[str, list[Row]] = {}
    mistakes: list[str] = []
    ignored: set[str] = set()
    for split, file in dataset.files.items():
        path = bring_file(file.path, file.sha256)
        if not path.is_file() or sha256_of(path) != file.sha256:
            raise DataError(f"{file.label} has changed since the experiment was planned.", "Start the experiment again.")
        try:
            checked = rows_of(path, file.label, dataset.columns)
        except DataError as error:
            mistakes.append(error.message)
            continue
        rows[split] = checked.rows
        ignored |= set(checked.ignored_columns)
    if mistakes:
        raise DataError("\n".join(mistakes))
    return rows, tuple(sorted(ignored))


def _write_train(rows: list[Row], tokenizer: Tokenizer, document: PrepareDocument, path: Path) -> SplitStatistics:
    label = document.dataset.files["train"].label
    encoded = [_encode(row, tokenizer, document.cutoff_len, label) for row in rows]
    columns = {
        "input_ids": pa.array([row.input_ids for row in encoded], pa.list_(pa.int32())),
        "labels": pa.array([row.labels for row in encoded], pa.list_(pa.int32())),
    }
    table = pa.table(columns)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return SplitStatistics(
        num_rows=len(rows),
        num_tokens=sum(len(row.input_ids) for row in encoded),
        num_trained_tokens=sum(label != IGNORED_LABEL for row in encoded for label in row.labels),
        num_truncated=sum(row.is_truncated for row in encoded),
        longest_tokens=max(len(row.input_ids) for row in encoded),
    )


def _encode(row: Row, tokenizer: Tokenizer, cutoff_len: int, label: str) -> Encoded:
    place = f"{label}:{row.line}: row"
    try:
        encoded = encode(tokenizer, [*row.messages(), {"role": "assistant", "content": row.answer}], cutoff_len=cutoff_len)
    except DataError as error:
        raise type(error)(f"{place}: {error.message}", error.hint) from None
    if all(each == IGNORED_LABEL for each in encoded.labels):
        problem = f"{place}: nothing of the answer is left at a cutoff_len of {cutoff_len}."
        raise DataError(problem, "Nothing would be learned: raise cutoff_len, or shorten the question.")
    return encoded


def _write_scored(rows: Iterable[Row], path: Path) -> None:
    lines = [json.dumps({"row_id": row.row_id, "messages": row.messages(), "answer": row.answer}, ensure_ascii=False) for row in rows]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
