"""Files from a server on the web, which this process is."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from typing import TYPE_CHECKING

import pytest

from dtx_tasks.errors import TransientError
from dtx_tasks.records import FileEntry
from dtx_tasks.resolve.files import Allowed
from dtx_tasks.storage import DownloadError, bring, bring_page

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROWS = b'{"instruction": "a", "output": "b"}\n'
DIGEST = hashlib.sha256(ROWS).hexdigest()


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder; `/moved` leads to a file of it."""

    def do_GET(self) -> None:
        """Called by the server."""
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/rows.jsonl")
            self.end_headers()
        else:
            super().do_GET()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a folder with one file of rows."""
    monkeypatch.setenv("DTX_CACHE", str(tmp_path / "cache"))
    (tmp_path / "site").mkdir()
    (tmp_path / "site/rows.jsonl").write_bytes(ROWS)
    server = HTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "site")))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_file_is_brought_under_its_name(site: str) -> None:
    """Its ending says how it is read; the server may send on to another address."""
    found = bring_page(f"{site}/rows.jsonl?version=2")
    assert (found.name, found.read_bytes()) == ("rows.jsonl", ROWS)
    assert bring_page(f"{site}/moved").read_bytes() == ROWS


def test_file_with_a_digest_is_downloaded_once(site: str, tmp_path: Path) -> None:
    """It cannot be another one; without a digest it is what is there now."""
    bring_page(f"{site}/rows.jsonl#sha256={DIGEST}")
    (tmp_path / "site/rows.jsonl").write_bytes(b"other")
    assert bring_page(f"{site}/rows.jsonl#sha256={DIGEST.upper()}").read_bytes() == ROWS
    assert bring_page(f"{site}/rows.jsonl").read_bytes() == b"other"


def test_what_cannot_be_had_is_told_and_leaves_nothing(site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another content, a missing file, one that is too large, and no server."""
    with pytest.raises(DownloadError, match=f"its digest is {DIGEST}, not {'a' * 64}"):
        bring_page(f"{site}/rows.jsonl#sha256={'a' * 64}")
    with pytest.raises(DownloadError, match="the server answered 404"):
        bring_page(f"{site}/none.jsonl")
    with pytest.raises(DownloadError, match="the server answered 302"):
        bring_page(f"{site}/moved", may_redirect=False)
    monkeypatch.setenv("DTX_MAX_DOWNLOAD_BYTES", "5")
    with pytest.raises(DownloadError, match="larger than 5 bytes, the limit of DTX_MAX_DOWNLOAD_BYTES"):
        bring_page(f"{site}/rows.jsonl")
    with pytest.raises(DownloadError, match="ConnectError"):
        bring_page("http://127.0.0.1:1/rows.jsonl")
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.suffix != ".lock"] == []


@pytest.mark.parametrize("mark", ["sha256=abc", f"sha256={DIGEST}0", "md5=0123", "rows"])
def test_what_is_no_digest_is_refused_before_anything_is_asked(mark: str) -> None:
    """A file that its author wanted checked is not taken unchecked."""
    with pytest.raises(DownloadError, match=rf"behind # only sha256= and 64 hex digits may stand \(got '{mark}'\)"):
        bring_page(f"http://127.0.0.1:1/rows.jsonl#{mark}")


@pytest.mark.parametrize("name", [".", "..", "%2e%2e"])
def test_name_that_is_a_folder_is_refused(site: str, name: str) -> None:
    """It would be written beside its place."""
    with pytest.raises(DownloadError, match="it names no file"):
        bring_page(f"{site}/{name}")


def test_what_was_brought_makes_room_by_itself(site: str, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that was not used for a day goes; another one stays, also where the cache is older."""
    monkeypatch.setenv("DTX_CACHE", str(tmp_path / "cache"))
    (tmp_path / "site/old.jsonl").write_bytes(ROWS)
    old, new = (bring_page(f"{site}/{name}.jsonl#sha256={DIGEST}") for name in ("old", "rows"))
    for folder in (old.parent, new.parent):
        os.utime(folder, (0, 0))
    bring_page(f"{site}/rows.jsonl#sha256={DIGEST}")
    with pytest.raises(TransientError, match="is missing"):
        bring(f"{bucket}/none", [FileEntry(path="none", sha256="", num_bytes=2 * shutil.disk_usage(tmp_path).free)])
    assert (old.exists(), new.exists()) == (False, True)


def test_cache_is_its_owners_alone(site: str, tmp_path: Path) -> None:
    """By default it lies where everybody may write."""
    bring_page(f"{site}/rows.jsonl")
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700


def test_request_may_ask_no_address_that_was_not_allowed(site: str) -> None:
    """It would make the platform look at machines that only it can reach."""
    refused = Allowed(None, ()).find(f"{site}/rows.jsonl")
    assert "lies outside the folders that requests may read" in refused.problem  # type: ignore[union-attr]
    climbing = Allowed(None, (f"{site}/data",)).find(f"{site}/data/../rows.jsonl")
    assert "lies outside the folders that requests may read" in climbing.problem  # type: ignore[union-attr]
    assert Allowed(None, (site,)).find(f"{site}/rows.jsonl").read_bytes() == ROWS  # type: ignore[union-attr]
    assert Allowed(None, None).find(f"{site}/moved").read_bytes() == ROWS  # type: ignore[union-attr]
    missing = Allowed(None, None).find(f"{site}/none.jsonl")
    assert missing.problem.startswith("cannot be downloaded: the server answered 404")  # type: ignore[union-attr]
