"""From the text of a spec to a plan: what `dtx plan` prints and what the DAG's first task does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dtx_tasks.catalog import kind_of, open_catalog, own_resources
from dtx_tasks.errors import SpecError
from dtx_tasks.plan import make_plan
from dtx_tasks.resolve import files_of, resolve
from dtx_tasks.spec import FinetuneExperiment, parse
from dtx_tasks.translate import dialect_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dtx_tasks.catalog import Catalog
    from dtx_tasks.plan import ResolvedInputs
    from dtx_tasks.records import DatasetSource, ExperimentPlan, LLMSource, ResourceVersion
    from dtx_tasks.resolve import Origin
    from dtx_tasks.spec import SpecDocument


def plan_document(document: SpecDocument, origin: Origin) -> ExperimentPlan:
    """Checks a spec, looks up what it names, and plans it.

    Where files of the user's own resource have changed under the same name, the catalog gets a new version of it.

    Args:
        document: The spec.
        origin: What its paths count from, and where they may lead.

    Raises:
        SpecError: With every mistake, each with its line.
    """
    _refuse_training_file(document)
    # Mistakes of the catalog's own files name their own places.
    experiment = parse(document, FinetuneExperiment)
    catalog = open_catalog(experiment.team)
    try:
        return make_plan(_with_changed_files(resolve(experiment, catalog, origin), catalog))
    except SpecError as error:
        if not error.mistakes:
            raise
        raise document.located(error.mistakes) from None


def _refuse_training_file(document: SpecDocument) -> None:
    """Each of its lines would be a mistake of its own."""
    dialect = dialect_of(document)
    if dialect and not document.data.keys() & {"kind", "matrix", "jobs"}:
        raise SpecError(
            f"{document.name}: is a training file of {dialect.name.split()[0]} ({dialect.mark} stands at its top), not an experiment.",
            f"`dtx import {document.name}` makes an experiment of it.",
        )


def _with_changed_files(inputs: ResolvedInputs, catalog: Catalog) -> ResolvedInputs:
    return inputs.model_copy(update={"versions": tuple(_recorded(used, inputs, catalog) for used in inputs.versions)})


def _recorded(used: ResourceVersion, inputs: ResolvedInputs, catalog: Catalog) -> ResourceVersion:
    """What is used, as the catalog has it from now on."""
    sources: dict[str, Mapping[str, DatasetSource | LLMSource]] = {"LLM": inputs.llms, "Dataset": inputs.datasets}
    source = sources.get(used.kind, {}).get(used.name) if used.version else None
    latest = catalog.own(kind_of(used.kind), used.name) if source else None
    if source is None or latest is None or latest.number != used.version or latest.digest == used.digest:
        return used
    own = own_resources(inputs.experiment.team)
    added = own.note_files(latest, kind_of(used.kind), files_of(source), author=f"a plan of {inputs.experiment.name}")
    return used.model_copy(update={"version": added.number})
