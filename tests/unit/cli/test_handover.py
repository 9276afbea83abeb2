"""The author's files, handed over to the platform."""

import json
from pathlib import Path
from typing import Any

import pytest

from dtx_tasks.catalog import DATASETS, LLMS
from dtx_tasks.cli.handover import hand_over
from dtx_tasks.entrypoints.documents import read_plan, write_plan
from dtx_tasks.entrypoints.planning import plan_document
from dtx_tasks.entrypoints.resources import create_resource
from dtx_tasks.errors import DataError, SpecError
from dtx_tasks.resolve import Origin
from dtx_tasks.settings import data_roots
from dtx_tasks.spec import SpecDocument
from dtx_tasks.storage import bring_images, list_names, manifest, read_bytes, read_images, write_bytes
from tests.builders import EXPERIMENT, FakeData, make_matrix, make_plan
from tests.unit.cli.command import dtx

PLAN = make_plan()


def spec(**axes: Any) -> dict[str, Any]:
    return {**EXPERIMENT, "matrix": make_matrix(**axes)}


def handed(folder: Path, data: dict[str, Any]) -> dict[str, Any]:
    return hand_over(data, PLAN, folder, str(folder / "store"))


def test_files_of_a_definition_are_uploaded(tmp_path: Path) -> None:
    """By their content, under their own names; paths count from the spec's folder."""
    FakeData(tmp_path).text("data/a.jsonl", "rows")
    FakeData(tmp_path).text("b.csv", "other")
    found = handed(tmp_path, spec(datasets=[{"name": "d", "train": "data/a.jsonl", "test": str(tmp_path / "b.csv"), "validation": None}]))
    (dataset,) = found["matrix"]["datasets"]
    assert (Path(dataset["train"]).read_text(), Path(dataset["test"]).read_text(), dataset["validation"]) == ("rows", "other", None)
    assert Path(dataset["train"]).is_relative_to(tmp_path / "store" / "default" / "uploads")
    assert Path(dataset["train"]).name == "a.jsonl"


def test_folder_of_rows_is_uploaded_whole(tmp_path: Path) -> None:
    """Under its own name, and once."""
    for name in ("a.jsonl", "b.jsonl"):
        FakeData(tmp_path).text(f"data/{name}", name)
    data = spec(datasets=[{"name": "d", "train": "data/"}])
    (dataset,) = handed(tmp_path, data)["matrix"]["datasets"]
    assert (Path(dataset["train"]).name, (Path(dataset["train"]) / "b.jsonl").read_text()) == ("data", "b.jsonl")
    assert handed(tmp_path, data)["matrix"]["datasets"] == [dataset]


def test_files_of_a_pattern_are_uploaded_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And where nothing is uploaded the plan keeps them: this machine's links to them may be gone when it is carried out."""
    monkeypatch.setenv("DTX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DTX_CONFIG", str(FakeData(tmp_path).config()))
    monkeypatch.setenv("DTX_HOME", str(tmp_path / "home"))
    for name in ("train-0", "train-1", "test-0"):
        FakeData(tmp_path).jsonl(f"data/{name}.jsonl", 3)
    request = SpecDocument("e", {"name": "x", **spec(datasets=[{"name": "d", "train": "data/train-*", "test": 2}])})
    (dataset,) = handed(tmp_path, request.data)["matrix"]["datasets"]
    assert list_names(dataset["train"]) == ["train-0.jsonl", "train-1.jsonl"]
    uris = write_plan(plan_document(request, Origin(tmp_path)), str(tmp_path / "kept"))
    path = Path(read_plan(uris.plan).datasets[0].files["train"].path)
    assert (list_names(str(path)), path.is_relative_to(tmp_path / "kept")) == (["train-0.jsonl", "train-1.jsonl"], True)


def test_rows_held_out_need_no_upload_of_their_own(tmp_path: Path) -> None:
    """They are part of the train file."""
    FakeData(tmp_path).text("a.jsonl", "rows")
    data = {"name": "d", "train": "a.jsonl", "validation": 0.1, "test": {"subset": "held"}}
    (dataset,) = handed(tmp_path, spec(datasets=[data]))["matrix"]["datasets"]
    assert (Path(dataset["train"]).read_text(), dataset["validation"], dataset["test"]) == ("rows", 0.1, {"subset": "held"})


