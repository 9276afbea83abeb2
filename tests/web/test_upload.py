"""Rows that are sent to the plugin's app: who may, what is kept, and what is answered."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.web.conftest import DAG_ID

if TYPE_CHECKING:
    from collections.abc import Iterator

    from httpx import Response

    from tests.web.conftest import Site

ROWS = b'{"instruction": "a", "output": "b"}\n{"instruction": "c", "output": "d"}\n'


@pytest.fixture
def open_site(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Somebody who may start experiments is logged in."""
    monkeypatch.setenv("DTX_SCRATCH", str(tmp_path / "scratch"))
    return site.log_in("user").has_dag(DAG_ID, "dtx", "nlp")


def send(site: Site, content: bytes | Iterator[bytes] = ROWS, name: str = "rows.jsonl", dag_id: str = DAG_ID) -> Response:
    return site.client.post(f"/dags/{dag_id}/rows/{name}", content=content)


def files_of(site: Site) -> list[Path]:
    return [path for folder in (site.root, site.root.parent / "scratch") for path in folder.rglob("*") if path.is_file()]


def test_rows_are_kept_under_their_digest_and_checked(open_site: Site):
    """In the place of the team whose DAG it is; the answer says what a Dataset is to name."""
    answer = send(open_site)
    assert answer.status_code == 201, answer.text
    uri = Path(answer.json()["uri"])
    assert (uri.parent.parent, uri.name, uri.read_bytes()) == (open_site.root / "nlp/uploads", "rows.jsonl", ROWS)
    assert answer.json()["report"]["splits"]["train"]["num_rows"] == 2
    assert send(open_site).json()["uri"] == str(uri)
    assert files_of(open_site) == [uri]


def test_bad_rows_are_told_with_their_lines(open_site: Site):
    """As `dtx dataset check --json` does it; they are kept, since a Dataset may name other columns."""
    content = gzip.compress(ROWS + b'{"instruction": "e", "output": ""}\nnonsense\n')
    found = send(open_site, content, "rows.jsonl.gz").json()
    first = [finding["first"][0] for finding in found["report"]["findings"]]
    assert {(finding["file"], finding["line"], finding["code"]) for finding in first} == {
        ("rows.jsonl.gz", 3, "empty_text"),
        ("rows.jsonl.gz", 4, "not_json"),
    }
    assert Path(found["uri"]).read_bytes() == content


def test_files_that_rows_name_are_not_looked_for(open_site: Site):
    """They come by another way, and nobody is to learn what is on this machine."""
    rows = [{"instruction": "<image>?", "output": "a", "images": [target]} for target in ("/etc/hostname", "/etc/no such file", "b.png")]
    report = send(open_site, "".join(f"{json.dumps(row)}\n" for row in rows).encode()).json()["report"]
    assert (report["splits"]["train"]["num_rows"], [finding for finding in report["findings"] if finding["severity"] == "error"]) == (3, [])


def test_whoever_may_only_look_sends_nothing(open_site: Site):
    """The permission is that to start a run of the DAG."""
    assert send(open_site.log_in("viewer")).status_code == 403
    assert files_of(open_site) == []


def test_dag_that_runs_no_experiments_takes_no_rows(open_site: Site):
    """Its permission says nothing about any team."""
    for tags in (["nlp"], ["dtx"], ["dtx", "nlp", "vision"]):
        answer = send(open_site.has_dag("other", *tags), dag_id="other")
        assert (answer.status_code, answer.json()["detail"]) == (404, "The DAG 'other' is not there, or runs no experiments of one team.")
    assert files_of(open_site) == []


def test_size_is_limited(open_site: Site, monkeypatch: pytest.MonkeyPatch):
    """Whether the request says it in front or not; nothing of it stays."""
    monkeypatch.setenv("DTX_MAX_UPLOAD_BYTES", str(len(ROWS) - 1))
    for content in (ROWS, iter([ROWS[:10], ROWS[10:]])):
        answer = send(open_site, content)
        assert answer.status_code == 413
        assert "the limit of DTX_MAX_UPLOAD_BYTES: put it on S3" in answer.json()["detail"]
    assert files_of(open_site) == []


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("rows.txt", "'rows.txt' is no file of rows: its name must end in .jsonl, .json, .csv, .parquet, each also with .gz or .zst."),
        (".rows.jsonl", "is no name of a file"),
        ("rows%7F.jsonl", "is no name of a file"),
        (f"{'x' * 200}.jsonl", "is no name of a file"),
    ],
)
def test_name_must_be_that_of_a_file_of_rows(open_site: Site, name: str, told: str):
    """Its ending says how it is read."""
    answer = send(open_site, name=name)
    assert answer.status_code == 422
    assert told in answer.json()["detail"]
    assert files_of(open_site) == []


def test_slash_in_a_name_leads_nowhere(open_site: Site):
    """There is no such address."""
    assert send(open_site, name="..%2Frows.jsonl").status_code == 404
    assert files_of(open_site) == []


def test_refusals_are_for_programs(site: Site):
    """Whoever sends rows reads JSON, not a page."""
    answer = send(site)
    assert (answer.status_code, list(json.loads(answer.text))) == (401, ["detail"])
