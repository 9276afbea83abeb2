"""Rows of files as people have them, and what they are told about bad ones."""

import json
import os
from pathlib import Path

import pytest

from dtx_tasks.errors import DataError
from tests.builders import FakeData
from tests.reading import checked

ROW = '{"instruction": "ask", "output": "answer"}'
SHARED = Path(os.environ.get("DTX_SHARED") or Path(__file__).parents[4] / "shared") / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"the real data is not in {SHARED}; DTX_SHARED names another folder")


def rows(folder: Path, name: str, content: str | bytes, **columns: str) -> list[tuple[int, str, str]]:
    found = checked(FakeData(folder).text(name, content), **columns)
    assert found.findings.num_errors == 0, found.findings.summary()
    return [(row.line, row.asked[-1]["content"], row.answer) for row in found.rows]


def problems(folder: Path, name: str, content: str | bytes, **columns: str) -> list[str]:
    return [str(finding) for finding in checked(FakeData(folder).text(name, content), **columns).findings.of("error")]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", f"{ROW}\n"),
        ("a.jsonl", ROW),
        ("a.jsonl", f"\ufeff{ROW}\n"),
        ("a.jsonl", f"{ROW}\r\n"),
        ("a.json", f"[{ROW}]"),
        ("a.json", f"\ufeff[{ROW}\n]\n"),
        ("a.csv", "instruction,output\nask,answer\n"),
        ("a.csv", "\ufeffinstruction,output\r\nask,answer\r\n"),
        ("a.csv", 'output,instruction,other\n"answer","ask",""\n'),
    ],
)
def test_every_kind_of_file_is_read(tmp_path: Path, name: str, content: str) -> None:
    """JSON lines, a JSON array and CSV; with a byte order mark and with Windows line ends."""
    assert [found[1:] for found in rows(tmp_path, name, content)] == [("ask", "answer")]


def test_rows_know_their_lines(tmp_path: Path) -> None:
    """Blank lines count and are no rows."""
    assert [line for line, _, _ in rows(tmp_path, "a.jsonl", f"\n{ROW}\n\n\n{ROW}\n")] == [2, 5]
    assert [line for line, _, _ in rows(tmp_path, "a.json", f"[\n{ROW},\n\n{ROW}]")] == [2, 4]


def test_csv_field_may_hold_line_breaks(tmp_path: Path) -> None:
    """A row is told by the line it begins on, whatever stands before it."""
    content = 'instruction,output\n"two\nlines",a\n\n"say ""hi"", ok",b\nlast,c\n'
    assert rows(tmp_path, "a.csv", content) == [(2, "two\nlines", "a"), (5, 'say "hi", ok', "b"), (6, "last", "c")]


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\u0085", "\x0b", "\x0c"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv"])
def test_marks_that_python_takes_for_line_ends_are_text(tmp_path: Path, name: str, mark: str) -> None:
    """U+2028 and its like end no row."""
    row = json.dumps({"instruction": f"a{mark}b", "output": "c"}, ensure_ascii=mark < " ")
    content = {"a.jsonl": row, "a.json": f"[{row}]", "a.csv": f"instruction,output\na{mark}b,c\n"}[name]
    assert [found[1:] for found in rows(tmp_path, name, content)] == [(f"a{mark}b", "c")]


def test_input_follows_the_instruction(tmp_path: Path) -> None:
    """Joined by a line break; empty and absent are the same."""
    content = "\n".join(json.dumps({"instruction": "ask", "output": "a", **more}) for more in ({"input": "this"}, {"input": ""}, {"input": None}, {}))
    assert [prompt for _, prompt, _ in rows(tmp_path, "a.jsonl", content)] == ["ask\nthis", "ask", "ask", "ask"]


def test_columns_are_mapped(tmp_path: Path) -> None:
    """The author's own names; the default ones mean nothing then."""
    content = '{"q": "ask", "ctx": "this", "a": "answer", "instruction": "no"}'
    assert rows(tmp_path, "a.jsonl", content, instruction="q", input="ctx", output="a") == [(1, "ask\nthis", "answer")]


