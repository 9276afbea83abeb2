"""What the report of an experiment says, and that it runs nothing of what it shows."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from dtx_tasks.entrypoints.failures import note_failure
from dtx_tasks.errors import DivergedError
from dtx_tasks.records import Difference, ResourceVersion
from dtx_tasks.report import write_report
from dtx_tasks.select import select
from dtx_tasks.storage import append_line, write_record
from tests.builders import Store, make_attempt, make_experiment, make_matrix, make_plan

EVIL = "<script>alert(1)</script> {{ 7*7 }} {% x %}"


class Tags(HTMLParser):
    """Notes the tags of a page, and attributes that run something."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Called by the parser."""
        self.seen |= {tag, *(name for name, _ in attrs if name.startswith("on"))}


def make_store(root: Path, **changes: Any) -> Store:
    return Store(root, make_plan(make_experiment(**{"matrix": make_matrix(hyperparameters=["good", "bad"]), **changes})))


def finished(root: Path, **changes: Any) -> Store:
    """A store with a verdict: the first job is the best of two."""
    store = make_store(root, **changes)
    for job, value in zip(store.plan.jobs, (1.0, 0.0), strict=True):
        store.score_job(job, validation=[value] * 20, test=[value])
    store.score(store.plan.bases[0].llm.llm_id, "base", validation=[0.0] * 20, test=[0.0])
    select(store.plan, store.layout)
    return store


def html(store: Store) -> str:
    return Path(write_report(store.plan, store.layout)).read_text(encoding="utf-8")


def markdown(store: Store) -> str:
    write_report(store.plan, store.layout)
    return Path(f"{store.folder}/report.md").read_text(encoding="utf-8")


def tables(text: str) -> list[list[str]]:
    """The tables of a Markdown text, each as its lines."""
    return [block.splitlines() for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)]


def num_cells(line: str) -> int:
    return len(re.findall(r"(?<!\\)\|", line)) - 1


def test_report_says_what_came_of_it(tmp_path: Path) -> None:
    """The reason, the best one's place and the plan."""
    store = finished(tmp_path)
    page = html(store)
    assert "base / rows / good is the best" in page
    assert f"{store.layout.job(store.plan.jobs[0].job_id)}/checkpoint" in page
    assert store.plan.plan_id in page


def test_leakage_that_was_allowed_is_said(tmp_path: Path) -> None:
    """With its reason, as text: whoever reads the scores should know."""
    store = finished(tmp_path)
    leaky = Store(store.root, store.plan.model_copy(update={"leakage": "3 rows are scored on and learned from too: <b>on purpose</b>"}))
    assert "3 rows are scored on and learned from too: &lt;b&gt;on purpose&lt;/b&gt;." in html(leaky)
    assert "3 rows are scored on and learned from too" in markdown(leaky)
    assert "learned from too" not in html(store)


def test_what_the_plan_told_is_said(tmp_path: Path) -> None:
    """A score on rows that are almost learned from says less."""
    store = finished(tmp_path)
    noted = Store(store.root, store.plan.model_copy(update={"notes": ("2 rows to score on are almost the same as some of <b>",)}))
    assert "2 rows to score on are almost the same as some of &lt;b&gt;." in html(noted)
    assert "2 rows to score on are almost the same as some of <b>." in markdown(noted)


def test_user_text_is_shown_and_never_run(tmp_path: Path) -> None:
    """Neither by the browser nor by the template."""
    store = finished(tmp_path, name="{{ 7*7 }}", description=EVIL)
    page, tags = html(store), Tags()
    tags.feed(page)
    assert not [name for name in tags.seen if name == "script" or name.startswith("on")]
    assert "&lt;script&gt;alert(1)&lt;/script&gt; {{ 7*7 }} {% x %}" in page
    assert "<h1>{{ 7*7 }}</h1>" in page


def test_page_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    """It is one file that opens without a network."""
    assert re.findall(r"""(?:src|href|@import)\s*=?\s*["']?(?:https?:)?//""", html(finished(tmp_path))) == []


def test_predictions_are_shown_beside_those_of_the_base(tmp_path: Path) -> None:
    """Rows that tell the two apart."""
    page = html(finished(tmp_path))
    assert "answer worth 1.0" in page
    assert "answer worth 0.0" in page


