"""From names to facts: revisions, digests and row counts, and what is finished already."""

from dtx_tasks.resolve.files import Allowed
from dtx_tasks.resolve.finished import finished_jobs, tokens_per_s
from dtx_tasks.resolve.inputs import Origin, resolve

__all__ = ["Allowed", "Origin", "finished_jobs", "resolve", "tokens_per_s"]
