"""A Dataset, tokenised with its label mask; and a base, brought to storage."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from datasets import Dataset
from transformers import AutoTokenizer

from dtx_tasks.errors import DataError
from dtx_tasks.fetch.fetch import fetched
from tests.builders import FakeData
from tests.recipes.world import QUICK, Trial, make_trial

if TYPE_CHECKING:
    from dtx_tasks.records import Layout

SAME_FILE = "both splits are one file, to keep the test short"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in Hugging Face layout."""
    trial = make_trial(tmp_path_factory.mktemp("base"))
    trial.here("fetch", trial.uris.bases[0])
    return Path(f"{trial.layout.llm(trial.plan.bases[0].llm.llm_id)}/files")


def trial_on(folder: Path, base: Path, rows: list[dict[str, str]], **group: Any) -> Trial:
    """An experiment on a local base and these rows."""
    shutil.copytree(base, folder / "base")
    (folder / "rows.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    dataset = {"name": "rows", "train": "rows.jsonl", "test": "rows.jsonl"}
    matrix = {"llms": [{"name": "local", "source": "base"}], "datasets": [dataset], "hyperparameters": [{**QUICK, **group}]}
    return make_trial(folder, matrix=matrix, allow_leakage=SAME_FILE)


def test_local_base_is_copied_once_and_told_when_it_changed(tmp_path: Path, base: Path) -> None:
    """Hidden files are no part of a model; a changed one is another model."""
    made = trial_on(tmp_path, base, [{"instruction": "a", "output": "b"}])
    (tmp_path / "base" / ".cache").mkdir()
    (tmp_path / "base" / ".cache" / "notes").write_text("now")
    made.here("fetch", made.uris.bases[0])
    layout: Layout = made.layout
    record = fetched(layout.llm(made.plan.bases[0].llm.llm_id))
    assert record is not None
    assert record.digest == made.plan.bases[0].llm.revision
    assert record.num_parameters > 100_000
    other = trial_on_changed(tmp_path)
    with pytest.raises(DataError, match="has changed since the experiment was planned"):
        other.here("fetch", other.uris.bases[0])


def trial_on_changed(folder: Path) -> Trial:
    """A plan on a base whose files then change."""
    config = folder / "base" / "config.json"
    config.write_text(config.read_text() + " ")
    matrix = {
        "llms": [{"name": "local", "source": "base"}],
        "datasets": [{"name": "rows", "train": "rows.jsonl", "test": "rows.jsonl"}],
        "hyperparameters": [QUICK],
    }
    made = make_trial(folder, "changed", matrix=matrix, allow_leakage=SAME_FILE)
    config.write_text(config.read_text() + " ")
    return made


def test_only_the_answer_and_its_end_are_learned(tmp_path: Path, base: Path) -> None:
    """The mask holds the question back; braces arrive as they were written."""
    made = trial_on(tmp_path, base, [{"instruction": "Say {{name}} {% x %}", "input": "你好", "output": "I am {{name}}."}]).ready()
    folder = Path(f"{made.layout.prepared(made.plan.prepared[0].prepared_id)}/files")
    (row,) = Dataset.from_file(str(folder / "train.arrow"))
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    learned = [token for token in row["labels"] if token != -100]
    assert tokenizer.decode(learned) == "I am {{name}}.<|im_end|>"
    assert tokenizer.decode(row["input_ids"][: -len(learned)]).startswith("<|im_start|>user\nSay {{name}} {% x %}\n你好<|im_end|>")
    (scored,) = (json.loads(line) for line in (folder / "test.jsonl").read_text(encoding="utf-8").splitlines())
    assert scored["messages"] == [{"role": "user", "content": "Say {{name}} {% x %}\n你好"}]


def test_long_answer_is_cut_and_counted(tmp_path: Path, base: Path) -> None:
    """At the length limit, from its end."""
    made = trial_on(tmp_path, base, [{"instruction": "a", "output": "long " * 50}], cutoff_len=32).ready()
    record = json.loads(Path(f"{made.layout.prepared(made.plan.prepared[0].prepared_id)}/prepared.json").read_text())
    assert (record["train"]["num_truncated"], record["train"]["longest_tokens"]) == (1, 32)


def test_long_question_is_cut_and_its_answer_is_learned(tmp_path: Path, base: Path) -> None:
    """At the length limit, from the question's end."""
    made = trial_on(tmp_path, base, [{"instruction": "long " * 50, "output": "b"}], cutoff_len=32).ready()
    record = json.loads(Path(f"{made.layout.prepared(made.plan.prepared[0].prepared_id)}/prepared.json").read_text())
    assert (record["train"]["num_truncated"], record["train"]["num_trained_tokens"]) == (1, 2)


def test_question_that_leaves_no_room_for_an_answer_is_a_mistake(tmp_path: Path, base: Path) -> None:
    """With its line: nothing of the row would be learned."""
    rows = [{"instruction": "a", "output": "b"}, {"instruction": "long " * 2000, "output": "long " * 20}]
    told = r"rows.jsonl:2: row: nothing of the answer is left at a cutoff_len of 32. Nothing would be learned: raise cutoff_len, or shorten the question."
    with pytest.raises(DataError, match=told):
        trial_on(tmp_path, base, rows, cutoff_len=32).ready()


def test_held_out_rows_are_scored_on_and_not_learned_from(tmp_path: Path, base: Path) -> None:
    """Every row of the file goes to one split, of any format."""
    shutil.copytree(base, tmp_path / "base")
    rows = [{"messages": [{"role": "user", "content": f"q{number}"}, {"role": "assistant", "content": "a"}]} for number in range(10)]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    dataset = {"name": "rows", "format": "openai", "train": "rows.json", "validation": 0.2, "test": 3}
    matrix = {"llms": [{"name": "local", "source": "base"}], "datasets": [dataset], "hyperparameters": [QUICK]}
    made = make_trial(tmp_path, matrix=matrix).ready()
    folder = Path(f"{made.layout.prepared(made.plan.prepared[0].prepared_id)}/files")
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    learned = [tokenizer.decode(row["input_ids"]).split("\n")[1].removesuffix("<|im_end|>") for row in Dataset.from_file(str(folder / "train.arrow"))]
    scored = [json.loads(line)["messages"][0]["content"] for split in ("validation", "test") for line in (folder / f"{split}.jsonl").read_text().splitlines()]
    assert (len(learned), len(scored)) == (5, 5)
    assert {*learned, *scored} == {f"q{number}" for number in range(10)}


def test_folder_is_prepared_as_one_split(tmp_path: Path, base: Path) -> None:
    """File by file; a row that cannot be learned from is told with its file, and a changed file with its folder."""
    shutil.copytree(base, tmp_path / "base")
    data = FakeData(tmp_path)
    data.jsonl("data/b.jsonl", [{"instruction": "long " * 2000, "output": "long " * 20}])
    data.jsonl("data/a.jsonl", [{"instruction": "a", "output": "b"}])
    data.jsonl("test.jsonl", [{"instruction": "c", "output": "b"}])
    dataset = {"name": "rows", "train": "data", "test": "test.jsonl"}
    matrix = {"llms": [{"name": "local", "source": "base"}], "datasets": [dataset], "hyperparameters": [{**QUICK, "cutoff_len": 32}]}
    with pytest.raises(DataError, match=r"data/b\.jsonl:1: row: nothing of the answer is left"):
        make_trial(tmp_path, matrix=matrix).ready()
    data.jsonl("data/b.jsonl", [{"instruction": "d", "output": "e"}, {"instruction": "f", "output": "g"}])
    made = make_trial(tmp_path, matrix=matrix).ready()
    record = json.loads(Path(f"{made.layout.prepared(made.plan.prepared[0].prepared_id)}/prepared.json").read_text())
    assert record["train"]["num_rows"] == 3
    data.jsonl("data/c.jsonl", [{"instruction": "h", "output": "i"}])
    other = make_trial(tmp_path, "other", matrix=matrix)
    data.jsonl("data/c.jsonl", [{"instruction": "changed", "output": "i"}])
    with pytest.raises(DataError, match="data has changed since the experiment was planned"):
        other.ready()


def test_every_answer_of_a_conversation_is_learned(tmp_path: Path, base: Path) -> None:
    """And the last one is what is scored, with the tools that may be called."""
    shutil.copytree(base, tmp_path / "base")
    said = [("user", "q1"), ("assistant", "a1"), ("user", "q2"), ("assistant", "a2")]
    turns = [{"role": role, "content": content} for role, content in said]
    (tmp_path / "rows.json").write_text(json.dumps([{"messages": turns}, {"messages": [*turns[:3], {"role": "assistant", "content": "a3"}]}]))
    dataset = {"name": "rows", "format": "openai", "train": "rows.json", "test": 1}
    matrix = {"llms": [{"name": "local", "source": "base"}], "datasets": [dataset], "hyperparameters": [QUICK]}
    made = make_trial(tmp_path, matrix=matrix).ready()
    folder = Path(f"{made.layout.prepared(made.plan.prepared[0].prepared_id)}/files")
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    (row,) = Dataset.from_file(str(folder / "train.arrow"))
    learned = tokenizer.decode([label for label in row["labels"] if label != -100])
    assert learned.startswith("a1<|im_end|>")
    (scored,) = map(json.loads, (folder / "test.jsonl").read_text().splitlines())
    assert {learned.split("<|im_end|>")[1].strip(), scored["answer"]} == {"a2", "a3"}
    assert scored["messages"] == turns[:3]


@pytest.mark.parametrize(
    ("options", "learned"),
    [
        ({}, ["a1<|im_end|>", "a2<|im_end|>"]),
        ({"mask_history": True}, ["a2<|im_end|>"]),
        ({"train_on_prompt": True}, ["<|im_start|>user\nq1<|im_end|>\n<|im_start|>assistant\na1<|im_end|>", "a2<|im_end|>"]),
    ],
    ids=["by default", "mask_history", "train_on_prompt"],
)
def test_what_is_learned_of_a_conversation_is_chosen_by_the_hyperparameters(tmp_path: Path, base: Path, options: dict[str, bool], learned: list[str]) -> None:
    """Every answer, the last one, or everything; the tokens are the same."""
    row = {"instruction": "q2", "output": "a2", "history": [["q1", "a1"]]}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    shutil.copytree(base, tmp_path / "base")
    dataset = {"name": "rows", "train": "rows.jsonl", "test": "rows.jsonl", "columns": {"history": "history"}}
    matrix = {"llms": [{"name": "local", "source": "base"}], "datasets": [dataset], "hyperparameters": [{**QUICK, **options}]}
    made = make_trial(tmp_path, matrix=matrix, allow_leakage=SAME_FILE).ready()
    folder = Path(f"{made.layout.prepared(made.plan.prepared[0].prepared_id)}/files")
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    (encoded,) = Dataset.from_file(str(folder / "train.arrow"))
    text = tokenizer.decode([label for label in encoded["labels"] if label != -100])
    assert text.startswith(learned[0])
    assert text.rstrip("\n").endswith(learned[-1])
    assert ("q2" in text, "a1" in text) == (bool(options.get("train_on_prompt")), not options.get("mask_history"))
    assert encoded["labels"] == encoded["input_ids"] or not options.get("train_on_prompt")


def test_row_whose_image_was_missing_is_refused(tmp_path: Path, base: Path) -> None:
    """As when the experiment was planned, also where the image is there by now: the plan does not know it."""
    shutil.copytree(base, tmp_path / "base")
    FakeData(tmp_path).jsonl("rows.jsonl", [{"instruction": "<image>?", "output": "b", "images": ["late.png"]}, {"instruction": "a", "output": "b"}])
    dataset = {"name": "rows", "train": "rows.jsonl", "test": "rows.jsonl", "columns": {"images": "images"}}
    made = make_trial(tmp_path, matrix={"llms": [{"name": "local", "source": "base"}], "datasets": [dataset], "hyperparameters": [QUICK]})
    made.here("fetch", made.uris.bases[0])
    FakeData(tmp_path).text("late.png", "pixels")
    with pytest.raises(DataError, match=r"rows.jsonl:1: images: there is no file 'late.png'"):
        made.here("prepare", made.uris.prepare[0])
