"""Images that go beside prepared rows."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from dtx_tasks.dataset import Row
from dtx_tasks.prepare.images import with_kept_images
from dtx_tasks.records import FileSource, ImageSource, Layout
from dtx_tasks.storage import list_images, put_images, remove

if TYPE_CHECKING:
    from pathlib import Path

ANSWER = {"role": "assistant", "content": "b"}


def test_images_on_storage_are_brought_together(tmp_path: Path, bucket: str) -> None:
    """As one entry of the cache; each row is what it was when the experiment was planned."""
    digests = {name: sha256(name.encode()).hexdigest() for name in ("red", "blue", "unused")}
    for name in digests:
        (tmp_path / name).write_text(name)
    sources = [ImageSource(written=name, sha256=digest, num_bytes=len(name)) for name, digest in digests.items()]
    images = put_images(list_images(sources, tmp_path), Layout(bucket, "t"))
    remove(str(tmp_path / "cache"))
    file = FileSource(path="rows.jsonl", label="rows.jsonl", sha256="0" * 64, num_bytes=1, num_rows=3, num_characters=1, images=images)
    rows = [Row(line=line, messages=[ANSWER], files={"images": [name]}, digests=(digests[name],)) for line, name in enumerate(("red", "blue", "red"), 1)]
    kept = list(with_kept_images([*rows, Row(line=4, messages=[ANSWER])], file, tmp_path / "kept"))
    assert [row.files for row in kept] == [*({"images": [digests[name]]} for name in ("red", "blue", "red")), {}]
    assert [row.row_id for row in kept[:3]] == [row.row_id for row in rows]
    assert {path.name: path.read_text() for path in (tmp_path / "kept").iterdir()} == {digests[name]: name for name in ("red", "blue")}
    # The list is the other one.
    assert len([place for place in (tmp_path / "cache").iterdir() if place.is_dir()]) == 2
