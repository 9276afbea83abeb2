"""Writes a plan's documents, and finds them again."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dtx_tasks.entrypoints.uploads import store
from dtx_tasks.errors import SpecError
from dtx_tasks.records import ExperimentPlan, Layout, RunReference, slug
from dtx_tasks.settings import cache_folder
from dtx_tasks.storage import create, is_remote, list_names, put_images, put_list, put_path, read_record, write_record

if TYPE_CHECKING:
    from dtx_tasks.records import DatasetSource, FileSource, ImageList, LLMSource, Record


@dataclass(frozen=True)
class PlanUris:
    """The documents of a plan: all that the stages are told.

    Attributes:
        plan: Of the plan itself.
        bases: One for each distinct base LLM, then one for each reward model.
        prepare: One for each distinct PreparedDataset.
        packs: One for each pack.
    """

    plan: str
    bases: list[str]
    prepare: list[str]
    packs: list[str]


def uris_of(plan: ExperimentPlan, root: str) -> PlanUris:
    """Where the documents of a plan are.

    Args:
        plan: What is to be done.
        root: The storage root.
    """
    folder = Layout(root, plan.team).experiment(plan.name, plan.plan_id)
    return PlanUris(
        plan=f"{folder}/plan.json",
        bases=[f"{folder}/bases/{document.name}.json" for document in plan.fetched],
        prepare=[f"{folder}/prepare/{document.name}.json" for document in plan.prepared],
        packs=[f"{folder}/packs/{document.name}.json" for document in plan.packs],
    )


def write_plan(plan: ExperimentPlan, root: str) -> PlanUris:
    """Writes every document of a plan; writing it twice changes nothing.

    Args:
        plan: What is to be done.
        root: The storage root.
    """
    plan = _moved(plan, root)
    uris = uris_of(plan, root)
    pairs: list[tuple[str, Record]] = [
        *zip(uris.bases, plan.fetched, strict=True),
        *zip(uris.prepare, plan.prepared, strict=True),
        *zip(uris.packs, plan.packs, strict=True),
        (uris.plan, plan),
    ]
    for uri, document in pairs:
        write_record(uri, document)
    return uris


def _moved(plan: ExperimentPlan, root: str) -> ExperimentPlan:
    """The plan with files on storage that would not be found from where it is carried out, or not as they are now."""
    layout = Layout(root, plan.team)
    datasets = {dataset.name: _moved_dataset(dataset, layout) for dataset in plan.datasets}
    llms = {document.llm.llm_id: _moved_llm(document.llm, layout) for document in plan.fetched}
    return plan.model_copy(
        update={
            "datasets": tuple(datasets.values()),
            "prepared": tuple(item.model_copy(update={"llm": llms[item.llm.llm_id], "dataset": datasets[item.dataset.name]}) for item in plan.prepared),
            "bases": tuple(item.model_copy(update={"llm": llms[item.llm.llm_id]}) for item in plan.bases),
            "rewards": tuple(item.model_copy(update={"llm": llms[item.llm.llm_id]}) for item in plan.rewards),
        }
    )


def _moved_dataset(dataset: DatasetSource, layout: Layout) -> DatasetSource:
    # Splits of one file name the same images.
    lists = {images: _moved_images(images, layout) for images in {file.images for file in dataset.files.values() if file.images}}
    files = {split: _moved_file(file, layout) for split, file in dataset.files.items()}
    named = {split: file.model_copy(update={"images": lists[file.images]}) if file.images else file for split, file in files.items()}
    return dataset.model_copy(update={"files": named})


def _moved_file(file: FileSource, layout: Layout) -> FileSource:
    # What was downloaded, or chosen out of a folder, lies in this machine's cache, and may be another file the next time.
    is_kept = "://" in file.label or Path(file.path).is_relative_to(cache_folder())
    if is_remote(file.path) or not (is_remote(layout.root) or is_kept):
        return file
    return file.model_copy(update={"path": hand_over_rows(file, layout)})


def _moved_images(images: ImageList, layout: Layout) -> ImageList:
    """The list itself is in this machine's cache; images that everybody can read stay where they are."""
    if is_remote(images.path):
        return images
    return put_images(images, layout) if is_remote(layout.root) and not is_remote(images.folder) else put_list(images, layout)


def hand_over_rows(file: FileSource, layout: Layout) -> str:
    """Puts the rows of a split on storage, in a place that is named by their content and that of their images.

    Args:
        file: On this machine.
        layout: Of the team.

    Returns:
        The URI.
    """
    path = Path(file.path)
    return put_path(path, file.files, layout.upload(file.content[:16], path.name), file.sha256)


def _moved_llm(llm: LLMSource, layout: Layout) -> LLMSource:
    if llm.kind in ("made", "hub") or not is_remote(layout.root):
        return llm
    moved = {key: store(Path(path), layout) for key, path in (("source", llm.source), ("base", llm.base)) if path and "://" not in path}
    return llm.model_copy(update=moved)


def read_plan(uri: str) -> ExperimentPlan:
    """A plan.

    Raises:
        SpecError: There is none, or none that this version understands.
    """
    plan = read_record(uri, ExperimentPlan)
    if plan is None:
        raise SpecError(f"{uri} is no plan of this version.", "Plan the experiment again.")
    return plan


def find_run(root: str, dag_id: str, run_id: str) -> RunReference | None:
    """What a DAG run carries out; None until its first task has said so.

    Args:
        root: The storage root.
        dag_id: Of the run.
        run_id: Of the run.
    """
    found = (read_record(Layout(root, team).run_reference(dag_id, run_id), RunReference) for team in list_names(root))
    # Ids are shortened to paths: the record names the one that it is about.
    return next((run for run in found if run and (run.dag_id, run.run_id) == (dag_id, run_id)), None)


def note_run(plan: ExperimentPlan, root: str, dag_id: str, run_id: str) -> RunReference:
    """Writes down that a DAG run carries out a plan; an earlier note of the same run stays.

    Args:
        plan: What it carries out.
        root: The storage root.
        dag_id: Of the run.
        run_id: Of the run.
    """
    layout = Layout(root, plan.team)
    run = RunReference(
        dag_id=dag_id,
        run_id=run_id,
        started_at=time.time(),
        team=plan.team,
        experiment_name=plan.name,
        plan_id=plan.plan_id,
        versions=plan.versions,
    )
    uri = f"{layout.experiment(plan.name, plan.plan_id)}/runs/{slug(f'{dag_id} {run_id}', 90)}.json"
    create(uri, run.model_dump_json().encode())
    noted = read_record(uri, RunReference) or run
    write_record(layout.run_reference(dag_id, run_id), noted)
    return noted
