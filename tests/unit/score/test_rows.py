"""Which rows everything is scored on."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest

from dtx_tasks.errors import DataError
from dtx_tasks.records import FileEntry, Layout, PreparedDataset, ScoringDocument, SplitStatistics
from dtx_tasks.score.rows import scored_rows, with_brought_images
from dtx_tasks.spec import Scoring
from dtx_tasks.storage import write_bytes, write_record

NO_ROWS = SplitStatistics(num_rows=1, num_tokens=1, num_trained_tokens=1, num_truncated=0, longest_tokens=1)


def prepared(layout: Layout, prepared_id: str, images: tuple[FileEntry, ...] = (), longest: int = 0, **splits: list[str]) -> None:
    """A PreparedDataset whose rows have these ids, and the longest one with images so many tokens."""
    for split, ids in splits.items():
        shown = {"images": [entry.path.rpartition("/")[2] for entry in images]} if images else {}
        rows = [{"row_id": row_id, "messages": [{"role": "user", "content": row_id}], "answer": "a", **shown} for row_id in ids]
        write_bytes(f"{layout.prepared(prepared_id)}/files/{split}.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode())
    record = PreparedDataset(
        code_version=1,
        inputs={},
        digest="d",
        libraries={},
        prepared_id=prepared_id,
        train_digest="t",
        dataset_name="n",
        files=images,
        train=NO_ROWS,
        num_scored_rows={},
        ignored_columns=(),
        longest_seen_tokens=longest,
    )
    write_record(f"{layout.prepared(prepared_id)}/prepared.json", record)


def document(most: int | None = None, **datasets: tuple[str, ...]) -> ScoringDocument:
    """A way to score on these Datasets."""
    return ScoringDocument(scoring_id="s", scoring=Scoring(max_samples=most), datasets=datasets)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """An empty store."""
    return Layout(str(tmp_path), "default")


def test_rows_of_several_datasets_count_once(layout: Layout) -> None:
    """The union, in the order of the content hashes."""
    prepared(layout, "p1", validation=["03", "01"], test=["05"])
    prepared(layout, "p2", validation=["01", "02"])
    found = scored_rows(document(a=("p1",), b=("p2",)), layout)
    assert [(row.row_id, row.split) for row in found.rows] == [("01", "validation"), ("02", "validation"), ("03", "validation"), ("05", "test")]
    assert not found.is_cross_fitted


def test_row_of_both_splits_decides_and_is_not_reported(layout: Layout) -> None:
    """The test rows stay untouched by the choice."""
    prepared(layout, "p1", validation=["01"], test=["02"])
    prepared(layout, "p2", test=["01"])
    assert [(row.row_id, row.split) for row in scored_rows(document(a=("p1",), b=("p2",)), layout).rows] == [("01", "validation"), ("02", "test")]


def test_rows_whose_images_would_be_cut_are_left_out(layout: Layout) -> None:
    """An experiment with a higher limit has prepared them: this one is without that Dataset, and says so."""
    prepared(layout, "p1", validation=["01"])
    prepared(layout, "p2", validation=["02"], longest=900)
    judged = Scoring(metrics=("perplexity",), cutoff_len=800)
    found = scored_rows(document(a=("p1",), b=("p2",)).model_copy(update={"scoring": judged}), layout)
    assert ([row.row_id for row in found.rows], found.left_out_datasets) == (["01"], ("b",))
    assert len(scored_rows(document(a=("p1",), b=("p2",)), layout).rows) == 2


@pytest.mark.parametrize("split", ["validation", "test"])
def test_one_split_alone_gives_each_row_one_role(layout: Layout, split: str) -> None:
    """By its hash, so that it is the same for every job, and said."""
    prepared(layout, "p1", **{split: ["00", "01", "02", "03"]})
    found = scored_rows(document(a=("p1",)), layout)
    assert [row.split for row in found.rows] == ["test", "validation", "test", "validation"]
    assert found.is_cross_fitted


def test_dataset_that_could_not_be_prepared_is_left_out_and_told(layout: Layout) -> None:
    """For every job alike."""
    prepared(layout, "p1", validation=["01"], test=["02"])
    found = scored_rows(document(good=("missing", "p1"), bad=("nothing",)), layout)
    assert ([row.row_id for row in found.rows], found.left_out_datasets) == (["01", "02"], ("bad",))


def test_most_rows_of_each_split(layout: Layout) -> None:
    """The first ones by content, whichever Dataset they are in."""
    prepared(layout, "p1", validation=["03", "01", "02"], test=["09", "08"])
    assert [row.row_id for row in scored_rows(document(1, a=("p1",)), layout).rows] == ["01", "08"]


def test_other_rows_have_another_digest(layout: Layout) -> None:
    """So do other roles."""
    prepared(layout, "p1", validation=["01"], test=["02"])
    prepared(layout, "p2", validation=["02"], test=["01"])
    assert scored_rows(document(a=("p1",)), layout).digest != scored_rows(document(a=("p2",)), layout).digest


def test_no_row_at_all_is_an_error(layout: Layout) -> None:
    """Rather than a score of nothing."""
    with pytest.raises(DataError, match="There is no row to score on"):
        scored_rows(document(a=("nothing",)), layout)


def test_images_of_a_split_are_brought_together(bucket: str, tmp_path: Path) -> None:
    """As one entry of the cache, and only when a model is to see them."""
    contents = {sha256(content).hexdigest(): content for content in (b"red", b"blue")}
    layout = Layout(bucket, "t")
    for digest, content in contents.items():
        write_bytes(f"{layout.prepared('p1')}/files/test.images/{digest}", content)
    prepared(layout, "p1", tuple(FileEntry(path=f"test.images/{digest}", sha256=digest, num_bytes=len(contents[digest])) for digest in contents), test=["01"])
    rows = scored_rows(document(a=("p1",)), layout).rows
    assert not (tmp_path / "cache").exists()
    (row,) = with_brought_images(rows)
    assert [Path(path).read_bytes() for path in row.images] == list(contents.values())
    assert len([place for place in (tmp_path / "cache").iterdir() if place.is_dir()]) == 1
