"""From a checkpoint to its two ScoreCards, from one model load, with every prediction kept."""

from __future__ import annotations

import json
import time
from importlib.metadata import version
from math import sqrt
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from dtx_tasks.errors import ClaimedError, TransientError
from dtx_tasks.plan import CODE_VERSIONS
from dtx_tasks.records import BaseDocument, FetchedLLM, FinetuneJob, Layout, LLMCheckpoint, PreparedDataset, Score, ScoreCard, ScoreCards, digest_of
from dtx_tasks.score.judge import is_rewarded, judge
from dtx_tasks.score.load import Loaded, load_checkpoint
from dtx_tasks.score.record import scored
from dtx_tasks.score.rows import ScoredRows, scored_rows, with_brought_images
from dtx_tasks.spec import ADAPTERS, LOWER_IS_BETTER
from dtx_tasks.storage import bring, claim, put_folder, read_record, workplace, write_record

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dtx_tasks.records import ScoringDocument
    from dtx_tasks.spec import Split
    from dtx_tasks.storage import Claim

PREDICTIONS = "predictions.jsonl"
LIBRARIES = ("torch", "transformers", "peft", "sacrebleu", "rouge-score")


def score_job(job: FinetuneJob, scoring: ScoringDocument, layout: Layout, owner: str) -> ScoreCards:
    """Scores what a job's training wrote.

    Args:
        job: Which job.
        scoring: How, and on which rows.
        layout: Where everything is.
        owner: Who asks, for the claim.

    Raises:
        ClaimedError: Another process is scoring it.
        TransientError: The job has no checkpoint.
    """
    folder = layout.job(job.job_id)
    checkpoint = read_record(f"{folder}/result.json", LLMCheckpoint)
    if checkpoint is None:
        raise TransientError(f"{job.name} has no checkpoint to score.")

    def load() -> Loaded:
        files = bring(f"{folder}/checkpoint", checkpoint.files)
        is_adapter = checkpoint.finetuning_type in ADAPTERS
        model = _base_files(job.llm.llm_id, layout) if is_adapter else files
        return load_checkpoint(model, files, files if is_adapter else None, as_reward=is_rewarded(scoring.scoring))

    return _score(job.job_id, checkpoint.digest, scoring, layout, owner, load)


def score_base(document: BaseDocument, layout: Layout, owner: str) -> ScoreCards:
    """Scores a base LLM as it is, with the adapter that its jobs train further and the template that they are trained with.

    Raises:
        ClaimedError: Another process is scoring it.
        TransientError: The base or its tokenizer is not on storage.
    """
    folder = layout.llm(document.llm.llm_id)
    base = read_record(f"{folder}/fetched.json", FetchedLLM)
    found = (read_record(f"{layout.prepared(prepared_id)}/prepared.json", PreparedDataset) for prepared_id in document.prepared_ids)
    prepared = next((record for record in found if record), None)
    if base is None or prepared is None:
        raise TransientError(f"The base LLM {document.llm.name} cannot be scored: it or its rows are not on storage.", "The stages before say why.")

    def load() -> Loaded:
        tokenizer = bring(f"{layout.prepared(prepared.prepared_id)}/files", prepared.files) / "tokenizer"
        model = bring(f"{folder}/files", base.files)
        return load_checkpoint(model, tokenizer, document.llm.adapter_in(model), as_reward=is_rewarded(document.scoring.scoring))

    return _score(document.llm.llm_id, base.digest, document.scoring, layout, owner, load)


def _base_files(llm_id: str, layout: Layout) -> Path:
    base = read_record(f"{layout.llm(llm_id)}/fetched.json", FetchedLLM)
    if base is None:
        raise TransientError("The base LLM is not on storage.", "The fetch stage says why.")
    return bring(f"{layout.llm(llm_id)}/files", base.files)


def _score(checkpoint_id: str, digest: str, scoring: ScoringDocument, layout: Layout, owner: str, load: Callable[[], Loaded]) -> ScoreCards:
    finished = scored(checkpoint_id, digest, scoring, layout)
    if finished:
        return finished
    rows = scored_rows(scoring, layout)
    folder = layout.score(checkpoint_id, scoring.scoring_id)
    inputs = {"checkpoint": digest, "rows": rows.digest}
    held = claim(f"{folder}/claim.json", owner)
    if held is None:
        raise ClaimedError(f"{checkpoint_id} is being scored by another process.")
    with held:
        return scored(checkpoint_id, digest, scoring, layout) or _generate(checkpoint_id, inputs, scoring, rows, folder, load, held)


def _generate(
    checkpoint_id: str, inputs: dict[str, str], scoring: ScoringDocument, rows: ScoredRows, folder: str, load: Callable[[], Loaded], held: Claim
) -> ScoreCards:
    started_at = time.monotonic()
    judged = judge(load(), with_brought_images(rows.rows), scoring.scoring)
    lines = [
        json.dumps({"row_id": row.row_id, "split": row.split, "messages": row.messages, **row.shown, **result.as_dict()}, ensure_ascii=False)
        for row, result in zip(rows.rows, judged, strict=True)
    ]
    partial = workplace(f"{folder}/partial")
    (partial / PREDICTIONS).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    held.check()
    files = put_folder(partial, f"{folder}/files")
    by_split: dict[Split, list[dict[str, float]]] = {}
    for row, result in zip(rows.rows, judged, strict=True):
        by_split.setdefault(row.split, []).append(result.scores)
    record = ScoreCards(
        code_version=CODE_VERSIONS["score"],
        inputs=inputs,
        digest=digest_of([entry.model_dump() for entry in files], 64),
        libraries={name: version(name) for name in (*LIBRARIES, *(["pillow"] if any(row.images for row in rows.rows) else []))},
        checkpoint_id=checkpoint_id,
        scoring_id=scoring.scoring_id,
        rows_digest=rows.digest,
        is_cross_fitted=rows.is_cross_fitted,
        left_out_datasets=rows.left_out_datasets,
        cards={split: _card(split, scores) for split, scores in by_split.items()},
        files=files,
        score_s=round(time.monotonic() - started_at, 2),
    )
    held.check()
    write_record(f"{folder}/scores.json", record)
    return record


def _card(split: Split, scores: list[dict[str, float]]) -> ScoreCard:
    return ScoreCard(split=split, num_rows=len(scores), scores={metric: _mean(metric, [row[metric] for row in scores]) for metric in scores[0]})


def _mean(metric: str, values: list[float]) -> Score:
    error = stdev(values) / sqrt(len(values)) if len(values) > 1 else None
    return Score(metric=metric, value=fmean(values), standard_error=error, num_rows=len(values), higher_is_better=metric not in LOWER_IS_BETTER)