def test_system_message_is_read_where_it_is_mapped(tmp_path: Path) -> None:
    """It is no part of a row by default."""
    path = FakeData(tmp_path).text("a.jsonl", '{"instruction": "ask", "output": "a", "system": "be kind"}')
    assert [row.asked for row in checked(path).rows] == [[{"role": "user", "content": "ask"}]]
    assert checked(path, system="system").rows[0].messages[0] == {"role": "system", "content": "be kind"}


def test_unused_columns_are_told(tmp_path: Path) -> None:
    """Whoever has a column that nothing reads should know."""
    path = FakeData(tmp_path).text("a.jsonl", '{"instruction": "ask", "output": "a", "system": "x", "history": []}')
    assert checked(path).ignored_columns == ("history", "system")
    assert checked(path).findings.counts == {"unread_column": 2}


@pytest.mark.parametrize("text", ["{{name}}", "{% raw %}", "<script>", "${HOME}", "  spaces  ", "😀 识别"])
def test_text_is_kept_as_it_is(tmp_path: Path, text: str) -> None:
    """Nothing is rendered, stripped or normalised."""
    assert rows(tmp_path, "a.jsonl", json.dumps({"instruction": text, "output": text})) == [(1, text, text)]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ('{"instruction": 1, "output": "a"}', "instruction: must be text (got 1). Put it in quotes."),
        ('{"instruction": "q", "output": null}', "output: must be text (got None). Put it in quotes."),
        ('{"instruction": "q", "output": ["a"]}', "output: must be text (got ['a']). Put it in quotes."),
        ('{"instruction": "q", "input": 5, "output": "a"}', "input: must be text (got 5). Put it in quotes."),
        ('{"instruction": "q", "output": " "}', "output: is empty. Write the text or remove the row."),
        ('{"instruction": "", "output": "a"}', "instruction: is empty. Write the text or remove the row."),
        ('{"instruction": "\\ud800", "output": "a"}', "instruction: holds half a surrogate pair (got '\\ud800'). Write the character itself."),
        (
            '{"instruction": "q", "outptu": "a"}',
            "output: the column is missing. Did you mean 'outptu'? Known: instruction, outptu. "
            "Name another one: `columns` of a Dataset, `--column PART=NAME` for a bare file.",
        ),
        ("[1]", 'row: the row is a list, not an object. A row looks like {"instruction": "...", "output": "..."}.'),
        ('"text"', 'row: the row is a str, not an object. A row looks like {"instruction": "...", "output": "..."}.'),
    ],
)
def test_bad_row_is_told_with_its_line_and_column(tmp_path: Path, row: str, told: str) -> None:
    """One sentence says what is wrong, another what to do."""
    assert problems(tmp_path, "a.jsonl", f"{ROW}\n{row}\n") == [f"a.jsonl:2: {told}"]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.jsonl", "", "a.jsonl:1: file: there is no row in it. Add at least one."),
        ("a.json", "[]", "a.json:1: file: there is no row in it. Add at least one."),
        ("a.csv", "", "a.csv:1: file: there is no row in it. Add at least one."),
        ("a.csv", "instruction,output\n", "a.csv:1: file: there is no row in it. Add at least one."),
        (
            "a.jsonl",
            f"{ROW}\n{{x\n",
            "a.jsonl:2: character 2: this is not JSON: Expecting property name enclosed in double quotes. Each line must be one whole JSON object.",
        ),
        ("a.json", ROW, "a.json:1: character 1: the file is not a JSON array. It must begin with `[`; one object a line is the ending .jsonl."),
        ("a.json", "", "a.json:1: character 1: the file is not a JSON array. It must begin with `[`; one object a line is the ending .jsonl."),
        ("a.json", f"[{ROW},\n{ROW}", "a.json:2: character 43: the array is cut off here. Rows are separated by `,` and the last one is followed by `]`."),
        (
            "a.json",
            f"[{ROW},\n{{",
            "a.json:2: character 2: this is not JSON: Expecting property name enclosed in double quotes. Nothing after this place could be read.",
        ),
        ("a.json", f"[{ROW}]\n[{ROW}]", "a.json:2: character 1: something stands behind the array. The array must be all there is: put every row into one."),
        ("a.csv", "instruction,output\na,b\na,b,c\n", "a.csv:3: character 1: the row has more fields than the header. Put text with commas in double quotes."),
        ("a.csv", "instruction,output\na\n", "a.csv:2: output: must be text (got None). Put it in quotes."),
        ("a.csv", 'instruction,output\na,b\n"open,c\n', "a.csv:3: character 1: this is not CSV: unexpected end of data. Check the double quotes of this row."),
        ("a.txt", ROW, "a.txt:1: character 1: files of the kind '.txt' cannot be read. Use one of .jsonl, .json, .csv, .parquet, each also with .gz or .zst."),
        ("rows", ROW, "rows:1: character 1: files of the kind 'rows' cannot be read. Use one of .jsonl, .json, .csv, .parquet, each also with .gz or .zst."),
    ],
)
def test_file_that_cannot_be_read_is_told_with_its_place(tmp_path: Path, name: str, content: str, told: str) -> None:
    """Empty, cut off, of another form or of another kind."""
    assert problems(tmp_path, name, content) == [told]