def test_markdown_tables_keep_their_form(tmp_path: Path) -> None:
    """Pipes and backslashes of a name stay in their cell; every row has as many cells as the head."""
    store = finished(tmp_path, matrix=make_matrix(hyperparameters=["a|b", "c"]))
    found = tables(markdown(store))
    assert len(found) == 4
    assert all(len({num_cells(line) for line in table}) == 1 for table in found)
    assert any("a\\|b" in line for table in found for line in table)


def test_line_break_in_a_cell_is_no_new_row(tmp_path: Path) -> None:
    """Prompts have many lines."""
    store = finished(tmp_path)
    folder = store.layout.score(store.plan.jobs[0].job_id, store.plan.scoring.scoring_id)
    path = Path(folder) / "files" / "predictions.jsonl"
    path.write_text(path.read_text().replace("question 0 of validation", "two\\nlines | and `code`"))
    assert "| two<br>lines \\| and \\`code\\` |" in markdown(store)


def test_failed_run_has_a_report(tmp_path: Path) -> None:
    """With what failed and why, and no verdict."""
    store = make_store(tmp_path, description=EVIL)
    note_failure("train", store.plan.jobs[0].job_id, store.plan.packs[0], store.layout, "round", DivergedError("The loss is <nan>.", "Lower it."))
    page = html(store)
    assert "No job could be judged" in page
    assert "base / rows / good" in page
    assert "The loss is &lt;nan&gt;. Lower it." in page
    assert "- train base / rows / good: DivergedError: The loss is <nan>. Lower it." in markdown(store)


def test_costs_tell_reused_jobs_and_attempts(tmp_path: Path) -> None:
    """A job of another experiment cost this one nothing."""
    store = finished(tmp_path)
    good, bad = store.plan.jobs
    store.train(good, made_for="another experiment")
    for number in (1, 2):
        write_record(f"{store.layout.job(bad.job_id)}/attempts/{number}.json", make_attempt(number=number))
    cost = next(table for table in tables(markdown(store)) if "attempts" in table[0])
    assert [line.split(" | ")[-2:] for line in cost[2:]] == [["0", "yes |"], ["2", "no |"]]


@pytest.mark.parametrize(("num_points", "is_drawn"), [(0, False), (1, False), (2, True)])
def test_curves_are_drawn_where_there_are_any(tmp_path: Path, num_points: int, is_drawn: bool) -> None:
    """A job of one step has no line."""
    store = finished(tmp_path)
    for number in range(num_points):
        append_line(f"{store.layout.job(store.plan.jobs[0].job_id)}/events.jsonl", f'{{"event": "step", "step": {number + 1}, "loss": 1.0}}')
    assert ("<svg" in html(store)) == is_drawn


def test_report_is_the_same_every_time(tmp_path: Path) -> None:
    """The same records are the same page."""
    store = finished(tmp_path)
    assert html(store) == html(store)


def test_report_says_which_versions_were_used(tmp_path: Path) -> None:
    """Of named resources; their names are text."""
    store = finished(tmp_path)
    versions = (
        ResourceVersion(kind="Dataset", name="<b>rows</b>", version=3, digest="0123456789abcdef"),
        ResourceVersion(kind="LLM", name="base", version=None, digest="fedcba9876543210"),
    )
    store = Store(tmp_path, store.plan.model_copy(update={"versions": versions}))
    assert "Dataset &lt;b&gt;rows&lt;/b&gt;@3 (<code>0123456789abcdef</code>), LLM base@fedcba98 (<code>fedcba9876543210</code>)." in html(store)
    assert "From the catalog: Dataset <b>rows</b>@3 (`0123456789abcdef`), LLM base@fedcba98 (`fedcba9876543210`).\n" in markdown(store)


def test_changes_of_a_group_are_told(tmp_path: Path) -> None:
    """Once, however many jobs have it, and as text alone."""
    store = finished(tmp_path)
    changed = store.plan.jobs[0].model_copy(update={"difference": Difference(extends=EVIL, before={"lora_rank": 4})})
    plan = store.plan.model_copy(update={"packs": (store.plan.packs[0].model_copy(update={"jobs": (changed, changed)}),)})
    page = Path(write_report(plan, store.layout)).read_text(encoding="utf-8")
    assert page.count("with lora_rank: 8 (there 4).") == 1
    assert "<script>" not in page
    assert f"good is {EVIL} with lora_rank: 8 (there 4)." in Path(f"{store.folder}/report.md").read_text(encoding="utf-8")
