"""Images that rows name: told apart by what they hold, and refused where they cannot be read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dtx_tasks.dataset import Part, leaked_rows
from dtx_tasks.errors import Mistake
from dtx_tasks.resolve import Allowed, resolve_dataset
from dtx_tasks.resolve.files import ResolvedDataset
from dtx_tasks.resolve.images import images_of
from dtx_tasks.resolve.leakage import near_leakage
from dtx_tasks.spec import Columns, Dataset
from dtx_tasks.storage import read_images, write_bytes
from tests.builders import FakeData

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DTX_CACHE", str(tmp_path / "cache"))


def row(*images: str, question: str = "Which colour is this?") -> dict[str, Any]:
    return {"instruction": "<image>" * len(images) + question, "output": "red", "images": list(images)}


def resolved(folder: Path, *, roots: tuple[Path, ...] | None = None, **changes: Any) -> ResolvedDataset | list[Mistake]:
    dataset = Dataset(**{"name": "d", "train": "train.jsonl", "columns": Columns(images="images"), **changes})
    return resolve_dataset(dataset, Allowed(folder, roots))


def known(folder: Path, **changes: Any) -> ResolvedDataset:
    found = resolved(folder, **changes)
    assert isinstance(found, ResolvedDataset)
    return found


@pytest.mark.parametrize(("pixels", "num_leaked"), [("other", 0), ("one", 1)])
def test_rows_are_the_same_where_their_images_are(tmp_path: Path, pixels: str, num_leaked: int) -> None:
    """Whatever the images are called: `a/1.png` and `b/1.png` of one question are two rows, and one picture of two names is one."""
    data = FakeData(tmp_path)
    data.text("a/1.png", "one")
    data.text("b/1.png", pixels)
    data.jsonl("train.jsonl", [row("a/1.png")])
    data.jsonl("test.jsonl", [row("b/1.png")])
    found = known(tmp_path, test="test.jsonl")
    assert found.scans is not None
    assert len(leaked_rows({"d": found.scans})) == num_leaked
    assert list(near_leakage({"d": found})) == []


def test_rows_of_one_name_and_two_images_do_not_leak(tmp_path: Path) -> None:
    """Two folders whose images are numbered alike."""
    data = FakeData(tmp_path)
    for folder in ("a", "b"):
        data.text(f"{folder}/1.png", folder)
        data.jsonl(f"{folder}/rows.jsonl", [row("1.png")])
    found = known(tmp_path, train="a/rows.jsonl", test="b/rows.jsonl")
    assert found.scans is not None
    assert leaked_rows({"d": found.scans}) == []


@pytest.mark.parametrize(("pixels", "is_near"), [("other", False), ("one", True)])
def test_almost_the_same_question_counts_of_the_same_image(tmp_path: Path, pixels: str, is_near: bool) -> None:
    """Sets of questions about images repeat them."""
    data, words = FakeData(tmp_path), " ".join(f"Say in one word which colour the thing number {number} has." for number in range(20))
    data.text("a.png", "one")
    data.text("b.png", pixels)
    data.jsonl("train.jsonl", [row("a.png", question=f"{words}?")])
    data.jsonl("test.jsonl", [row("b.png", question=f"{words}.")])
    assert bool(list(near_leakage({"d": known(tmp_path, test="test.jsonl")}))) == is_near


def test_splits_of_one_file_share_one_list(tmp_path: Path) -> None:
    """Which does not grow with what the plan holds of it."""
    data = FakeData(tmp_path)
    for number in range(20):
        data.text(f"{number}.png", f"{number % 10}")
    data.jsonl("train.jsonl", [row(f"{number}.png") for number in range(20)])
    source = known(tmp_path, validation=0.2, test=0.2).source
    (images,) = {file.images for file in source.files.values()}
    assert images is not None
    assert (images.num_images, [image.written for image in read_images(images)]) == (20, [f"{number}.png" for number in range(20)])
    assert len(source.model_dump_json()) < 3000
    assert sum(file.num_rows for file in source.files.values()) == 20


def test_list_is_the_same_in_another_folder(tmp_path: Path) -> None:
    """Where images are is no part of what a Dataset is."""
    for place in ("here", "there"):
        FakeData(tmp_path / place).text("a.png", "one")
        FakeData(tmp_path / place).jsonl("train.jsonl", [row("a.png")])
    assert known(tmp_path / "here").source.digest == known(tmp_path / "there").source.digest


@pytest.mark.parametrize(
    ("name", "reason"),
    [("gone.png", "No such file or directory"), ("folder.png", "Is a directory"), ("swapped.png", "No such file or directory")],
)
def test_image_that_cannot_be_read_by_now_is_told(tmp_path: Path, name: str, reason: str) -> None:
    """With its row; one that became a link out of the folders that may be read as if it were gone."""
    (tmp_path / "data/folder.png").mkdir(parents=True)
    (tmp_path / "secret").write_text("of others")
    (tmp_path / "data/swapped.png").symlink_to(tmp_path / "secret")
    part = Part(tmp_path / "data/rows.jsonl", "rows.jsonl", may_look=Allowed(tmp_path, (tmp_path / "data",)).holds)
    remedy = "Put it there, as a file that whoever plans the experiment may read."
    assert images_of({"train": part}, {"train": {name: 3}}, {}) == [
        Mistake(".train", f"rows.jsonl:3: row: the image {name!r} cannot be read: {reason}", remedy),
    ]


@pytest.mark.parametrize("name", ["a.png", "/etc/hostname"])
def test_rows_of_elsewhere_name_no_images_of_this_machine(tmp_path: Path, bucket: str, name: str) -> None:
    """Whoever carries out the plan would not find them."""
    path = FakeData(tmp_path).jsonl("train.jsonl", [row(name)])
    uri = f"{bucket}/rows.jsonl"
    write_bytes(uri, path.read_bytes())
    told = f"its rows have images, which are looked for on this machine alone, and the rows are elsewhere (got {uri!r})"
    assert resolved(tmp_path, train=uri) == [Mistake(".train", told, "Download the rows and their images, and name the file.")]


@pytest.mark.parametrize(
    ("more", "columns"),
    [({"videos": [], "images": []}, {"images": "images", "videos": "videos"}), ({"images": [], "chosen": "x", "rejected": "y"}, {"images": "images"})],
)
def test_empty_lists_are_no_files(tmp_path: Path, more: dict[str, Any], columns: dict[str, str]) -> None:
    """Many exports have one in every row."""
    values = {"instruction": "Which?", **({} if "chosen" in more else {"output": "red"}), **more}
    FakeData(tmp_path).jsonl("train.jsonl", [values])
    kind = "preferences" if "chosen" in more else None
    source = known(tmp_path, columns=Columns(**columns), kind=kind).source
    assert (source.problem, source.has_images) == ("", False)


@pytest.mark.parametrize("train", ["data", "data/", "data/train-*.jsonl", "data/train-*"])
def test_images_lie_beside_the_rows_of_a_folder(tmp_path: Path, train: str) -> None:
    """In it or below it, for all of its files and for some of them; they are no rows."""
    data = FakeData(tmp_path)
    data.text("data/a.png", "one")
    data.text("data/images/b.JPG", "two")
    data.jsonl("data/train-0.jsonl", [row("a.png")])
    data.jsonl("data/train-1.jsonl", [row("images/b.JPG")])
    (file,) = known(tmp_path, train=train).source.files.values()
    assert file.images is not None
    assert (file.num_rows, file.images.num_images, file.images.folder) == (2, 2, str(tmp_path / "data"))
    assert [entry.path for entry in file.files] == ["train-0.jsonl", "train-1.jsonl"]


@pytest.mark.parametrize("name", ["images/notes.txt", "images/rows.jsonl", "empty/.hidden", "notes.txt"])
def test_what_is_neither_rows_nor_images_is_refused_beside_them(tmp_path: Path, name: str) -> None:
    """Nothing is left out in silence."""
    data = FakeData(tmp_path)
    data.text(f"data/{name}", "")
    data.text("data/images/a.png", "one")
    data.jsonl("data/rows.jsonl", [row("images/a.png")])
    (wrong,) = resolved(tmp_path, train="data") or [None]
    assert isinstance(wrong, Mistake)
    assert "is a folder with something in it that is no file of rows: " in wrong.problem


def test_request_takes_no_folder_with_links_to_images_elsewhere(tmp_path: Path) -> None:
    """It would learn of what lies there."""
    data = FakeData(tmp_path)
    data.text("secret/a.png", "of others")
    data.jsonl("data/rows.jsonl", [row("images/a.png")])
    (tmp_path / "data/images").symlink_to(tmp_path / "secret")
    assert isinstance(resolved(tmp_path, train="data", roots=(tmp_path / "data",)), list)
    assert isinstance(resolved(tmp_path, train="data"), ResolvedDataset)


def test_number_of_samples_does_not_change_what_a_file_is(tmp_path: Path) -> None:
    """A version of the catalog is known by it, whatever an experiment takes of its rows."""
    data = FakeData(tmp_path)
    for number in range(4):
        data.text(f"{number}.png", f"{number}")
    data.jsonl("train.jsonl", [row(f"{number}.png") for number in range(4)])
    data.jsonl("test.jsonl", [row("3.png")])
    files = [known(tmp_path, test="test.jsonl", **some).source.files["train"] for some in ({}, {"max_samples": 2})]
    assert files[0].content == files[1].content
