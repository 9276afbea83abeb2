"""Rows from the Hugging Face hub: this process speaks its protocol, as huggingface.co does for a dataset with a large file and small ones."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest

from dtx_tasks.cli.handover import hand_over
from dtx_tasks.entrypoints.documents import write_plan
from dtx_tasks.entrypoints.planning import plan_document
from dtx_tasks.errors import Mistake
from dtx_tasks.resolve import Allowed, Origin
from dtx_tasks.spec import SpecDocument
from tests.builders import FakeData

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OLD, NEW = "1" * 40, "2" * 40


def rows(*questions: str) -> bytes:
    return "".join(json.dumps({"instruction": question, "output": "b"}) + "\n" for question in questions).encode()


@dataclass
class Hub:
    """A hub with one dataset, `ann/shop`.

    Attributes:
        url: Of the hub.
        cdn: Of the machine that it sends on to for large files.
        commits: By revision the commit.
        files: By path the content.
        large: Paths that lie elsewhere.
        token: What a request must show; empty for nothing.
        is_damaging: Whether another file arrives than the one whose digest is named.
        asked: Every request: the machine, the path and what it showed.
    """

    url: str = ""
    cdn: str = ""
    commits: dict[str, str] = field(default_factory=lambda: {"main": NEW, "v1": OLD, OLD: OLD, NEW: NEW, "refs/convert/parquet": OLD})
    files: dict[str, bytes] = field(default_factory=dict)
    large: tuple[str, ...] = ()
    token: str = ""
    is_damaging: bool = False
    asked: list[tuple[str, str, str]] = field(default_factory=list)

    def paths(self) -> list[str]:
        """What was asked of the hub itself."""
        return [path for machine, path, _ in self.asked if machine == "hub"]


class Answers(BaseHTTPRequestHandler):
    """Answers as the hub, or as the machine with the large files."""

    def __init__(self, hub: Hub, machine: str, *args: object) -> None:
        self.hub, self.machine = hub, machine
        super().__init__(*args)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        """Called by the server."""
        shown = self.headers.get("Authorization", "")
        self.hub.asked.append((self.machine, self.path, shown))
        if self.machine == "cdn":
            self._say(200, self.hub.files[self.path.removeprefix("/")])
        elif self.hub.token and shown != f"Bearer {self.hub.token}":
            self._say(401, b'{"error":"Invalid username or password."}')
        elif self.path.startswith("/api/datasets/ann/shop/revision/"):
            self._revision(self.path.removeprefix("/api/datasets/ann/shop/revision/").replace("%2F", "/"))
        elif self.path.startswith("/datasets/ann/shop/resolve/"):
            self._file(*self.path.removeprefix("/datasets/ann/shop/resolve/").split("/", 1))
        else:
            self._say(404, b'{"error":"Repository not found"}')

    def _revision(self, revision: str) -> None:
        if revision not in self.hub.commits:
            self._say(404, b'{"error":"Invalid rev id"}')
            return
        siblings = [{"rfilename": name} for name in (".gitattributes", "README.md", *self.hub.files)]
        said = {"id": "ann/shop", "sha": self.hub.commits[revision], "private": False, "siblings": siblings}
        self._say(200, json.dumps(said).encode())

    def _file(self, commit: str, path: str) -> None:
        content = self.hub.files[path]
        if path in self.hub.large:
            linked = {"X-Linked-Etag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Linked-Size": str(len(content))}
            self._say(302, b"", {"Location": f"{self.hub.cdn}/{path}", "X-Repo-Commit": commit, **linked})
        else:
            blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            self._say(200, content, {"ETag": f'"{blob}"', "X-Repo-Commit": commit})

    def _say(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content.replace(b"instruction", b"instructiom") if self.hub.is_damaging else content)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub in this process."""
    hub = Hub(files={"data/a.jsonl": rows("a"), "data/b.jsonl": rows("b1", "b2"), "test/rows.jsonl": rows("t")}, large=("data/b.jsonl",))
    servers = [HTTPServer(("127.0.0.1", 0), partial(Answers, hub, machine)) for machine in ("hub", "cdn")]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    hub.url, hub.cdn = (f"http://127.0.0.1:{server.server_port}" for server in servers)
    monkeypatch.setenv("DTX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_ENDPOINT", f"{hub.url}/")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    yield hub
    for server in servers:
        server.shutdown()
        server.server_close()


def find(uri: str, *roots: str) -> tuple[Path, str]:
    found = Allowed(None, roots or None).find_rows(uri)
    assert not isinstance(found, Mistake), found
    return found


def told(uri: str, *roots: str) -> str:
    found = Allowed(None, roots or None).find_rows(uri)
    assert isinstance(found, Mistake)
    return found.problem