def test_array_in_a_jsonl_file_is_told(tmp_path: Path) -> None:
    """The most common mix-up has its own advice."""
    first = problems(tmp_path, "a.jsonl", f"[\n{ROW}\n]")[0]
    assert first == "a.jsonl:1: character 2: this is not JSON: Expecting value. The file begins like a JSON array: give it the ending .json."


@pytest.mark.parametrize("row", [f'{{"instruction": "q", "output": "a", "n": {"1" * 5000}}}', "[" * 100_000], ids=["a long number", "deep brackets"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_json_that_python_cannot_read_is_no_bug(tmp_path: Path, name: str, row: str) -> None:
    """The author is told the line of it."""
    (told,) = problems(tmp_path, name, row if name == "a.jsonl" else f"[{row}")
    assert told.startswith(f"{name}:1: character {1 if name == 'a.jsonl' else 2}: this is not JSON: ")


def test_chinese_text_of_another_encoding_is_told(tmp_path: Path) -> None:
    """The place of the first bad byte, and the command that converts the file."""
    content = f'{ROW}\n{{"instruction": "你好", "output": "a"}}\n'.encode("gb18030")
    hint = "Save the file as UTF-8; Chinese text from older programs is often GB18030: `iconv -f GB18030 -t UTF-8`."
    assert problems(tmp_path, "a.jsonl", content) == [f"a.jsonl:2: character 18: the byte 0xc4 is not UTF-8. {hint}"]


def test_all_problems_are_told_and_most_of_them_shown(tmp_path: Path) -> None:
    """A file of bad rows is not a flood."""
    path = FakeData(tmp_path).jsonl("a.jsonl", [{"instruction": "q"}] * 25)
    with pytest.raises(DataError) as caught:
        checked(path).findings.refuse()
    assert len(str(caught.value).splitlines()) == 21
    assert str(caught.value).endswith("and 5 more of missing_field")


def test_good_rows_beside_bad_ones_are_counted(tmp_path: Path) -> None:
    """A plan tells how many rows could be read."""
    found = checked(FakeData(tmp_path).text("a.jsonl", f"{ROW}\n{{}}\n{ROW}\n"))
    assert (len(found.rows), found.findings.num_errors) == (2, 2)


def test_equal_rows_of_two_files_are_one(tmp_path: Path) -> None:
    """A row's id is its content, wherever it stands and however it is written."""
    data = FakeData(tmp_path)
    one = checked(data.text("a.jsonl", f"\n{ROW}")).rows[0]
    other = checked(data.text("b.csv", "instruction,input,output\nask,,answer\n")).rows[0]
    assert one.row_id == other.row_id
    assert one.row_id != checked(data.text("c.csv", "instruction,output\nask,other\n")).rows[0].row_id


@needs_shared
def test_placeholders_of_a_real_file_are_kept() -> None:
    """`{{name}}` is the author's text."""
    assert "{{name}}" in checked(SHARED / "identity.json").rows[0].answer


@needs_shared
@pytest.mark.parametrize("name", ["glaive_toolcall_en_demo.json", "kto_en_demo.json", "dpo_zh_demo.json", "c4_demo.jsonl"])
def test_real_files_of_another_format_are_told(name: str) -> None:
    """Rows of conversations and of plain text are no alpaca rows."""
    told = checked(SHARED / name).findings.first_error
    assert told.startswith(f"{name}:")
    assert "instruction: the column is missing." in told
