"""From the text of a spec to a plan: what `dtx plan` prints and what the DAG's first task does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dtx_tasks.catalog import config_folder, load_catalog
from dtx_tasks.errors import SpecError
from dtx_tasks.plan import make_plan
from dtx_tasks.resolve import resolve
from dtx_tasks.spec import FinetuneExperiment, parse

if TYPE_CHECKING:
    from dtx_tasks.records import ExperimentPlan
    from dtx_tasks.resolve import Origin
    from dtx_tasks.spec import SpecDocument


def plan_document(document: SpecDocument, origin: Origin) -> ExperimentPlan:
    """Checks a spec, looks up what it names, and plans it.

    Args:
        document: The spec.
        origin: What its paths count from, and where they may lead.

    Raises:
        SpecError: With every mistake, each with its line.
    """
    # Mistakes of the catalog's own files name their own places.
    experiment, catalog = parse(document, FinetuneExperiment), load_catalog(config_folder())
    try:
        return make_plan(resolve(experiment, catalog, origin))
    except SpecError as error:
        if not error.mistakes:
            raise
        raise document.located(error.mistakes) from None