def test_file_is_brought_by_its_commit(hub: Hub) -> None:
    """Of a tag, of `main` where none is named, and of a revision with a slash in it; messages say the commit."""
    path, label = find("hf://datasets/ann/shop@v1/data/a.jsonl")
    assert (path.name, path.read_bytes(), label) == ("a.jsonl", rows("a"), f"hf://datasets/ann/shop@{OLD}/data/a.jsonl")
    assert find("hf://datasets/ann/shop/data/a.jsonl")[1] == f"hf://datasets/ann/shop@{NEW}/data/a.jsonl"
    assert find("hf://datasets/ann/shop@refs%2Fconvert%2Fparquet/data/a.jsonl")[1] == f"hf://datasets/ann/shop@{OLD}/data/a.jsonl"


def test_large_file_is_brought_from_where_the_hub_sends(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the token stays with the hub."""
    hub.token = "secret"
    assert "answered 401 Unauthorized: is the name right? And one that is not public needs HF_TOKEN" in told("hf://datasets/ann/shop/data/b.jsonl")
    monkeypatch.setenv("HF_TOKEN", "secret")
    assert find("hf://datasets/ann/shop/data/b.jsonl")[0].read_bytes() == rows("b1", "b2")
    assert [shown for machine, _, shown in hub.asked if machine == "cdn"] == [""]


def test_folder_is_brought_once_for_each_commit(hub: Hub) -> None:
    """Its files alone; a commit cannot change, so that nothing is downloaded again."""
    path, label = find("hf://datasets/ann/shop@v1/data")
    assert ([item.name for item in sorted(path.iterdir())], label) == (["a.jsonl", "b.jsonl"], f"hf://datasets/ann/shop@{OLD}/data")
    hub.asked.clear()
    assert find(f"hf://datasets/ann/shop@{OLD}/data/")[0] == path
    assert hub.paths() == [f"/api/datasets/ann/shop/revision/{OLD}"]
    hub.files["data/a.jsonl"] = rows("new")
    assert (find("hf://datasets/ann/shop/data")[0] / "a.jsonl").read_bytes() == rows("new")


def test_damaged_file_is_not_kept(hub: Hub, tmp_path: Path) -> None:
    """Whether the hub knows it by a SHA-256 or by Git's id."""
    hub.is_damaging = True
    for name in ("data/a.jsonl", "data/b.jsonl"):
        assert "cannot be downloaded: its digest is " in told(f"hf://datasets/ann/shop/{name}")
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.suffix != ".lock"] == []


def test_file_that_was_changed_here_is_brought_again(hub: Hub) -> None:
    """And one that somebody put where it belongs."""
    path, _ = find("hf://datasets/ann/shop/data/a.jsonl")
    path.write_bytes(rows("evil"))
    assert find("hf://datasets/ann/shop/data/a.jsonl")[0].read_bytes() == rows("a")
    folder, _ = find("hf://datasets/ann/shop/data")
    (folder.parent / ".b.jsonl.sha256").unlink()
    (folder / "b.jsonl").write_bytes(rows("evil"))
    assert (find("hf://datasets/ann/shop/data")[0] / "b.jsonl").read_bytes() == rows("b1", "b2")


def test_dataset_of_the_usual_layout_is_brought(hub: Hub) -> None:
    """A split of a folder with several; a whole dataset but for what tells about it."""
    hub.files = {f"data/{name}-00000-of-00001.jsonl": rows(name) for name in ("train", "test")}
    assert "is a folder with rows of several splits" in told("hf://datasets/ann/shop/data")
    path, label = find("hf://datasets/ann/shop/data/train-*.jsonl")
    assert ([item.name for item in path.iterdir()], label) == (["train-00000-of-00001.jsonl"], f"hf://datasets/ann/shop@{NEW}/data/train-*.jsonl")
    hub.files = {"rows.jsonl": rows("a"), "LICENSE": b"x"}
    path, _ = find("hf://datasets/ann/shop")
    assert (path.name, [item.name for item in path.iterdir()]) == ("shop", ["rows.jsonl"])
    assert [item.name for item in find("hf://datasets/ann/shop/*.jsonl")[0].iterdir()] == ["rows.jsonl"]


