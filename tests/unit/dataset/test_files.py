"""Compressed files and Parquet, files in parts, and files that are damaged."""

from __future__ import annotations

import gzip
import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from dtx_tasks.dataset.array import read_json
from dtx_tasks.dataset.raw import Stop
from dtx_tasks.dataset.read import read_file
from tests.builders import FakeData
from tests.memory import peak_mib
from tests.reading import checked

if TYPE_CHECKING:
    from pathlib import Path

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

ROWS = [{"instruction": f"ask {number} 你好", "output": "答" * number} for number in range(1, 4)]
TEXTS = {
    ".jsonl": "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in ROWS),
    ".json": json.dumps(ROWS, ensure_ascii=False, indent=1),
    ".csv": "instruction,output\n" + "".join(f"{row['instruction']},{row['output']}\n" for row in ROWS),
}


def content_of(kind: str, folder: Path) -> bytes:
    if kind in TEXTS:
        return TEXTS[kind].encode()
    pq.write_table(pa.Table.from_pylist(ROWS), folder / "made")
    return (folder / "made").read_bytes()


def packed(content: bytes, ending: str) -> bytes:
    if ending == ".gz":
        return gzip.compress(content)
    return pa.compress(content, codec="zstd", asbytes=True) if ending == ".zst" else content  # type: ignore[no-any-return]


@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
@pytest.mark.parametrize("kind", [".jsonl", ".json", ".csv", ".parquet"])
def test_every_kind_of_file_is_read_compressed_too(tmp_path: Path, kind: str, ending: str) -> None:
    """The same rows from all of them."""
    path = FakeData(tmp_path).text(f"a.b{kind}{ending}", packed(content_of(kind, tmp_path), ending))
    found = checked(path)
    assert found.told == []
    assert [(row.asked[0]["content"], row.answer) for row in found.rows] == [(row["instruction"], row["output"]) for row in ROWS]


@pytest.mark.parametrize(("name", "said"), [("a.jsonl.gz", ".gz"), ("a.json.zst", ".zst"), ("a.parquet", ".parquet"), ("a.parquet.gz", ".gz")])
def test_file_that_is_not_what_its_ending_says_is_told(tmp_path: Path, name: str, said: str) -> None:
    """In place of a library's traceback."""
    (told,) = checked(FakeData(tmp_path).text(name, TEXTS[".jsonl"])).told
    assert told.startswith(f"damaged_file: {name}:1: character 1: the file cannot be read as {said}: ")


