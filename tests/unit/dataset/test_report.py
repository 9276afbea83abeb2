"""What is said about a whole Dataset: warnings, figures, and the page."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from dtx_tasks.dataset import CODES, DatasetReport, Measured, Part, check_dataset
from dtx_tasks.errors import DataError
from dtx_tasks.spec import Columns, Tags, reading_of
from tests.builders import FakeData

if TYPE_CHECKING:
    from pathlib import Path

    from dtx_tasks.dataset import Row
    from dtx_tasks.spec import Format, Kind


def report_of(folder: Path, rows: Any, row_format: Format = "alpaca", kind: Kind | None = None, **more: Any) -> DatasetReport:
    data = FakeData(folder)
    parts: dict[Any, Part] = {"train": Part(data.jsonl("train.jsonl", rows), "train.jsonl")}
    if "test" in more:
        test = more.pop("test")
        parts["test"] = Part(parts["train"].path, "train.jsonl", test) if isinstance(test, int) else Part(data.jsonl("test.jsonl", test), "test.jsonl")
    return check_dataset("rows", parts, reading_of(row_format, kind, Columns(), Tags()), 42, **more)


def told(report: DatasetReport) -> list[str]:
    return [f"{finding.code}: {finding}" for kept in report.findings.shown.values() for finding in kept]


def row(instruction: str, output: str = "b") -> dict[str, str]:
    return {"instruction": instruction, "output": output}


def test_equal_rows_and_leakage_are_warnings(tmp_path: Path) -> None:
    """With the line where the row stands first."""
    report = report_of(tmp_path, [row("a"), row("b"), row("a")], test=[row("c"), row("b")])
    assert told(report) == [
        "duplicate: train.jsonl:3: row: is the same as that of line 1. It counts twice when it is learned: remove one.",
        "leakage: test.jsonl:2: row: is learned from too, in train.jsonl:2. Its score says nothing: remove it from the train split.",
    ]
    assert report.findings.num_errors == 0


def test_rows_that_are_almost_the_same_are_warnings(tmp_path: Path) -> None:
    """With how similar they are; exact ones are not told twice."""
    words = " ".join(f"word{number}" for number in range(200))
    report = report_of(tmp_path, [row(words), row("other"), row(f"{words} more"), row(words)], test=[row(f"{words} yet"), row(words)])
    found = {finding.code: str(finding) for kept in report.findings.shown.values() for finding in kept}
    assert report.findings.counts == {"duplicate": 1, "leakage": 1, "near_duplicate": 2, "near_leakage": 1}
    assert found["near_leakage"].startswith("test.jsonl:1: row: is almost the same as one that is learned from, train.jsonl:1 (similarity about ")


def test_rows_beyond_max_samples_are_not_counted(tmp_path: Path) -> None:
    """They are not learned from: they leak nothing, repeat nothing, and only their mistakes count."""
    words = " ".join(f"word{number}" for number in range(200))
    rows = [row("a"), row("c"), row("a"), row("longer", "\ufffd"), row(words), row("d", "")]
    report = report_of(tmp_path, rows, test=[row("longer", "\ufffd"), row(f"{words} more")], max_samples=2)
    assert report.findings.counts == {"empty_text": 1, "replacement_character": 1}
    found = report.as_dict()["splits"]
    assert (found["train"]["num_rows"], found["train"]["num_characters"], found["train"]["lengths"]) == (2, 4, {"2": 2})
    assert found["test"]["num_rows"] == 2


def test_max_samples_counts_behind_what_is_held_out(tmp_path: Path) -> None:
    """As an experiment learns from the first rows that are left; the figures are of the whole file."""
    words = " ".join(f"word{number}" for number in range(200))
    rows = [row(f"{number} {words}") for number in range(20)]
    whole, first = (report_of(tmp_path, rows, test=5, max_samples=most) for most in (None, 1))
    assert [found.splits["train"].num_rows for found in (whole, first)] == [15, 1]
    assert first.splits["test"].num_rows == 5
    assert first.splits["train"].statistics.num_rows == 20
    # All rows are almost the same: the later ones of test, and of train those behind the first.
    assert whole.findings.counts["near_duplicate"] == 4 + 14
    assert first.findings.counts["near_duplicate"] == 4


@pytest.mark.parametrize(
    ("output", "code"),
    [
        ("a\ufffdb", "replacement_character: train.jsonl:1: turn 2: "),
        ("cafÃ©", "broken_text: train.jsonl:1: turn 2: was read in another encoding than it was written in (got 'Ã©' for 'é')."),
        ("â€™s", "broken_text: train.jsonl:1: turn 2: was read in another encoding than it was written in (got 'â€™' for '’')."),
        ("ä½\u00a0好", "broken_text: train.jsonl:1: turn 2: "),
        ("Ð¿Ñ€Ð¸Ð²ÐµÑ‚", "broken_text: train.jsonl:1: turn 2: was read in another encoding than it was written in (got 'Ð¿Ñ€' for 'пр')."),
        ("x" * 100_001, "long_row: train.jsonl:1: row: has 100,002 characters."),
    ],
)
def test_suspicious_text_is_a_warning(tmp_path: Path, output: str, code: str) -> None:
    """At the turn that holds it."""
    (found,) = told(report_of(tmp_path, [row("a", output)]))
    assert found.startswith(code)


@pytest.mark.parametrize("output", ["café", "naïve Ärger ÆØÅ", "“quoted” – it’s", "É»", "à\u00a0«\u00a0a", "AÑ»", "你好，世界", "Â 5", "½ÄÖÜ"])
def test_text_of_any_language_is_not_suspicious(tmp_path: Path, output: str) -> None:
    """Accents and quotation marks are no mistakes."""
    assert told(report_of(tmp_path, [row("a", output)])) == []


def test_rare_label_is_a_warning(tmp_path: Path) -> None:
    """Fewer than one in ten."""
    rows = [{**row(f"{number}"), "kto_tag": number > 0} for number in range(20)]
    assert told(report_of(tmp_path, rows, kind="labels"))[0].startswith("label_imbalance: train.jsonl:1: label: 19 rows are labelled true and 1 false.")
    assert told(report_of(tmp_path, rows[:10], kind="labels")) == []


def test_preference_between_equal_answers_is_a_warning(tmp_path: Path) -> None:
    """Nothing is learned from it."""
    report = report_of(tmp_path, [{"instruction": "a", "chosen": "b", "rejected": "b"}], kind="preferences")
    assert told(report)[0].startswith("equal_preference: train.jsonl:1: row: ")


def test_figures_without_a_tokenizer(tmp_path: Path) -> None:
    """Rows, characters, and a histogram by powers of two."""
    found = report_of(tmp_path, [row("a" * number) for number in (1, 2, 3, 4)]).as_dict()["splits"]["train"]
    assert (found["num_rows"], found["num_characters"], found["unit_of_lengths"]) == (4, 14, "characters")
    assert found["lengths"] == {"2": 1, "4": 2, "8": 1}
    assert found["trained_share"] is None


def test_figures_with_a_tokenizer(tmp_path: Path) -> None:
    """Tokens, the share that is learned, and how many rows are cut off."""

    def measure(found: Row) -> Measured:
        if found.answer == "no":
            raise DataError("the prompt alone has 9 tokens.", "Shorten it.")
        return Measured(8, 2, found.answer == "long")

    report = report_of(tmp_path, [row("a"), row("b", "long"), row("c", "no")], measure=measure)
    found = report.as_dict()["splits"]["train"]
    assert (found["num_tokens"], found["num_trained_tokens"], found["num_truncated"], found["trained_share"]) == (16, 4, 1, 0.25)
    assert told(report) == [
        "unlearnable: train.jsonl:3: row: the prompt alone has 9 tokens. Shorten it.",
        "truncated: train.jsonl:2: row: 1 of 3 rows (33.3%) are longer than the length limit, this one first. Raise cutoff_len, or shorten them.",
    ]


def test_first_twenty_of_each_code_are_shown(tmp_path: Path) -> None:
    """And all of them counted."""
    report = report_of(tmp_path, [{"instruction": 1}] * 30)
    assert {found["code"]: (found["count"], len(found["first"])) for found in report.as_dict()["findings"]} == {
        "wrong_type": (30, 20),
        "missing_field": (30, 20),
    }


def test_report_as_json_and_as_a_page(tmp_path: Path) -> None:
    """What stands in the rows is text on the page, and nothing that runs."""
    report = report_of(tmp_path, [row("a"), {"instruction": "<script>alert(1)</script>", "output": 5}])
    assert json.loads(json.dumps(report.as_dict()))["findings"][0]["first"][0]["line"] == 2
    assert "wrong_type" in report.as_html()
    bad = report_of(tmp_path, [{"instruction": "a", "<script>alert(1)</script>": "b"}])
    assert "<script>" not in bad.as_html()
    assert "&lt;script&gt;" in bad.as_html()


def test_every_code_is_documented_in_one_sentence() -> None:
    """A person reads them beside the findings."""
    assert all(severity in ("error", "warning") and meaning.endswith(".") for severity, meaning in CODES.values())
