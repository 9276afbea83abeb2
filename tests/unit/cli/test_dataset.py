"""`dtx dataset` as a person and a script see it."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from dtx_tasks.storage import write_bytes
from tests.builders import FakeData
from tests.plugins import Packages
from tests.unit.cli import command
from tests.unit.template.tokenizers import make_tokenizer

SHARED = Path(os.environ.get("DTX_SHARED") or Path(__file__).parents[4] / "shared") / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"the real data is not in {SHARED}; DTX_SHARED names another folder")

TURNS = [{"role": "user", "content": "a?"}, {"role": "assistant", "content": "b!"}]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeData:
    """An empty folder with a configuration in it."""
    data = command.stand_in(tmp_path, monkeypatch)
    monkeypatch.setenv("DTX_CACHE", str(tmp_path / "cache"))
    return data


def dtx(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The exit code of a command about Datasets."""
    return command.dtx(monkeypatch, "dataset", *arguments)


def report(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """What `check --json` prints."""
    dtx(monkeypatch, "check", *arguments, "--json")
    return dict(json.loads(capsys.readouterr().out))


def test_good_file_is_told(data: FakeData, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """In a table."""
    data.jsonl("a.jsonl")
    assert dtx(monkeypatch, "check", "a.jsonl") == 0
    assert "Nothing was found." in capsys.readouterr().out


def test_bad_row_is_told_and_ends_with_2(data: FakeData, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """For a script."""
    data.jsonl("a.jsonl", [{"instruction": "a", "output": "[b]b"}, {"instruction": "a", "output": ""}])
    assert dtx(monkeypatch, "check", "a.jsonl", "--html", "out/report.html") == 2
    out = capsys.readouterr().out
    assert "error empty_text (1): Text that is needed and empty." in out
    assert "a.jsonl:2: output: is empty. Write the text or remove the row." in out
    assert "empty_text" in Path("out/report.html").read_text()


def test_finding_stays_a_line_where_nobody_looks(data: FakeData, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A script finds the file, the line and what is wrong with it together, however narrow the screen would be."""
    monkeypatch.setenv("COLUMNS", "40")
    data.jsonl("a-name-of-some-length.jsonl", [{"instruction": "a", "output": ""}])
    assert dtx(monkeypatch, "check", "a-name-of-some-length.jsonl") == 2
    assert "  a-name-of-some-length.jsonl:1: output: is empty. Write the text or remove the row.\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ({"instruction": "a", "output": "b"}, ("alpaca", "conversations")),
        ({"instruction": "a", "chosen": "b", "rejected": "c"}, ("alpaca", "preferences")),
        ({"messages": TURNS}, ("openai", "conversations")),
        ({"messages": TURNS, "label": True}, ("openai", "labels")),
        ({"instruction": "a", "output": "b", "label": "False"}, ("alpaca", "labels")),
        ({"instruction": "a", "output": "b", "label": "sports"}, ("alpaca", "conversations")),
        ({"messages": TURNS, "label": 3}, ("openai", "conversations")),
        ({"messages": TURNS, "label": None}, ("openai", "conversations")),
        ({"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}, ("sharegpt", "conversations")),
        ({"conversations": TURNS}, ("openai", "conversations")),
        ({"prompt": "a", "completion": "b"}, ("prompt_completion", "conversations")),
        ({"prompt": "a"}, ("prompt_completion", "prompts")),
        ({"text": "a"}, ("text", "text")),
    ],
)
def test_format_of_a_file_is_seen(
    data: FakeData, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], row: dict[str, Any], found: tuple[str, str]
) -> None:
    """By the columns of its first rows."""
    data.jsonl("a.jsonl", [row])
    said = report(monkeypatch, capsys, "a.jsonl")
    assert (said["format"], said["kind"]) == found
    assert [code for code in said["findings"] if code["severity"] == "error"] == []


def test_check_looks_at_the_rows_that_are_learned_from(data: FakeData, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`max_samples` leaves the others out: what is scored on may be among them."""
    data.jsonl("a.jsonl", [{"instruction": word, "output": word} for word in ("one", "two", "three")])
    data.jsonl("b.jsonl", [{"instruction": "three", "output": "three"}])
    data.text("rows.yaml", "name: rows\ntrain: a.jsonl\ntest: b.jsonl\nmax_samples: 2\n")
    said = report(monkeypatch, capsys, "rows.yaml")
    assert (said["splits"]["train"]["num_rows"], said["findings"]) == (2, [])


def test_lengths_are_told_of_files_with_rows(data: FakeData, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Of each by its name, and of none that has no good row."""
    for name, rows in (("a", [{"instruction": "a", "output": "b"}]), ("b", [{"instruction": "abc", "output": "d"}]), ("bad", [{"instruction": "a"}])):
        data.jsonl(f"{name}.jsonl", rows)
    data.text("rows.yaml", "name: rows\ntrain: a.jsonl\nvalidation: bad.jsonl\ntest: b.jsonl\n")
    assert dtx(monkeypatch, "check", "rows.yaml") == 2
    told = [line.strip() for line in capsys.readouterr().out.splitlines() if line.startswith("Rows of")]
    assert told == ["Rows of a.jsonl of at most so many characters: 2: 1.", "Rows of b.jsonl of at most so many characters: 4: 1."]


def test_format_and_columns_may_be_given(data: FakeData, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Where a file's own names are others."""
    data.jsonl("a.jsonl", [{"q": "a", "a": "b"}])
    said = report(monkeypatch, capsys, "a.jsonl", "--format", "prompt_completion", "--column", "prompt=q", "--column", "completion=a")
    assert (said["splits"]["train"]["num_rows"], said["findings"]) == (1, [])


def test_dataset_of_the_catalog_and_of_a_file(data: FakeData, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """All of its splits."""
    assert set(report(monkeypatch, capsys, "rows")["splits"]) == {"train", "validation", "test"}
    data.jsonl("d/a.jsonl", 10)
    data.text("d/a.yaml", "name: mine\ntrain: a.jsonl\ntest: 2\n")
    assert {split: found["num_rows"] for split, found in report(monkeypatch, capsys, "d/a.yaml")["splits"].items()} == {"train": 8, "test": 2}


def test_dataset_of_ones_own_is_checked_and_shown_by_name(data: FakeData, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a team, and in a version whose file has changed since: from where it was handed over, else it is refused."""
    monkeypatch.setenv("DTX_HOME", str(data.folder / "home"))
    data.jsonl("a.jsonl", [{"instruction": "first", "output": "b"}])
    data.text("mine.yaml", "name: mine\ntrain: a.jsonl\n")
    assert dtx(monkeypatch, "create", "mine.yaml", "--team", "nlp") == 0
    assert dtx(monkeypatch, "check", "mine") == 2
    assert dtx(monkeypatch, "preview", "mine@1", "--team", "nlp") == 0
    data.jsonl("a.jsonl", [{"instruction": "second", "output": "b"}] * 2)
    capsys.readouterr()
    assert report(monkeypatch, capsys, "mine", "--team", "nlp")["splits"]["train"]["num_rows"] == 2
    assert dtx(monkeypatch, "check", "mine@1", "--team", "nlp") == 2
    assert ".train: has changed since version 1, and that one was never handed over" in capsys.readouterr().err
    data.jsonl("kept/a.jsonl", [{"instruction": "first", "output": "b"}])
    assert dtx(monkeypatch, "upload", "kept/a.jsonl", "--team", "nlp") == 0
    capsys.readouterr()
    assert dtx(monkeypatch, "preview", "mine@1", "--team", "nlp") == 0
    assert "user: first" in capsys.readouterr().out


def test_rows_at_an_address_are_checked_and_shown(bucket: str, data: FakeData, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """As `upload` takes them; what cannot be had is told."""
    write_bytes(f"{bucket}/a.jsonl", b'{"instruction": "a", "output": "b"}\n{"instruction": "c", "output": ""}\n')
    said = report(monkeypatch, capsys, f"{bucket}/a.jsonl")
    assert (said["findings"][0]["code"], said["findings"][0]["first"][0]["file"]) == ("empty_text", f"{bucket}/a.jsonl")
    assert dtx(monkeypatch, "preview", f"{bucket}/a.jsonl") == 0
    assert "assistant: b" in capsys.readouterr().out
    assert dtx(monkeypatch, "check", f"{bucket}/none.jsonl") == 2
    assert f"{bucket}/none.jsonl: is not there" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["check", "nothing"], "There is no file and no Dataset 'nothing'. Known: rows."),
        (["check", "rows", "--tokenizer", "nowhere"], "nowhere is no folder. Name one with a tokenizer in Hugging Face layout."),
        (["check", "rows", "--format", "text"], "rows says itself how it is read."),
        (["check", "a.jsonl", "--column", "q"], "--column 'q' is no pair. Write it as --column PART=NAME."),
        (["check", "a.jsonl", "--column", "qestion=q"], "columns.qestion: is not a known key"),
        (["check", "a.jsonl", "--column", "messages=q"], "a.jsonl: .columns.messages: is not read of conversations in the format alpaca."),
        (["check", "a.jsonl", "--mask-history"], "--mask-history means nothing without --tokenizer. Name a folder with a tokenizer, or leave it out."),
        (["preview", "a.jsonl", "--template", "qwen"], "--template means nothing without --tokenizer."),
        (["preview", "a.jsonl", "--tokenizer", "nowhere"], "nowhere is no folder. Name one with a tokenizer in Hugging Face layout."),
        (["preview", "a.jsonl", "--tokenizer", "t", "--mask-history", "--train-on-prompt"], "the options: .mask_history: does not go together with"),
        (["check", "text.jsonl", "--tokenizer", "t"], "Rows of text cannot be trained on yet, so that no template writes them. Leave --tokenizer out."),
        (["preview", "a.jsonl", "--split", "test"], "a.jsonl has no test split. It has train."),
        (["preview", "bad.jsonl"], "bad.jsonl has no row that can be shown. `dtx dataset check` says why."),
        (["upload", "a.jsonl", "--team", "../evil"], "--team '../evil' is no name of a team. Use lower-case letters, digits and hyphens inside, at most 40."),
        (["check", "rows", "--team", "A"], "--team 'A' is no name of a team."),
        (["import", "no.json"], "no.json: cannot be read: No such file or directory."),
    ],
)
def test_wrong_use_is_told(data: FakeData, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str) -> None:
    """With what would be right."""
    data.jsonl("a.jsonl")
    data.text("bad.jsonl", "{}\n")
    data.jsonl("text.jsonl", [{"text": "a"}])
    assert dtx(monkeypatch, *arguments) == 2
    assert told in capsys.readouterr().err


def test_rows_are_shown_as_conversations(data: FakeData, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """As many as are asked for; brackets are text."""
    data.jsonl("a.jsonl", [{"messages": [{"role": "user", "content": f"[bold]{number}"}, TURNS[1]]} for number in range(5)])
    assert dtx(monkeypatch, "preview", "a.jsonl", "-n", "2") == 0
    out = capsys.readouterr().out
    assert "user: [bold]1" in out
    assert "assistant: b!" in out
    assert "[bold]2" not in out


def test_held_out_rows_can_be_shown(data: FakeData, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever draws a split wants to see it."""
    data.jsonl("a.jsonl", 10)
    data.text("a.yaml", "name: mine\ntrain: a.jsonl\ntest: 1\n")
    assert dtx(monkeypatch, "preview", "a.yaml", "--split", "test") == 0
    assert capsys.readouterr().out.count("assistant: yes") == 1


def test_plugin_with_named_parameters_is_run(data: FakeData, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """As preparing would run it."""
    code = "def run(rows, parameters):\n    yield from (row for row in rows if len(row['output']) >= parameters['least'])\n"
    Packages(data.folder / "packages", monkeypatch).add("keep-long", code, parameters={"properties": {"least": {"type": "integer"}}})
    monkeypatch.setenv("DTX_HOME", str(data.folder / "home"))
    monkeypatch.setenv("DTX_CONFIG", str(data.config()))
    data.text("config/plugin-parameters/strict.yaml", "name: strict\nplugin: keep-long\nparameters: {least: 3}\n")
    data.jsonl("a.jsonl", [{"instruction": "a", "output": "no"}, {"instruction": "b", "output": "yes"}])
    data.text("a.yaml", "name: mine\ntrain: a.jsonl\nplugins: [{name: keep-long, parameters: strict}]\n")
    assert dtx(monkeypatch, "preview", "a.yaml") == 0
    out = capsys.readouterr().out
    assert ("assistant: yes" in out, "assistant: no" in out) == (True, False)


def test_rows_are_uploaded_and_checked(data: FakeData, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Under their digest, in the team's place, also where a row is wrong: a Dataset with other columns may be right."""
    monkeypatch.setenv("DTX_ROOT", str(data.folder / "store"))
    data.jsonl("rows/a.jsonl", [{"instruction": "a", "output": "b"}])
    data.text("bad.jsonl", "{}\n")
    assert dtx(monkeypatch, "upload", "rows", "--team", "nlp", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (Path(said["uri"]) / "a.jsonl").read_bytes() == (data.folder / "rows/a.jsonl").read_bytes()
    assert (Path(said["uri"]).is_relative_to(data.folder / "store/nlp/uploads"), said["report"]["findings"]) == (True, [])
    assert dtx(monkeypatch, "upload", "bad.jsonl") == 2
    out = capsys.readouterr().out
    assert "missing_field" in out
    assert f"In a Dataset: `train: {data.folder}/store/default/uploads/" in out
    assert dtx(monkeypatch, "upload", "none.jsonl") == 2
    assert "none.jsonl: is not there (got 'none.jsonl')." in capsys.readouterr().err


def test_folder_is_checked_and_shown(data: FakeData, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """As one file; each row with the file that it is in."""
    data.jsonl("rows/a.jsonl", [{"instruction": "a", "output": "b"}])
    data.jsonl("rows/b.jsonl", [{"instruction": "c", "output": "d"}])
    assert dtx(monkeypatch, "check", "rows") == 0
    assert dtx(monkeypatch, "preview", "rows") == 0
    assert "line 1 of b.jsonl" in capsys.readouterr().out


def test_registry_is_imported_and_replaces_nothing(data: FakeData, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """One YAML for each entry that can be read, with the differences as comments."""
    data.jsonl("lf/a.jsonl", [{"instruction": "a", "input": "b", "output": "c"}])
    entries = {"one": {"file_name": "a.jsonl", "columns": {"prompt": "instruction", "response": "output"}}, "hub": {"ms_hub_url": "a/b"}}
    data.text("lf/dataset_info.json", json.dumps(entries))
    assert dtx(monkeypatch, "import", "lf/dataset_info.json") == 0
    out = capsys.readouterr().out
    assert "hub: left out: it lies where it cannot be reached from here" in out
    assert "Made 1 of 2 Datasets in datasets." in out
    text = Path("datasets/one.yaml").read_text()
    assert text.startswith("# input: LLaMA-Factory does not read the column 'input'")
    assert yaml.safe_load(text) == {"name": "one", "format": "alpaca", "train": "../lf/a.jsonl", "columns": {"input": False}}
    assert dtx(monkeypatch, "check", "datasets/one.yaml") == 0
    dtx(monkeypatch, "import", "lf/dataset_info.json")
    assert "one: left out: datasets/one.yaml exists already." in capsys.readouterr().out


def test_bad_entry_leaves_the_others_in(data: FakeData, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Each with its reason."""
    data.jsonl("a.jsonl")
    file = {"file_name": "a.jsonl"}
    bad = {
        "../x": file,
        "数" * 100: file,
        "many": {**file, "num_samples": "10"},
        "listed": {**file, "columns": ["a"]},
        "odd": {**file, "columns": {"query": ""}},
    }
    data.text("dataset_info.json", json.dumps({**bad, "good": file}))
    assert dtx(monkeypatch, "import", "dataset_info.json") == 0
    out = capsys.readouterr().out
    assert "../x: left out: name: " in out
    assert f"{'数' * 100}: left out: " in out
    assert "many: left out: max_samples: " in out
    assert "listed: left out: it has columns that are no object of texts (got ['a'])." in out
    assert "odd: left out: columns.input: " in out
    assert "Made 1 of 6 Datasets in datasets." in out
    assert [path.name for path in Path("datasets").iterdir()] == ["good.yaml"]


LONG = {"role": "assistant", "content": "no " * 100}
TWO_TURNS = [
    {"role": "user", "content": "[a]?"},
    {"role": "assistant", "content": "b!"},
    {"role": "user", "content": "c?"},
    {"role": "assistant", "content": "d!"},
]
PROMPT = "<|im_start|>user\n[a]?<|im_end|>\n<|im_start|>assistant\n"
AGAIN = "<|im_end|>\n<|im_start|>user\nc?<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture
def tokenizer(tmp_path: Path) -> str:
    """A folder with a tokenizer, a token for each byte and each mark."""
    make_tokenizer("chatml").save_pretrained(tmp_path / "tokenizer")
    return str(tmp_path / "tokenizer")


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ([], f"{PROMPT}⟦b!<|im_end|>\n⟧<|im_start|>user\nc?<|im_end|>\n<|im_start|>assistant\n⟦d!<|im_end|>\n⟧"),
        (["--mask-history"], f"{PROMPT}b!{AGAIN}⟦d!<|im_end|>\n⟧"),
        (["--train-on-prompt"], f"⟦{PROMPT}b!{AGAIN}d!<|im_end|>\n⟧"),
    ],
)
def test_rows_are_shown_as_the_model_sees_them(
    data: FakeData, tokenizer: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: list[str], shown: str
) -> None:
    """Every character of the text, with marks around what is learned where there are no colours."""
    data.jsonl("a.jsonl", [{"messages": TWO_TURNS}])
    assert dtx(monkeypatch, "preview", "a.jsonl", "--tokenizer", tokenizer, *options) == 0
    legend, title, text = capsys.readouterr().out.split("\n", 2)
    assert legend == "⟦This is learned⟧, the rest is not."
    assert text.rstrip("\n") == shown.rstrip("\n")
    assert re.fullmatch(r"line 1: \d+ tokens, \d+ of them learned \(\d+\.\d%\)", title)


def test_what_is_learned_is_coloured_on_a_screen(data: FakeData, tokenizer: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """And the marks are gone: the text is there as it is."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    data.jsonl("a.jsonl", [{"messages": TURNS}])
    assert dtx(monkeypatch, "preview", "a.jsonl", "--tokenizer", tokenizer) == 0
    out = capsys.readouterr().out
    assert "<|im_start|>assistant\n\x1b[30;42mb!<|im_end|>\x1b[0m\n" in out
    assert "⟦" not in out


def test_what_is_cut_off_and_what_cannot_be_learned_is_told(
    data: FakeData, tokenizer: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Row by row: the next one is shown all the same."""
    data.jsonl("a.jsonl", [{"messages": [{"role": "user", "content": "a " * 20000}, LONG]}, {"messages": [TURNS[0], LONG]}])
    assert dtx(monkeypatch, "preview", "a.jsonl", "--tokenizer", tokenizer, "--cutoff-len", "40") == 0
    out = capsys.readouterr().out
    assert "line 1: nothing of the answer is left at a cutoff_len of 40. Nothing would be learned: raise cutoff_len, or shorten the question." in out
    assert re.search(r"^line 2: 40 tokens, \d+ of them learned \(\d+\.\d%\), cut off at 40$", out, re.MULTILINE)


@needs_shared
def test_text_of_sentencepiece_is_shown_with_its_spaces(data: FakeData, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A piece in the middle of a text begins with the space that it has there."""
    data.jsonl("a.jsonl", [{"instruction": "Say it", "output": "It is so"}])
    assert dtx(monkeypatch, "preview", "a.jsonl", "--tokenizer", str(SHARED / "oracle/tokenizers/llama2"), "--template", "vicuna") == 0
    assert "USER: Say it ASSISTANT:⟦It is so</s>⟧" in capsys.readouterr().out


def test_share_that_is_learned_follows_the_options(data: FakeData, tokenizer: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The same tokens, of which other ones are learned; in the table, in JSON and on the page."""
    data.jsonl("a.jsonl", [{"messages": TWO_TURNS}])
    shares = {}
    for option in ("--mask-history", "", "--train-on-prompt"):
        found = report(monkeypatch, capsys, "a.jsonl", "--tokenizer", tokenizer, *([option] if option else []))["splits"]["train"]
        shares[option] = found["trained_share"]
        assert (found["num_rows"], found["num_tokens"], found["unit_of_lengths"], found["lengths"]) == (1, 52, "tokens", {"64": 1})
    assert 0 < shares["--mask-history"] < shares[""] < shares["--train-on-prompt"] == 1
    assert dtx(monkeypatch, "check", "a.jsonl", "--tokenizer", tokenizer, "--html", "page.html") == 0
    out, page = capsys.readouterr().out, Path("page.html").read_text()
    assert f"{shares['']:.1%}" in out
    assert "Rows of a.jsonl of at most so many tokens: 64: 1." in out
    assert f"52 tokens, 8 of them learned ({100 * shares['']:.1f} %), 0 rows cut off." in page
    assert '<td class="number">64</td><td class="number">1</td>' in page


@needs_shared
def test_tokens_are_counted_with_a_tokenizer(data: FakeData, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """How many are learned, which rows are cut off, and which the template cannot write."""
    rows: list[dict[str, str]] = [{"instruction": "ask", "output": output} for output in ("yes", "no " * 200)]
    data.jsonl("a.jsonl", [*rows, {"instruction": "What is in <image>?", "output": "no"}])
    tokenizer = ["--tokenizer", str(SHARED / "oracle/tokenizers/qwen"), "--template", "llava", "--cutoff-len", "160"]
    found = report(monkeypatch, capsys, "a.jsonl", *tokenizer)
    split = found["splits"]["train"]
    assert (split["unit_of_lengths"], split["num_truncated"], split["num_tokens"] > split["num_trained_tokens"] > 0) == ("tokens", 1, True)
    first = {code["code"]: code["first"][0] for code in found["findings"]}
    assert first["truncated"]["line"] == 2
    assert (first["unlearnable"]["line"], "<image>" in first["unlearnable"]["message"]) == (3, True)


@needs_shared
def test_real_registry_is_imported_and_every_dataset_of_it_is_good(data: FakeData, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What a user who comes from LLaMA-Factory already has; the warnings are true of these files."""
    assert dtx(monkeypatch, "import", str(SHARED / "dataset_info.json")) == 0
    assert "Made 7 of 7 Datasets" in capsys.readouterr().out
    found = {path.stem: report(monkeypatch, capsys, str(path)) for path in sorted(Path("datasets").glob("*.yaml"))}
    assert {name: said["kind"] for name, said in found.items() if said["kind"] != "conversations"} == {
        "c4_demo": "text",
        "dpo_zh_demo": "preferences",
        "kto_en_demo": "labels",
    }
    counts = {name: {code["code"]: code["count"] for code in said["findings"] if code["code"] != "near_duplicate"} for name, said in found.items()}
    assert counts == {
        "alpaca_en_demo": {"duplicate": 14},
        "alpaca_zh_demo": {"duplicate": 8},
        "c4_demo": {"replacement_character": 4},
        "dpo_zh_demo": {"replacement_character": 6, "duplicate": 11},
        "glaive_toolcall_en_demo": {"duplicate": 35},
        "identity": {},
        "kto_en_demo": {"broken_text": 2},
    }


@pytest.mark.parametrize(("pixels", "codes"), [("other", set()), ("one", {"leakage"})])
def test_rows_of_two_images_are_two(data: FakeData, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], pixels: str, codes: set[str]) -> None:
    """Whatever their names are, as when an experiment is planned."""
    for folder, content in (("a", "one"), ("b", pixels)):
        data.text(f"{folder}/1.png", content)
        data.jsonl(f"{folder}/rows.jsonl", [{"instruction": "<image>Which colour?", "output": "red", "images": ["1.png"]}])
    data.text("d.yaml", "name: d\ntrain: a/rows.jsonl\ntest: b/rows.jsonl\ncolumns: {images: images}\n")
    assert {finding["code"] for finding in report(monkeypatch, capsys, str(data.folder / "d.yaml"))["findings"]} == codes
