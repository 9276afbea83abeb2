"""Whether a job is trained already; light, so that it can be asked without starting a process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dtx_tasks.plan import CODE_VERSIONS
from dtx_tasks.records import VALIDATION_FILE, FetchedLLM, Layout, LLMCheckpoint, PreparedDataset
from dtx_tasks.spec import follows_validation
from dtx_tasks.storage import read_record, verify

if TYPE_CHECKING:
    from dtx_tasks.records import FinetuneJob


def inputs_of(job: FinetuneJob, layout: Layout) -> dict[str, str] | None:
    """Digests of what a job learns from and starts from; None while one of them is not on storage."""
    prepared = read_record(f"{layout.prepared(job.prepared_id)}/prepared.json", PreparedDataset)
    base = read_record(f"{layout.llm(job.llm.llm_id)}/fetched.json", FetchedLLM)
    reward = read_record(f"{layout.llm(job.reward.llm_id)}/fetched.json", FetchedLLM) if job.reward else None
    if prepared is None or base is None or (job.reward and reward is None):
        return None
    found = {"train": prepared.train_digest, "llm": base.digest, "llm_id": job.llm.llm_id}
    if reward:
        found["reward"] = reward.digest
    if follows_validation(job.hyperparameters):
        found["validation"] = next((entry.sha256 for entry in prepared.files if entry.path == VALIDATION_FILE), "")
    return found


def trained(job: FinetuneJob, layout: Layout) -> LLMCheckpoint | None:
    """The valid checkpoint of a job: of this content, by this code, with every file there."""
    folder = layout.job(job.job_id)
    record = read_record(f"{folder}/result.json", LLMCheckpoint)
    is_valid = (
        record and record.code_version == CODE_VERSIONS["train"] and record.inputs == inputs_of(job, layout) and verify(f"{folder}/checkpoint", record.files)
    )
    return record if is_valid else None
