"""Named resources: the LLMs, Datasets, HyperparameterGroups and Scorings that come with the project."""

from dtx_tasks.catalog.bundled import Catalog, config_folder, load_catalog

__all__ = ["Catalog", "config_folder", "load_catalog"]
