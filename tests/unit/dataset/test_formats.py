"""Rows of every format in one form, and what is told about rows that are not of it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from dtx_tasks.spec import Columns, Format, Kind, Tags, misfits
from tests.builders import FakeData
from tests.reading import Checked, checked

SHARED = Path(os.environ.get("DTX_SHARED") or Path(__file__).parents[4] / "shared") / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"the real data is not in {SHARED}; DTX_SHARED names another folder")

ADD = {"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}
ADD_TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}


def user(content: str) -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(content: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


def said(who: str, what: str) -> dict[str, str]:
    return {"from": who, "value": what}


def read(folder: Path, row: dict[str, Any], row_format: Format, kind: Kind | None = None, tags: Tags | None = None, **columns: str | bool) -> Checked:
    return checked(FakeData(folder).jsonl("a.jsonl", [row]), row_format, kind, tags=tags, **columns)


def test_history_and_tools_of_alpaca(tmp_path: Path) -> None:
    """Earlier turns come first; tools are a JSON text or a list."""
    row = {"instruction": "c", "output": "d", "history": [["a", "b"]], "system": "s", "tools": json.dumps([ADD_TOOL["function"]])}
    (found,) = read(tmp_path, row, "alpaca", history="history", system="system", tools="tools").rows
    assert found.messages == [{"role": "system", "content": "s"}, user("a"), assistant("b"), user("c"), assistant("d")]
    assert found.tools == [ADD_TOOL]


def test_alpaca_holds_preferences_labels_and_prompts(tmp_path: Path) -> None:
    """Two answers, a labelled one, or none."""
    (preference,) = read(tmp_path, {"instruction": "a", "chosen": "b", "rejected": "c"}, "alpaca", "preferences").rows
    assert (preference.messages, preference.chosen, preference.rejected) == ([user("a")], assistant("b"), assistant("c"))
    (label,) = read(tmp_path, {"instruction": "a", "output": "b", "kto_tag": False}, "alpaca", "labels").rows
    assert (label.answer, label.label) == ("b", False)
    (prompt,) = read(tmp_path, {"instruction": "a", "output": "not read"}, "alpaca", "prompts").rows
    assert (prompt.messages, prompt.answer) == ([user("a")], "")


def test_calls_of_tools_in_sharegpt_and_openai_are_the_same_row(tmp_path: Path) -> None:
    """A call as a turn of its own, or beside an assistant's turn with its arguments as text."""
    turns = [said("human", "1?"), said("function_call", '{"name": "add", "arguments": {"a": 1}}'), said("observation", "2"), said("gpt", "2.")]
    one = read(tmp_path, {"conversations": turns, "tools": json.dumps([ADD_TOOL["function"]])}, "sharegpt")
    call = {"type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    messages = [user("1?"), {"role": "assistant", "content": None, "tool_calls": [call]}, {"role": "tool", "content": "2"}, assistant("2.")]
    other = read(tmp_path, {"messages": messages, "tools": [ADD_TOOL]}, "openai")
    assert one.rows[0].messages == [user("1?"), assistant("", tool_calls=[ADD]), {"role": "tool", "content": "2"}, assistant("2.")]
    assert one.rows[0].row_id == other.rows[0].row_id


@pytest.mark.parametrize(
    "answers", [[], [assistant("")], [assistant("", tool_calls=[{"name": "f", "arguments": "no JSON"}])], [assistant("b"), assistant("c")]]
)
def test_prompts_are_read_without_their_own_answers(tmp_path: Path, answers: list[dict[str, Any]]) -> None:
    """As alpaca does not read the output of a prompt; answers further up are part of it."""
    asked = [user("a"), assistant("b"), user("c")]
    (prompt,) = read(tmp_path, {"messages": [*asked, *answers]}, "openai", "prompts").rows
    assert prompt.messages == asked


def test_prompts_of_sharegpt_end_before_a_call_that_nothing_came_back_from(tmp_path: Path) -> None:
    """What a tool returned is asked about."""
    asked = [said("human", "a"), said("function_call", '{"name": "f", "arguments": {}}'), said("observation", "1")]
    for turns, last in ((asked[:2], "user"), ([*asked, said("gpt", "b")], "tool")):
        (prompt,) = read(tmp_path, {"conversations": turns}, "sharegpt", "prompts").rows
        assert prompt.messages[-1]["role"] == last
    assert "role_order" in read(tmp_path, {"conversations": [said("gpt", "b")]}, "sharegpt", "prompts").findings.counts


def test_equal_rows_of_all_formats_have_one_id(tmp_path: Path) -> None:
    """A question and its answer, whatever they are called."""
    rows: dict[Format, dict[str, Any]] = {
        "alpaca": {"instruction": "a", "output": "b"},
        "sharegpt": {"conversations": [said("human", "a"), said("gpt", "b")]},
        "openai": {"messages": [user("a"), assistant("b")]},
        "prompt_completion": {"prompt": "a", "completion": "b"},
    }
    assert len({read(tmp_path, row, row_format).rows[0].row_id for row_format, row in rows.items()}) == 1


def test_question_and_answer_columns_of_other_names(tmp_path: Path) -> None:
    """DataTunerX's feature map: instruction and response by name."""
    (row,) = read(tmp_path, {"question": "a", "response": "b"}, "alpaca", instruction="question", output="response").rows
    assert row.messages == [user("a"), assistant("b")]


def test_tags_of_other_names(tmp_path: Path) -> None:
    """Those that are not named keep the format's words."""
    turns = [{"who": "customer", "value": "a"}, {"who": "gpt", "value": "b"}]
    (row,) = read(tmp_path, {"conversations": turns}, "sharegpt", tags=Tags(role="who", user="customer")).rows
    assert row.messages == [user("a"), assistant("b")]


def test_system_among_the_turns_is_preferred(tmp_path: Path) -> None:
    """To that of the column, which is read by default."""
    turns = [said("human", "a"), said("gpt", "b")]
    assert read(tmp_path, {"conversations": turns, "system": "column"}, "sharegpt").rows[0].messages[0]["content"] == "column"
    row = {"conversations": [said("system", "turn"), *turns], "system": "column"}
    assert [message["content"] for message in read(tmp_path, row, "sharegpt").rows[0].messages] == ["turn", "a", "b"]


def test_empty_system_turn_is_none(tmp_path: Path) -> None:
    """The template's own counts then, or the column's."""
    found = read(tmp_path, {"conversations": [said("system", ""), said("human", "a"), said("gpt", "b")]}, "sharegpt")
    assert [message["role"] for message in found.rows[0].messages] == ["user", "assistant"]


def test_developer_of_openai_is_the_system(tmp_path: Path) -> None:
    """And nobody in other formats."""
    turns = [{"role": "developer", "content": "s"}, user("a"), assistant("b")]
    assert read(tmp_path, {"messages": turns}, "openai").rows[0].messages[0] == {"role": "system", "content": "s"}
    tags = Tags(role="role", content="content", user="user", assistant="assistant")
    assert read(tmp_path, {"conversations": turns}, "sharegpt", tags=tags).told[0].startswith("unknown_role: ")


def test_keys_of_turns_that_are_not_read_are_told_once(tmp_path: Path) -> None:
    """OpenAI's weight has no effect, and whoever wrote it should know; an empty key says nothing."""
    messages = [{**user("a"), "refusal": None}, {**assistant("b"), "weight": 0}]
    found = checked(FakeData(tmp_path).jsonl("a.jsonl", [{"messages": messages}] * 3), "openai")
    assert (len(found.rows), found.findings.counts) == (3, {"unread_key": 1})
    assert found.told[0].startswith("unread_key: a.jsonl:1: weight: turns have this key, and it is not read.")


def test_column_that_is_left_out_is_not_read(tmp_path: Path) -> None:
    """`false` means that the author knows it is there."""
    row = {"conversations": [said("human", "a"), said("gpt", "b")], "tools": "[]", "system": "s"}
    found = read(tmp_path, row, "sharegpt", tools=False, system=False)
    assert [message["role"] for message in found.rows[0].messages] == ["user", "assistant"]


def test_answers_of_a_preference_may_be_turns_or_text(tmp_path: Path) -> None:
    """An object, a list with one, or text."""
    for chosen in ("b", assistant("b"), [assistant("b")]):
        (row,) = read(tmp_path, {"messages": [user("a")], "chosen": chosen, "rejected": "c"}, "openai", "preferences").rows
        assert row.chosen == assistant("b")


def test_openai_parts_of_text_are_joined(tmp_path: Path) -> None:
    """A content may be a list of parts."""
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert read(tmp_path, {"messages": [user(parts), assistant("c")]}, "openai").rows[0].messages[0] == user("ab")  # type: ignore[arg-type]


@pytest.mark.parametrize("part", [{"type": "image_url", "image_url": {"url": "one.png"}}, {"type": "image", "image": "one.png"}])
def test_openai_parts_may_name_files(tmp_path: Path, part: dict[str, Any]) -> None:
    """A file among the parts becomes a placeholder where it stands, and a file of the row."""
    (tmp_path / "one.png").write_bytes(b"")
    turns = [user([{"type": "text", "text": "What is "}, part, {"type": "text", "text": "?"}]), assistant("A cat.")]  # type: ignore[arg-type]
    (row,) = read(tmp_path, {"messages": turns}, "openai").rows
    assert (row.messages[0], row.files) == (user("What is <image>?"), {"images": ["one.png"]})


@pytest.mark.parametrize(
    ("part", "columns", "told"),
    [
        ({"type": "image_url", "image_url": {"url": "none.png"}}, {}, "missing_file: a.jsonl:1: images: there is no file 'none.png'."),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}, {}, "wrong_type: a.jsonl:1: messages.content: must be text"),
        ({"type": "input_audio", "input_audio": {"data": "AAAA"}}, {}, "wrong_type: a.jsonl:1: messages.content: must be text"),
        ({"type": "image", "image": "one.png"}, {"images": ["two.png"]}, "file_count: a.jsonl:1: images: images are named here and in the turns."),
    ],
)
def test_openai_parts_that_cannot_be_carried_are_refused(tmp_path: Path, part: dict[str, Any], columns: dict[str, Any], told: str) -> None:
    """Nothing of a row is left out silently."""
    turns = [user([{"type": "text", "text": "What?"}, part]), assistant("A cat.")]  # type: ignore[arg-type]
    found = read(tmp_path, {"messages": turns, **columns}, "openai")
    assert not found.rows
    assert any(told in line for line in found.told), found.told


