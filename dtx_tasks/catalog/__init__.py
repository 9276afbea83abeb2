"""Named resources: the LLMs, Datasets, HyperparameterGroups, Scorings and PluginParameters that come with the project, and the user's own."""

from dtx_tasks.catalog.bundled import Catalog, config_folder, load_catalog, load_families
from dtx_tasks.catalog.kinds import DATASETS, GROUPS, KINDS, LLMS, PARAMETERS, SCORINGS, Kind
from dtx_tasks.catalog.own import has_own_resources, open_catalog, own_resources
from dtx_tasks.catalog.version import ConflictError, Version, content_of, digest_of_version, kind_of

__all__ = [
    "DATASETS",
    "GROUPS",
    "KINDS",
    "LLMS",
    "PARAMETERS",
    "SCORINGS",
    "Catalog",
    "ConflictError",
    "Kind",
    "Version",
    "config_folder",
    "content_of",
    "digest_of_version",
    "has_own_resources",
    "kind_of",
    "load_catalog",
    "load_families",
    "open_catalog",
    "own_resources",
]
