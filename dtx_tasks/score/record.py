"""Whether a job or a base is scored already; light, so that it can be asked without starting a process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dtx_tasks.plan import CODE_VERSIONS
from dtx_tasks.records import FetchedLLM, Layout, LLMCheckpoint, ScoreCards
from dtx_tasks.score.rows import scored_rows
from dtx_tasks.storage import read_record, verify

if TYPE_CHECKING:
    from dtx_tasks.records import BaseDocument, FinetuneJob, ScoringDocument


def job_scored(job: FinetuneJob, scoring: ScoringDocument, layout: Layout) -> ScoreCards | None:
    """The valid ScoreCards of a job's present checkpoint."""
    checkpoint = read_record(f"{layout.job(job.job_id)}/result.json", LLMCheckpoint)
    return scored(job.job_id, checkpoint.digest, scoring, layout) if checkpoint else None


def base_scored(document: BaseDocument, layout: Layout) -> ScoreCards | None:
    """The valid ScoreCards of a base."""
    base = read_record(f"{layout.llm(document.llm.llm_id)}/fetched.json", FetchedLLM)
    return scored(document.llm.llm_id, base.digest, document.scoring, layout) if base else None


def scored(checkpoint_id: str, digest: str, scoring: ScoringDocument, layout: Layout) -> ScoreCards | None:
    """The ScoreCards of a checkpoint, if they are of this content, on these rows, by this code."""
    folder = layout.score(checkpoint_id, scoring.scoring_id)
    record = read_record(f"{folder}/scores.json", ScoreCards)
    if record is None or record.code_version != CODE_VERSIONS["score"] or not verify(f"{folder}/files", record.files):
        return None
    inputs = {"checkpoint": digest, "rows": scored_rows(scoring, layout).digest}
    return record if record.inputs == inputs else None