def test_parquet_and_csv_hold_conversations(tmp_path: Path) -> None:
    """Structs with empty keys, and JSON text in a field."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(
        pa.Table.from_pylist([{"messages": [{"role": "user", "content": "a", "name": None}, {"role": "assistant", "content": "b"}]}]), tmp_path / "a.parquet"
    )
    (tmp_path / "a.csv").write_text('messages\n"[{""role"": ""user"", ""content"": ""a""}, {""role"": ""assistant"", ""content"": ""b""}]"\n')
    for name in ("a.parquet", "a.csv"):
        assert checked(tmp_path / name, "openai").rows[0].messages == [user("a"), assistant("b")]


def test_words_of_a_label_in_csv(tmp_path: Path) -> None:
    """CSV knows no true and false."""
    path = FakeData(tmp_path).text("a.csv", "instruction,output,kto_tag\na,b,True\na,b,false\n")
    assert [row.label for row in checked(path, "alpaca", "labels").rows] == [True, False]


TURNS = [said("human", "a"), said("gpt", "b")]


@pytest.mark.parametrize(
    ("turns", "told"),
    [
        ({"from": "human"}, "wrong_type: a.jsonl:1: conversations: must be a list (got {'from': 'human'})."),
        (["a"], "wrong_type: a.jsonl:1: conversations: a turn must be an object (got 'a')."),
        ([{"value": "a"}], "missing_field: a.jsonl:1: conversations: a turn has no 'from'. Known: value."),
        ([said("gtp", "a")], "unknown_role: a.jsonl:1: conversations: nobody here is called 'gtp'. Did you mean 'gpt'?"),
        ([{"from": "human", "value": 1}], "wrong_type: a.jsonl:1: conversations.value: must be text (got 1)."),
        ([said("human", " ")], "empty_text: a.jsonl:1: conversations.value: is empty."),
        ([said("human", "a"), said("gpt", "")], "empty_text: a.jsonl:1: conversations.value: is empty."),
        (TURNS[:1], "role_order: a.jsonl:1: conversations: the last turn must be an answer of the assistant (got user)."),
        ([], "role_order: a.jsonl:1: conversations: the last turn must be an answer of the assistant (got no turn)."),
        (TURNS[::-1], "role_order: a.jsonl:1: conversations: turn 1 is of assistant behind nothing; expected user."),
        ([*TURNS, said("gpt", "c")], "role_order: a.jsonl:1: conversations: turn 3 is of assistant behind assistant; expected user."),
        ([TURNS[0], said("system", "c")], "role_order: a.jsonl:1: conversations: turn 2 is of system behind user; expected assistant."),
        ([*TURNS, said("observation", "c")], "role_order: a.jsonl:1: conversations: turn 3 is of tool behind assistant; expected user."),
        ([TURNS[0], said("function_call", "add(1)")], "bad_tool_call: a.jsonl:1: conversations: is no call of a tool (got 'add(1)')."),
        (
            [TURNS[0], said("function_call", '{"name": "add", "arguments": [1]}')],
            "bad_tool_call: a.jsonl:1: conversations: the arguments of 'add' are no JSON object (got [1]).",
        ),
        (
            [TURNS[0], said("function_call", '{"name": "add", "arguments": {"a": NaN}}')],
            "bad_tool_call: a.jsonl:1: conversations: the arguments of 'add' are no JSON object (got {'a': nan}).",
        ),
    ],
)
def test_bad_turns_are_told(tmp_path: Path, turns: Any, told: str) -> None:
    """Once a row, with the code and what would be right."""
    (found,) = read(tmp_path, {"conversations": turns}, "sharegpt").told
    assert found.startswith(told)


@pytest.mark.parametrize(
    ("row", "kind", "told"),
    [
        ({"conversations": TURNS[:1], "chosen": TURNS[1]}, "preferences", "missing_field: a.jsonl:1: rejected: the column is missing."),
        ({"conversations": TURNS, "chosen": "b", "rejected": "c"}, "preferences", "role_order: a.jsonl:1: conversations: the last turn must be of the user"),
        ({"conversations": TURNS[:1], "chosen": TURNS, "rejected": "c"}, "preferences", "role_order: a.jsonl:1: chosen: must be one answer (got 2 turns)."),
        ({"conversations": TURNS[:1], "chosen": TURNS[0], "rejected": "c"}, "preferences", "role_order: a.jsonl:1: chosen: must be an answer"),
        ({"conversations": TURNS, "kto_tag": "good"}, "labels", "wrong_type: a.jsonl:1: kto_tag: must be true or false (got 'good')."),
        ({"conversations": TURNS}, "labels", "missing_field: a.jsonl:1: kto_tag: the column is missing."),
        ({"conversations": TURNS, "tools": "add"}, "conversations", "bad_tools: a.jsonl:1: tools: is no list of tools (got 'add')."),
        ({"conversations": TURNS, "tools": [{"nam": 1}]}, "conversations", "bad_tools: a.jsonl:1: tools: holds a tool without a name (got {'nam': 1})."),
    ],
)
def test_bad_columns_beside_turns_are_told(tmp_path: Path, row: dict[str, Any], kind: Kind, told: str) -> None:
    """Answers, labels and tools."""
    (found,) = read(tmp_path, row, "sharegpt", kind).told
    assert found.startswith(told)


@pytest.mark.parametrize("history", ["no", [["a"]], [{"q": 1, "a": 2}], [["a", 1]], {"a": "b"}])
def test_bad_history_is_told(tmp_path: Path, history: Any) -> None:
    """It is a list of pairs of text."""
    (found,) = read(tmp_path, {"instruction": "c", "output": "d", "history": history}, "alpaca", history="history").told
    assert found.startswith("wrong_type: a.jsonl:1: history: ")


def test_files_are_counted_and_looked_for(tmp_path: Path) -> None:
    """One for each placeholder, beside the rows."""
    (tmp_path / "one.png").write_bytes(b"")
    row = {"conversations": [said("human", "<image> and <image>"), said("gpt", "b")]}
    assert read(tmp_path, {**row, "images": ["one.png", "one.png"]}, "sharegpt").rows[0].files == {"images": ["one.png", "one.png"]}
    assert read(tmp_path, {**row, "images": ["one.png"]}, "sharegpt").told[0].startswith("file_count: a.jsonl:1: images: 1 files for 2 <image>.")
    assert (
        read(tmp_path, {**row, "images": ["one.png", "two.png"]}, "sharegpt").told[0].startswith("missing_file: a.jsonl:1: images: there is no file 'two.png'.")
    )
    assert read(tmp_path, row, "sharegpt").told == []


def test_file_in_the_answer_is_told(tmp_path: Path) -> None:
    """Nothing that is learned here writes one; in an earlier answer it has been shown before."""
    (tmp_path / "one.png").write_bytes(b"")
    shown = {"conversations": [said("human", "a"), said("gpt", "b <image>")], "images": ["one.png"]}
    told = "file_in_answer: a.jsonl:1: conversations: <image> stands in the answer. Models answer with text: write <image> where the user speaks."
    assert read(tmp_path, shown, "sharegpt").told == [told]
    (found,) = read(tmp_path, {"instruction": "a", "output": "b <image>", "images": ["one.png"]}, "alpaca", images="images").told
    assert found.startswith("file_in_answer: a.jsonl:1: output: ")
    earlier = {**shown, "conversations": [*shown["conversations"], said("human", "c"), said("gpt", "d")]}
    assert read(tmp_path, earlier, "sharegpt").told == []


@pytest.mark.parametrize(
    ("row_format", "kind", "columns", "told"),
    [
        ("alpaca", None, {"messages": "m"}, ".columns.messages: is not read of conversations in the format alpaca."),
        ("text", None, {"instruction": "m"}, ".columns.instruction: is not read of text in the format text. Read are: subset, text."),
        ("alpaca", "prompts", {"output": "o"}, ".columns.output: is not read of prompts in the format alpaca."),
        (
            "prompt_completion",
            "labels",
            {},
            ".kind: the format prompt_completion has no rows of this kind (got 'labels'). Its rows hold conversations or prompts.",
        ),
    ],
)
def test_what_a_format_does_not_read_is_a_mistake(row_format: Format, kind: Kind | None, columns: dict[str, str], told: str) -> None:
    """Nothing that is written is ignored."""
    (mistake,) = misfits(row_format, kind, Columns(**columns), Tags())  # type: ignore[arg-type]
    assert mistake.text("e.yaml").startswith(f"e.yaml: {told}")


def test_tags_of_a_format_without_turns_are_a_mistake() -> None:
    """Alpaca knows no speakers."""
    assert [mistake.key_path for mistake in misfits("alpaca", None, Columns(), Tags(user="u"))] == [".tags.user"]


@needs_shared
@pytest.mark.parametrize(
    ("name", "row_format", "kind", "num_rows"),
    [
        ("alpaca_en_demo.json", "alpaca", None, 999),
        ("alpaca_zh_demo.json", "alpaca", None, 1000),
        ("identity.json", "alpaca", None, 91),
        ("glaive_toolcall_en_demo.json", "sharegpt", None, 300),
        ("dpo_zh_demo.json", "sharegpt", "preferences", 300),
        ("kto_en_demo.json", "openai", "labels", 300),
        ("c4_demo.jsonl", "text", None, 300),
    ],
)
def test_real_files_are_read_whole(name: str, row_format: Format, kind: Kind | None, num_rows: int) -> None:
    """Files that other people wrote, without a word."""
    found = checked(SHARED / name, row_format, kind)
    assert (len(found.rows), found.told, found.ignored_columns) == (num_rows, [], ())
