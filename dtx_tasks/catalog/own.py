"""Opens the user's own named resources, and joins them with the bundled ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dtx_tasks.catalog.bundled import Catalog, config_folder, load_catalog
from dtx_tasks.catalog.kinds import DATASETS, GROUPS, LLMS, PARAMETERS, SCORINGS
from dtx_tasks.catalog.names import MergedNames
from dtx_tasks.errors import SpecError
from dtx_tasks.settings import SQLITE, catalog_url

if TYPE_CHECKING:
    from dtx_tasks.catalog.store import OwnResources


def own_resources(team: str) -> OwnResources:
    """A team's own named resources, in the database that DTX_CATALOG_URL names; made on first use.

    Args:
        team: Whose.

    Raises:
        SpecError: The libraries for it are not installed.
    """
    try:
        # SQLAlchemy is for those who read the catalog: no DAG file and no training process does.
        from dtx_tasks.catalog.store import OwnResources
    except ModuleNotFoundError as error:
        raise SpecError(f"Named resources of your own need a library that is not here: {error.name}.", "pip install 'dtx-tasks[airflow,postgres]'") from None
    return OwnResources(catalog_url(), team)


def has_own_resources() -> bool:
    """Whether there is a database to look into: a SQLite file is not made by looking."""
    url = catalog_url()
    return not url.startswith(SQLITE) or Path(url.removeprefix(SQLITE)).exists()


def open_catalog(team: str) -> Catalog:
    """The bundled resources and a team's own, as they are now.

    Args:
        team: Whose.

    Raises:
        SpecError: A bundled file has mistakes.
        TransientError: The database cannot be reached.
    """
    bundled = load_catalog(config_folder())
    if not has_own_resources():
        return bundled
    own = own_resources(team)
    latest = own.latest()
    return replace(
        bundled,
        llms=MergedNames(LLMS, bundled.llms, latest, own),
        datasets=MergedNames(DATASETS, bundled.datasets, latest, own),
        groups=MergedNames(GROUPS, bundled.groups, latest, own),
        scorings=MergedNames(SCORINGS, bundled.scorings, latest, own),
        parameters=MergedNames(PARAMETERS, bundled.parameters, latest, own),
    )