def test_half_a_compressed_file_is_told_behind_its_rows(tmp_path: Path) -> None:
    """What could be read is checked."""
    content = packed("".join(f'{{"instruction": "{number}", "output": "{number * 7919}"}}\n' for number in range(90_000)).encode(), ".gz")
    found = checked(FakeData(tmp_path).text("a.jsonl.gz", content[: len(content) // 2]))
    assert found.rows
    assert found.findings.counts == {"damaged_file": 1}


def test_array_longer_than_a_chunk_is_read_in_parts(tmp_path: Path) -> None:
    """Wherever a chunk ends: in a character, a string, an escape, a number, or between two rows."""
    rows = [{"instruction": 'a"\\\n你😀' * number, "output": f"{number}", "n": 12.5e3, "b": [True, None, {"c": []}]} for number in range(1, 9)]
    path = FakeData(tmp_path).text("a.json", "\ufeff" + json.dumps(rows, indent=1) + "\n")
    whole = [(raw.line, raw.values) for raw in read_file(path)]  # type: ignore[union-attr]
    assert [values for _, values in whole] == rows
    for size in (1, 2, 3, 5, 7, 64):
        with path.open("rb") as stream:
            assert [(raw.line, raw.values) for raw in read_json(stream, size)] == whole  # type: ignore[union-attr]


def test_bad_bytes_behind_the_first_chunk_have_their_place() -> None:
    """Line and character, however the file is cut into parts."""
    content = '[\n{"instruction": "你", "output": "b"},\n{"instruction": "你'.encode() + b"\xff\xfe"
    for size in (1, 4, 1 << 20):
        with pytest.raises(Stop) as stopped:
            list(read_json(io.BytesIO(content), size))
        found = stopped.value.found
        assert (found.line, found.column, found.code, found.problem) == (3, 19, "not_utf8", "the byte 0xff is not UTF-8")


def test_bad_bytes_of_one_line_leave_the_others_alone(tmp_path: Path) -> None:
    """A .jsonl file is read on; so every bad line is told."""
    content = b'{"instruction": "a", "output": "b"}\n\xff\n{"instruction": "c", "output": "d"}\n\xfe\n'
    found = checked(FakeData(tmp_path).text("a.jsonl", content))
    assert ([row.line for row in found.rows], found.findings.counts) == ([1, 3], {"not_utf8": 2})


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", TEXTS[".jsonl"][:-5]),
        ("a.jsonl", TEXTS[".jsonl"] + "{"),
        ("a.json", TEXTS[".json"][:-2]),
        ("a.json", TEXTS[".json"][:-20]),
        ("a.csv", TEXTS[".csv"] + '"open'),
    ],
)
def test_last_row_that_is_cut_off_has_its_own_code(tmp_path: Path, name: str, content: str) -> None:
    """A download that broke off is no mistake of the author's."""
    assert checked(FakeData(tmp_path).text(name, content)).findings.counts == {"cut_off": 1}


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_large_file_is_read_in_little_memory(tmp_path: Path, name: str) -> None:
    """Rows are let go of as they are read."""
    row = json.dumps({"instruction": "ask", "output": "x" * 1000})
    text = "\n".join([row] * 20_000) if name == "a.jsonl" else f"[{', '.join([row] * 20_000)}]"
    path = FakeData(tmp_path).text(name, text)
    assert peak_mib(lambda: counted(path, 20_000)) < 8


def counted(path: Path, num_rows: int) -> None:
    assert sum(1 for _ in read_file(path)) == num_rows


def bomb(path: Path, begin: str, piece: str, num_bytes: int) -> Path:
    """A small file that holds very much."""
    with gzip.open(path, "wt", compresslevel=9) as file:
        file.write(begin)
        for _ in range(num_bytes // len(piece)):
            file.write(piece)
    return path


HALF_MIB = "x" * (1 << 19)


@pytest.mark.parametrize(
    ("name", "begin", "piece"),
    [
        ("a.jsonl.gz", '{"instruction": "', HALF_MIB),
        ("a.json.gz", '[{"instruction": "', HALF_MIB),
        ("a.json.gz", "[" + " " * (1 << 19), " " * (1 << 19)),
        ("a.csv.gz", "instruction,output\na,b\n", HALF_MIB),
        ("a.csv.gz", 'instruction,output\n"', f"{HALF_MIB}\n"),
        ("a.csv.gz", "instruction,output\n", f'"{HALF_MIB}\n",'),
        ("a.parquet.gz", "PAR1", HALF_MIB),
    ],
)
def test_small_file_that_holds_very_much_is_told_in_little_memory(tmp_path: Path, name: str, begin: str, piece: str) -> None:
    """Some 100 KB that are unpacked to 100 MiB, of one row or of none."""
    path = bomb(tmp_path / name, begin, piece, 100 << 20)
    assert path.stat().st_size < 300_000
    found: list[Any] = []
    # The CSV reader holds a field at four bytes a character.
    assert peak_mib(lambda: found.extend(checked(path).told)) < 150
    assert found
    assert all(told.startswith(f"too_large: {name}:") for told in found)


def test_row_that_is_too_long_leaves_the_others_alone(tmp_path: Path) -> None:
    """Of a .jsonl file the next line is read."""
    row = '{"instruction": "a", "output": "b"}\n'
    found = checked(FakeData(tmp_path).text("a.jsonl", f"{row}{'x' * (33 << 20)}\n{row}"))
    assert [row.line for row in found.rows] == [1, 3]
    assert found.told == ["too_large: a.jsonl:2: character 1: the row is longer than 32 MiB. Divide it into several rows."]


def test_limit_of_what_a_compressed_file_may_hold_is_a_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands before it is read; a file that is not compressed has no limit."""
    monkeypatch.setenv("DTX_MAX_UNPACKED_BYTES", "100000")
    text = "".join(f'{{"instruction": "{number}", "output": "b"}}\n' for number in range(9_000))
    found = checked(FakeData(tmp_path).text("a.jsonl.gz", packed(text.encode(), ".gz")))
    told = "the file holds more than 100,000 bytes, the limit for one of its size or that of DTX_MAX_UNPACKED_BYTES."
    assert found.rows
    assert found.told[0].endswith(f"{told} Store it without compression, or divide it into several files.")
    assert checked(FakeData(tmp_path).text("a.jsonl", text)).told == []


def parquet(folder: Path, table: Any) -> Path:
    pq.write_table(table, folder / "a.parquet", compression="zstd")
    return folder / "a.parquet"


def test_small_parquet_file_that_holds_very_much_is_not_read(tmp_path: Path) -> None:
    """By what it says of itself."""
    path = parquet(tmp_path, pa.table({"instruction": ["a"], "output": ["x" * (50 << 20)]}))
    (told,) = checked(path).told
    assert told.startswith("too_large: a.parquet:1: character 1: the file holds more than 33,554,432 bytes, ")


def test_long_row_of_parquet_is_told(tmp_path: Path) -> None:
    """As one of a text file is."""
    text = "".join(map(str, range(5 << 20)))
    found = checked(parquet(tmp_path, pa.table({"instruction": ["a", "b", "c"], "output": ["d", text, "e"]})))
    assert [row.line for row in found.rows] == [1, 3]
    assert found.told == ["too_large: a.parquet:2: character 1: the row is longer than 32 MiB. Divide it into several rows."]


@pytest.mark.parametrize(("seconds", "zone"), [(9_223_372_036_854_775, None), (999_999_999_999, "UTC"), (0, "Mars/Phobos")])
def test_parquet_value_that_python_has_not_is_told(tmp_path: Path, seconds: int, zone: str | None) -> None:
    """A time beyond the year 9999, or of another planet, is no bug."""
    times = pa.array([seconds], pa.timestamp("s", tz=zone))
    (told,) = checked(parquet(tmp_path, pa.table({"instruction": ["a"], "output": ["b"], "when": times}))).told
    assert told.startswith("damaged_file: a.parquet:1: character 1: the file cannot be read as .parquet: ")


def test_two_columns_of_one_name_are_told(tmp_path: Path) -> None:
    """Only one of them could be read; columns without a name are none."""
    told = "1: character 1: two columns are called 'output'. Rename one of them, or remove it."
    csv = FakeData(tmp_path).text("a.csv", "instruction,output,output\na,b,c\n")
    assert checked(csv).told == [f"repeated_column: a.csv:{told}"]
    table = pa.table([["a"], ["b"], ["c"]], names=["instruction", "output", "output"])
    assert checked(parquet(tmp_path, table)).told == [f"repeated_column: a.parquet:{told}"]
    assert checked(FakeData(tmp_path).text("b.csv", "instruction,output,,\na,b,,\n")).told == []
