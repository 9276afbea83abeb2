"""Which rows are held out, and rows that stand in more than one place."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from dtx_tasks.dataset import Part, Scan, SplitRows, leaked_rows
from dtx_tasks.dataset.repeats import repeated_rows
from dtx_tasks.dataset.splits import held_out
from dtx_tasks.spec import Columns, Subset, Tags, reading_of
from tests.builders import FakeData

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def rows_of(path: Path, subset: str | None = None, seed: int = 42, **portions: Any) -> SplitRows:
    parts: dict[Any, Part] = {"train": Part(path, path.name), **{split: Part(path, path.name, portion) for split, portion in portions.items()}}
    return SplitRows(parts, reading_of("alpaca", None, Columns(subset=subset), Tags()), seed)


def scan_of(ids: Sequence[int], label: str = "a.jsonl") -> Scan:
    scan = Scan(label)
    for line, row_id in enumerate(ids, 1):
        scan.add(row_id, line, 1)
    return scan


def test_shares_and_numbers_are_taken_out_of_the_train_file(tmp_path: Path) -> None:
    """Every row is in exactly one split, and a second pass finds the same."""
    rows = rows_of(FakeData(tmp_path).jsonl("a.jsonl", 50), validation=0.1, test=8)
    scans = rows.scan()
    assert {split: len(scan.ids) for split, scan in scans.items()} == {"train": 37, "validation": 5, "test": 8}
    lines = [row.line for split in scans for row in rows.rows(split)]
    assert sorted(lines) == list(range(1, 51))
    assert [row.line for row in rows.rows("test")] == list(scans["test"].lines)


def test_another_seed_takes_other_rows() -> None:
    """And the same one the same rows."""
    first, again, other = (held_out(range(1000), {"test": 100}, seed, []) for seed in (1, 1, 2))
    assert first == again != other


def test_new_rows_move_few_others() -> None:
    """Whoever adds rows keeps most of the test split."""
    before, after = (held_out(range(number), {"test": 100}, 42, []) for number in (1000, 1100))
    assert sum(split == "test" for split in after[:1000]) >= 80
    assert all(later is None or earlier == "test" for earlier, later in zip(before, after, strict=False))


def test_equal_rows_stay_together() -> None:
    """None is scored on and learned from, even if one more than was asked for is held out."""
    ids = [number // 3 for number in range(300)]
    taken = held_out(ids, {"validation": 0.1, "test": 10}, 42, [])
    assert Counter(taken) == {None: 258, "validation": 30, "test": 12}
    assert all(len({split for other, split in zip(ids, taken, strict=True) if other == row_id}) == 1 for row_id in set(ids))


def test_small_share_takes_a_row() -> None:
    """A split that was asked for is not empty."""
    assert Counter(held_out(range(3), {"test": 0.01}, 42, [])) == {None: 2, "test": 1}


def test_subsets_are_named_by_a_column(tmp_path: Path) -> None:
    """The rest is learned from; other subsets too."""
    rows = [{"instruction": f"{number}", "output": "a", "of": of} for number, of in enumerate(["main", "dev", "main", "held", None])]
    found = rows_of(FakeData(tmp_path).jsonl("a.jsonl", rows), "of", validation=Subset(subset="dev"), test=Subset(subset="held"))
    assert {split: list(scan.lines) for split, scan in found.scan().items()} == {"train": [1, 3, 5], "validation": [2], "test": [4]}
    assert found.ignored_columns == ()


def test_subset_that_no_row_is_in_is_told(tmp_path: Path) -> None:
    """With the nearest one."""
    rows = [{"instruction": f"{number}", "output": "a", "of": "dev"} for number in range(3)]
    found = rows_of(FakeData(tmp_path).jsonl("a.jsonl", rows), "of", test=Subset(subset="def"))
    found.scan()
    assert found.findings["train"].first_error == "a.jsonl:1: of: no row is in the subset 'def' of test. Did you mean 'dev'? Known: dev."


def test_subset_column_that_no_row_has_is_told(tmp_path: Path) -> None:
    """It is a column that the author named."""
    found = rows_of(FakeData(tmp_path).jsonl("a.jsonl", 3), "of", test=Subset(subset="dev"))
    found.scan()
    assert "of: no row has this column" in found.findings["train"].first_error


def test_nothing_left_to_learn_from_is_told(tmp_path: Path) -> None:
    """More rows held out than there are."""
    found = rows_of(FakeData(tmp_path).jsonl("a.jsonl", 3), test=5)
    found.scan()
    assert found.findings["train"].first_error == "a.jsonl:1: file: all 3 rows are held out, nothing is left to learn from. Hold fewer rows out."


def test_repeated_rows_name_the_first() -> None:
    """Every one but the first."""
    assert list(repeated_rows(scan_of([1, 2, 1, 3, 1]))) == [(3, 1), (5, 1)]


def test_leaked_rows_are_found_in_any_train_split() -> None:
    """That of another Dataset too."""
    one = {"train": scan_of([1, 2], "one.train"), "test": scan_of([9, 3], "one.test")}
    other = {"train": scan_of([3, 4], "other.train")}
    assert [str(leak) for leak in leaked_rows({"one": one, "other": other})] == ["one.test:2 (learned from in other.train:1)"]  # type: ignore[dict-item]


@pytest.mark.parametrize(("most", "leaks"), [(None, 1), (1, 0)])
def test_rows_that_are_not_learned_do_not_leak(most: int | None, leaks: int) -> None:
    """`max_samples` leaves them out."""
    splits = {"train": scan_of([1, 2]).first(most), "test": scan_of([2])}
    assert len(leaked_rows({"one": splits})) == leaks  # type: ignore[dict-item]
