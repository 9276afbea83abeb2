"""From names to facts: revisions, digests and row counts, and what is finished already."""

from dtx_tasks.resolve.files import Allowed, dataset_parts, definition_mistakes, resolve_dataset
from dtx_tasks.resolve.finished import finished_jobs, tokens_per_s
from dtx_tasks.resolve.groups import merged_values
from dtx_tasks.resolve.images import told_apart
from dtx_tasks.resolve.inputs import Origin, resolve
from dtx_tasks.resolve.llm import resolve_llm
from dtx_tasks.resolve.own import OwnFiles, files_of
from dtx_tasks.resolve.plugins import check_parameters, names_of_parameters, resolve_plugins, with_parameters
from dtx_tasks.resolve.references import names_of

__all__ = [
    "Allowed",
    "Origin",
    "OwnFiles",
    "check_parameters",
    "dataset_parts",
    "definition_mistakes",
    "files_of",
    "finished_jobs",
    "merged_values",
    "names_of",
    "names_of_parameters",
    "resolve",
    "resolve_dataset",
    "resolve_llm",
    "resolve_plugins",
    "tokens_per_s",
    "told_apart",
    "with_parameters",
]