@pytest.mark.parametrize("name", ["data/../../a.jsonl", "/a.jsonl", "data//a.jsonl"])
def test_name_that_leads_elsewhere_is_refused(hub: Hub, name: str) -> None:
    """A mirror may say anything."""
    hub.files[name] = rows("a")
    assert f"has a file whose name leads elsewhere (got {name!r})" in told("hf://datasets/ann/shop/data")


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("hf://datasets/shop", "it is no address of a dataset: write hf://datasets/OWNER/NAME@REVISION/PATH"),
        ("hf://ann/shop/data", "it is no address of a dataset"),
        ("hf://datasets/ann/none/data", "answered 404 Not Found: is the name right?"),
        ("hf://datasets/ann/shop@v9/data", "answered 404 Not Found"),
        ("hf://datasets/ann/shop/date", "ann/shop has nothing of this name at main: it has README.md, data/a.jsonl, data/b.jsonl, test/rows.jsonl"),
        ("hf://datasets/ann/shop", "is a folder with something in it that is no file of rows: 'data'"),
        ("hf://datasets/ann/shop/data/x-*", "ann/shop has nothing of this name at main"),
    ],
)
def test_what_is_not_there_is_told(hub: Hub, uri: str, said: str) -> None:
    """With what there is."""
    assert said in told(uri)


def test_size_is_limited(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a file, and of all files of a folder together."""
    monkeypatch.setenv("DTX_MAX_DOWNLOAD_BYTES", str(len(rows("b1", "b2"))))
    find("hf://datasets/ann/shop/data/b.jsonl")
    assert "the limit of DTX_MAX_DOWNLOAD_BYTES" in told("hf://datasets/ann/shop/data")


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:1", "nonsense"])
def test_hub_that_cannot_be_reached_is_told(hub: Hub, monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    """With its address, which HF_ENDPOINT may have wrong."""
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    assert f"cannot be downloaded: {endpoint}: " in told("hf://datasets/ann/shop/data")


def test_request_may_name_only_what_was_allowed(hub: Hub) -> None:
    """An owner, or one dataset; not another one whose name begins so."""
    refused = "lies outside the folders that requests may read"
    assert refused in told("hf://datasets/ann/shop/data", "/data")
    assert refused in told("hf://datasets/ann/shop@v1/data", "hf://datasets/ann/sho")
    assert refused in told("hf://datasets/ann/shop@v1/../../bob/data", "hf://datasets/ann")
    assert hub.asked == []
    for root in ("hf://datasets/ann", "hf://datasets/ann/shop", "hf://datasets/ann/shop@v1"):
        assert find("hf://datasets/ann/shop@v1/data", root)[1].endswith(f"@{OLD}/data")


def test_address_of_the_web_with_a_name_before_its_host_is_outside() -> None:
    """`https://data.example@elsewhere` is a file of `elsewhere`."""
    found = Allowed(None, ("https://data.example",)).find("https://data.example@127.0.0.1/rows.jsonl")
    assert isinstance(found, Mistake)
    assert "lies outside" in found.problem


def make_document(**dataset: str) -> SpecDocument:
    return SpecDocument("e.yaml", {"name": "x", "matrix": {"llms": ["base"], "hyperparameters": ["quick"], "datasets": [{"name": "shop", **dataset}]}})


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration, and nothing of the developer's own."""
    monkeypatch.setenv("DTX_CONFIG", str(FakeData(tmp_path).config()))
    monkeypatch.setenv("DTX_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DTX_CATALOG_URL", raising=False)
    return tmp_path


def test_plan_keeps_the_commit_and_the_rows(hub: Hub, here: Path) -> None:
    """Below the platform's root: the cache may be another machine's, or gone."""
    document = make_document(train="hf://datasets/ann/shop@v1/data", test="hf://datasets/ann/shop@v1/test/rows.jsonl")
    plan = plan_document(document, Origin(here))
    write_plan(plan, str(here / "store"))
    (prepared,) = (here / "store/default/experiments/x" / plan.plan_id / "prepare").iterdir()
    files = json.loads(prepared.read_text())["dataset"]["files"]
    assert (files["train"]["label"], files["train"]["num_rows"]) == (f"hf://datasets/ann/shop@{OLD}/data", 3)
    assert files["test"]["path"] == f"{here}/store/default/uploads/{files['test']['sha256'][:16]}/rows.jsonl"
    train = here / f"store/default/uploads/{files['train']['sha256'][:16]}/data"
    assert (files["train"]["path"], (train / "b.jsonl").read_bytes()) == (str(train), rows("b1", "b2"))


def test_submit_hands_over_what_it_can_reach(hub: Hub, here: Path) -> None:
    """The platform need not be allowed to ask the hub, nor have the token."""
    document = make_document(train="hf://datasets/ann/shop@v1/data/*.jsonl", test="hf://datasets/ann/shop@v1/test/rows.jsonl")
    local = plan_document(document, Origin(here))
    handed = SpecDocument("e.yaml", hand_over(document.data, local, here, str(here / "store")))
    hub.asked.clear()
    assert plan_document(handed, Origin(None, (here / "store/default/uploads",))).plan_id == local.plan_id
    assert hub.asked == []
