"""Images and the list of them, here and on storage."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from dtx_tasks.errors import DamagedError, DataError, TransientError
from dtx_tasks.records import ImageList, ImageSource, Layout
from dtx_tasks.storage import bring_images, list_images, put_images, read_images, remove, write_bytes


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DTX_CACHE", str(tmp_path / "cache"))


def made(folder: Path, **contents: str) -> ImageList:
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_text(content)
    sources = [ImageSource(written=name, sha256=hashlib.sha256(content.encode()).hexdigest(), num_bytes=len(content)) for name, content in contents.items()]
    return list_images(sources, folder)


def test_images_are_brought_together(tmp_path: Path, bucket: str) -> None:
    """From where their digests say, as one entry of the cache; the same image of two names once."""
    there = put_images(made(tmp_path / "here", a="red", b="blue", c="red"), Layout(bucket, "t"))
    remove(str(tmp_path / "cache"))
    here = bring_images(there)
    assert {image.written: Path(here.uri_of(image)).read_text() for image in read_images(there)} == {"a": "red", "b": "blue", "c": "red"}
    # The list is the other one.
    assert len([place for place in (tmp_path / "cache").iterdir() if place.is_dir()]) == 2
    assert len(list(Path(here.folder).iterdir())) == 2


def test_missing_image_is_told(tmp_path: Path, bucket: str) -> None:
    """By where it should be."""
    images = made(tmp_path / "here", a="red")
    (image,) = read_images(images)
    there = put_images(images, Layout(bucket, "t"))
    remove(there.uri_of(image))
    with pytest.raises(DamagedError, match=f"{image.sha256} is missing"):
        bring_images(there)


def test_image_that_changed_is_not_put_under_its_old_digest(tmp_path: Path, bucket: str) -> None:
    """Others would find it there."""
    images = made(tmp_path / "here", a="red")
    (tmp_path / "here/a").write_text("blue")
    with pytest.raises(TransientError, match="a has changed while it was copied"):
        put_images(images, Layout(bucket, "t"))
    (tmp_path / "here/a").unlink()
    with pytest.raises(DataError, match=r"here/a is not there any more. Put it back, and try again."):
        put_images(images, Layout(bucket, "t"))


def test_list_that_changed_is_refused(tmp_path: Path) -> None:
    """And so is one that is gone."""
    images = made(tmp_path / "here", a="red")
    write_bytes(images.path, b"{}")
    with pytest.raises(DataError, match=r"images.jsonl has changed since the experiment was planned. Start the experiment again."):
        read_images(images)
    remove(images.path)
    with pytest.raises(DataError, match=r"images.jsonl is not there any more"):
        read_images(images)


def test_names_may_hold_anything(tmp_path: Path) -> None:
    """Also what ends a line elsewhere."""
    names = ["a\u2028b.png", "c d.png", "图.png"]
    assert [image.written for image in read_images(made(tmp_path / "here", **dict.fromkeys(names, "red")))] == names
