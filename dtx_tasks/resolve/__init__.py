"""From names to facts: revisions, digests and row counts, and what is finished already."""

from dtx_tasks.resolve.files import Allowed, dataset_parts, definition_mistakes
from dtx_tasks.resolve.finished import finished_jobs, tokens_per_s
from dtx_tasks.resolve.inputs import Origin, resolve

__all__ = ["Allowed", "Origin", "dataset_parts", "definition_mistakes", "finished_jobs", "resolve", "tokens_per_s"]
