"""The documents of a plan, on storage."""

import re
from pathlib import Path

import pytest

from dtx_tasks.entrypoints.documents import note_run, read_plan, uris_of, write_plan
from dtx_tasks.errors import SpecError
from dtx_tasks.records import BaseDocument, Layout, Pack, PrepareDocument, RunReference, digest_of
from dtx_tasks.resolve import Allowed, resolve_dataset, resolve_llm
from dtx_tasks.resolve.files import ResolvedDataset
from dtx_tasks.spec import LLM, Columns, Dataset
from dtx_tasks.storage import digest_of_files, manifest, manifest_of, read_bytes, read_images, read_record
from tests.builders import make_dataset_source, make_experiment, make_llm_source, make_matrix, make_plan

PLAN = make_plan(make_experiment(name="识别", matrix=make_matrix(llms=["a", "b"])))


def test_documents_are_read_as_they_were_planned(tmp_path: Path) -> None:
    """The plan, and every document of it by its URI."""
    uris = write_plan(PLAN, str(tmp_path))
    assert read_plan(uris.plan) == PLAN
    assert tuple(read_record(uri, Pack) for uri in uris.packs) == PLAN.packs
    assert tuple(read_record(uri, BaseDocument) for uri in uris.bases) == PLAN.bases
    assert tuple(read_record(uri, PrepareDocument) for uri in uris.prepare) == PLAN.prepared


def test_documents_are_found_without_writing(tmp_path: Path) -> None:
    """Their URIs follow from the plan."""
    assert uris_of(PLAN, str(tmp_path)) == write_plan(PLAN, str(tmp_path))


def test_layout_of_every_document_is_the_teams(tmp_path: Path) -> None:
    """Stages are told a URI and nothing else."""
    uris = write_plan(PLAN, str(tmp_path))
    assert {Layout.of(uri) for uri in [uris.plan, *uris.packs, *uris.prepare, *uris.bases]} == {Layout(str(tmp_path), "default")}


def test_writing_twice_is_writing_once(tmp_path: Path) -> None:
    """A retried task changes nothing."""
    write_plan(PLAN, str(tmp_path))
    before = manifest(tmp_path)
    write_plan(PLAN, str(tmp_path))
    assert manifest(tmp_path) == before


def test_adapter_is_handed_over_with_its_base(tmp_path: Path, bucket: str) -> None:
    """Pods see neither folder of the author's machine."""
    for name, file in {"tuned": "adapter_config.json", "base": "config.json"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").touch()
        (tmp_path / name / file).write_text('{"peft_type": "LORA", "base_model_name_or_path": "base", "model_type": "llama"}')
    llm = resolve_llm(LLM(name="a", source="tuned", template="default"), Allowed(tmp_path, None))
    rows = make_dataset_source("rows")
    there = rows.model_copy(update={"files": {split: file.model_copy(update={"path": f"{bucket}{file.path}"}) for split, file in rows.files.items()}})
    plan = make_plan(make_experiment(matrix=make_matrix(llms=["a"], datasets=["rows"])), llms={"a": llm}, datasets={"rows": there})
    (moved,) = (document.llm for document in read_plan(write_plan(plan, bucket).plan).bases)
    assert moved.base is not None
    assert all(uri.startswith(f"{bucket}/default/uploads/") for uri in (moved.source, moved.base))
    assert digest_of(["adapter", *(digest_of_files(manifest_of(uri)) for uri in (moved.source, moved.base))], 64) == moved.revision


def test_images_go_with_their_rows(tmp_path: Path, bucket: str) -> None:
    """Pods see no folder of the author's machine: each image is where its digest says, and the Dataset is the same."""
    (tmp_path / "a.png").write_text("pixels")
    (tmp_path / "rows.jsonl").write_text('{"instruction": "<image>?", "output": "b", "images": ["a.png"]}\n')
    dataset = Dataset(name="rows", train="rows.jsonl", validation="rows.jsonl", columns=Columns(images="images"))
    resolved = resolve_dataset(dataset, Allowed(tmp_path, None))
    assert isinstance(resolved, ResolvedDataset)
    llm = make_llm_source().model_copy(update={"kind": "made", "source": "made:tiny-test"})
    plan = make_plan(make_experiment(matrix=make_matrix(datasets=["rows"])), llms={"base": llm}, datasets={"rows": resolved.source})
    (moved,) = read_plan(write_plan(plan, bucket).plan).datasets
    images = moved.files["train"].images
    assert images is not None
    assert images.path.startswith(bucket)
    (image,) = read_images(images)
    assert images.uri_of(image) == f"{bucket}/default/uploads/images/{image.sha256}"
    assert read_bytes(images.uri_of(image)) == b"pixels"
    assert moved.digest == resolved.source.digest


def test_missing_plan_is_told(tmp_path: Path) -> None:
    """With what to do."""
    with pytest.raises(SpecError, match=re.escape(f"{tmp_path}/plan.json is no plan of this version. Plan the experiment again.")):
        read_plan(f"{tmp_path}/plan.json")


def test_first_note_of_a_run_stays(tmp_path: Path) -> None:
    """A task that is tried again did not begin then."""
    first = note_run(PLAN, str(tmp_path), "dag", "run")
    assert note_run(PLAN, str(tmp_path), "dag", "run") == first
    assert read_record(Layout(str(tmp_path), "default").run_reference("dag", "run"), RunReference) == first


def test_run_is_noted_with_what_it_carries_out(tmp_path: Path) -> None:
    """From a DAG run to its plan."""
    noted = note_run(PLAN, str(tmp_path), "dag", "manual__2026-01-01T00:00:00+00:00")
    assert (noted.run_id, noted.experiment_name, noted.plan_id) == ("manual__2026-01-01T00:00:00+00:00", "识别", PLAN.plan_id)