@pytest.fixture
def platform(tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The storage of a platform that reads nothing of the author's machine."""
    for name, value in {"DTX_CONFIG": FakeData(tmp_path).config(), "DTX_HOME": tmp_path / "home", "DTX_ROOT": bucket}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.delenv("DTX_CATALOG_URL", raising=False)
    data = FakeData(tmp_path / "here")
    for name in ("red", "blue"):
        data.text(f"data/images/{name}.png", name)
    rows = [{"instruction": f"<image>{name}?", "output": name, "images": [f"images/{name}.png"]} for name in ("red", "blue")]
    data.jsonl("data/rows.jsonl", rows * 2)
    data.model("model", json.dumps({"model_type": "llava", "vision_config": {}}))
    return bucket


def seeing(dataset: Any) -> SpecDocument:
    llm = {"name": "l", "source": "model", "template": "llava"}
    return SpecDocument("e", {"name": "x", "matrix": {"llms": [llm], "datasets": [dataset], "hyperparameters": ["quick"]}})


@pytest.mark.parametrize("is_local", [True, False])
@pytest.mark.parametrize("train", ["data", "data/rows.jsonl", "data/*.jsonl"])
def test_images_are_handed_over_with_their_rows(tmp_path: Path, platform: str, train: str, is_local: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The platform plans the same from them; an image that changes is another upload, and the first one stays as it is."""
    root = str(tmp_path / "store") if is_local else platform
    monkeypatch.setenv("DTX_ROOT", root)
    request, here = seeing({"name": "d", "train": train, "test": 0.5, "columns": {"images": "images"}}), tmp_path / "here"
    local = plan_document(request, Origin(here))
    handed = hand_over(request.data, local, here, root)
    assert hand_over(request.data, local, here, root) == handed
    (here / "data/images/red.png").write_text("other")
    after = hand_over(request.data, plan_document(request, Origin(here)), here, root)
    there = plan_document(SpecDocument("e", handed), Origin(None, data_roots("default")))
    assert (there.plan_id, after != handed) == (local.plan_id, True)
    images = read_plan(write_plan(there, root).plan).datasets[0].files["train"].images
    assert images is not None
    brought = bring_images(images)
    assert [Path(brought.uri_of(image)).read_text() for image in read_images(brought)] == ["red", "blue"]


def test_images_of_an_own_dataset_are_handed_over(tmp_path: Path, platform: str) -> None:
    """In the version that is used."""
    here = tmp_path / "here"
    values = {"name": "mine", "train": "data", "test": 1, "columns": {"images": "images"}}
    create_resource(DATASETS, SpecDocument("d", values), Origin(here), team="default", author="ann")
    request = seeing("mine")
    local = plan_document(request, Origin(here))
    handed = hand_over(request.data, local, here, platform)
    (here / "data/images/red.png").write_text("other")
    there = plan_document(SpecDocument("e", handed | {"matrix": handed["matrix"] | {"datasets": ["mine@1"]}}), Origin(None, data_roots("default")))
    assert [job.job_id for job in there.jobs] == [job.job_id for job in local.jobs]


def test_rows_that_were_handed_over_are_checked(tmp_path: Path, platform: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With the images that went with them."""
    request, here = seeing({"name": "d", "train": "data", "test": 0.5, "columns": {"images": "images"}}), tmp_path / "here"
    handed = hand_over(request.data, plan_document(request, Origin(here)), here, platform)
    FakeData(tmp_path).text("d.yaml", json.dumps(handed["matrix"]["datasets"][0]))
    assert dtx(monkeypatch, "dataset", "check", str(tmp_path / "d.yaml")) == 0
    assert "missing_file" not in capsys.readouterr().out


def test_rows_that_name_more_than_was_handed_over_are_refused(tmp_path: Path, platform: str) -> None:
    """Somebody has changed the list of their images."""
    request, here = seeing({"name": "d", "train": "data", "test": 1, "columns": {"images": "images"}}), tmp_path / "here"
    handed = hand_over(request.data, plan_document(request, Origin(here)), here, platform)
    beside = f"{handed['matrix']['datasets'][0]['train'].rpartition('/')[0]}/.images.jsonl"
    first = read_bytes(beside).split(b"\n")[0]
    write_bytes(beside, first + b"\n")
    with pytest.raises(SpecError, match=r"rows.jsonl:2: row: the image 'images/blue.png' cannot be read: it was not handed over with the rows"):
        plan_document(SpecDocument("e", handed), Origin(None, data_roots("default")))
    write_bytes(beside, first.replace(b'"sha256":"', b'"sha256":"../../'))
    with pytest.raises(DataError, match=r"images.jsonl is no list of images"):
        plan_document(SpecDocument("e", handed), Origin(None, data_roots("default")))


def test_names_stay_names(tmp_path: Path) -> None:
    """The platform knows them; nothing is uploaded, and the rest of the spec is as it was."""
    data = spec(seeds=[1])
    assert handed(tmp_path, data) == data
    assert not (tmp_path / "store").exists()


def test_models_are_uploaded_whole_and_recipes_are_not(tmp_path: Path) -> None:
    """A folder with everything in it."""
    for name in ("config.json", "model.safetensors", "sub/merges.txt"):
        FakeData(tmp_path).text(f"model/{name}", '{"model_type": "llama"}')
    found = handed(tmp_path, spec(llms=[{"name": "l", "source": "model"}, {"name": "m", "source": "made:tiny-test"}]))
    first, second = found["matrix"]["llms"]
    assert [entry.path for entry in manifest(Path(first["source"]))] == ["config.json", "model.safetensors", "sub/merges.txt"]
    assert second["source"] == "made:tiny-test"


def test_adapter_is_handed_over_with_its_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The platform is told where that is, for the adapter names it as it is called here: it comes to the same plan."""
    data = FakeData(tmp_path)
    for name, value in {"DTX_CONFIG": data.config(), "DTX_HOME": tmp_path / "home", "DTX_ROOT": tmp_path / "store"}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.delenv("DTX_CATALOG_URL", raising=False)
    base = data.model("model")
    data.text("tuned/adapter_config.json", json.dumps({"peft_type": "LORA", "base_model_name_or_path": str(base)}))
    matrix = {"llms": [{"name": "l", "source": "tuned"}], "datasets": [{"name": "mine", **data.splits("mine")}], "hyperparameters": ["quick"]}
    request = SpecDocument("e", {"name": "x", "matrix": matrix})
    local = plan_document(request, Origin(tmp_path))
    changed = hand_over(request.data, local, tmp_path, str(tmp_path / "store"))
    assert plan_document(SpecDocument("e", changed), Origin(None, data_roots("default"))).plan_id == local.plan_id


def test_definitions_anywhere_are_handed_over(tmp_path: Path) -> None:
    """In includes and in jobs."""
    FakeData(tmp_path).text("a.jsonl", "rows")
    entry = {"llm": "base", "dataset": {"name": "d", "train": "a.jsonl"}, "hyperparameters": "quick"}
    found = handed(tmp_path, {**spec(include=[entry]), "jobs": [entry]})
    trains = [found["matrix"]["include"][0]["dataset"]["train"], found["jobs"][0]["dataset"]["train"]]
    assert all(Path(train).read_text() == "rows" for train in trains)


def test_spec_of_the_author_is_not_changed(tmp_path: Path) -> None:
    """It is still the author's."""
    FakeData(tmp_path).text("a.jsonl", "rows")
    data = spec(datasets=[{"name": "d", "train": "a.jsonl"}])
    handed(tmp_path, data)
    assert data == spec(datasets=[{"name": "d", "train": "a.jsonl"}])


def test_handing_over_twice_is_handing_over_once(tmp_path: Path) -> None:
    """The same files are the same uploads, also from where they were uploaded to."""
    FakeData(tmp_path).text("a.jsonl", "rows")
    FakeData(tmp_path).model("model")
    data = spec(datasets=[{"name": "d", "train": "a.jsonl"}], llms=[{"name": "l", "source": "model"}])
    first = handed(tmp_path, data)
    before = manifest(tmp_path / "store")
    assert handed(tmp_path, data) == handed(tmp_path, first) == first
    assert manifest(tmp_path / "store") == before


def test_changed_file_is_another_upload(tmp_path: Path) -> None:
    """An experiment that runs keeps what it was given."""
    data = spec(datasets=[{"name": "d", "train": "a.jsonl"}])
    trains = []
    for content in ("rows", "other"):
        FakeData(tmp_path).text("a.jsonl", content)
        trains.append(handed(tmp_path, data)["matrix"]["datasets"][0]["train"])
    assert [Path(train).read_text() for train in trains] == ["rows", "other"]


def test_upload_that_was_cut_off_is_completed(tmp_path: Path) -> None:
    """A model without its weights is no upload."""
    for name, content in (("config.json", '{"model_type": "llama"}'), ("model.safetensors", "weights")):
        FakeData(tmp_path).text(f"model/{name}", content)
    data = spec(llms=[{"name": "l", "source": "model"}])
    source = Path(handed(tmp_path, data)["matrix"]["llms"][0]["source"])
    (source / "model.safetensors").unlink()
    handed(tmp_path, data)
    assert (source / "model.safetensors").read_text() == "weights"


@pytest.mark.parametrize("train", ["rows", "rows/*.jsonl"])
def test_folder_of_an_own_resource_is_handed_over_by_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, train: str) -> None:
    """The same for a folder of rows, and for some files of one."""
    data = FakeData(tmp_path)
    monkeypatch.setenv("DTX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DTX_CONFIG", str(data.config()))
    monkeypatch.setenv("DTX_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DTX_ROOT", str(tmp_path / "store"))
    monkeypatch.delenv("DTX_CATALOG_URL", raising=False)
    data.jsonl("rows/a.jsonl", 3)
    data.jsonl("rows/b.jsonl", 4)
    create_resource(DATASETS, SpecDocument("d", {"name": "mine", "train": train, "test": 2}), Origin(tmp_path), team="default", author="ann")
    request = SpecDocument("e", {"name": "x", "matrix": {"llms": ["base"], "datasets": ["mine"], "hyperparameters": ["quick"]}})
    local = plan_document(request, Origin(tmp_path))
    hand_over(request.data, local, tmp_path, str(tmp_path / "store"))
    assert plan_document(request, Origin(None, data_roots("default"))).plan_id == local.plan_id


def test_files_of_own_resources_are_handed_over_by_their_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that names them finds that very version, from where the author's folder cannot be read; what changed since does not matter to it."""
    data = FakeData(tmp_path)
    monkeypatch.setenv("DTX_CONFIG", str(data.config()))
    monkeypatch.setenv("DTX_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DTX_ROOT", str(tmp_path / "store"))
    monkeypatch.delenv("DTX_CATALOG_URL", raising=False)
    data.model("model")
    (tmp_path / "link").symlink_to(tmp_path / "model")
    create_resource(DATASETS, SpecDocument("d", {"name": "mine", **data.splits("mine")}), Origin(tmp_path), team="default", author="ann")
    create_resource(LLMS, SpecDocument("l", {"name": "mine", "source": "link"}), Origin(tmp_path), team="default", author="ann")
    request = SpecDocument("e", {"name": "x", "matrix": {"llms": ["mine"], "datasets": ["mine"], "hyperparameters": ["quick"]}})
    local = plan_document(request, Origin(tmp_path))
    assert hand_over(request.data, local, tmp_path, str(tmp_path / "store")) == request.data
    bound = Origin(None, data_roots("default"))
    assert plan_document(request, bound).versions == local.versions
    assert plan_document(request, bound).plan_id == local.plan_id
    data.jsonl("mine.train.jsonl", 7)
    pinned = SpecDocument("e", {"name": "x", "matrix": {"llms": ["mine"], "datasets": ["mine@1"], "hyperparameters": ["quick"]}})
    for origin in (bound, Origin(tmp_path)):
        assert [job.job_id for job in plan_document(pinned, origin).jobs] == [job.job_id for job in local.jobs]
