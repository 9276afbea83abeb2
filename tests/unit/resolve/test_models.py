"""Base models from hubs: this process speaks their protocols, as huggingface.co and modelscope.cn do."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from dtx_tasks.catalog import Version
from dtx_tasks.errors import DataError, Mistake, TransientError
from dtx_tasks.fetch import fetch
from dtx_tasks.records import BaseDocument, Layout
from dtx_tasks.resolve import Allowed, OwnFiles, files_of, resolve_llm
from dtx_tasks.spec import LLM
from dtx_tasks.storage import bring
from tests.builders import make_experiment, make_matrix, make_plan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dtx_tasks.records import LLMSource

COMMIT = "c" * 40
WEIGHTS = bytes(range(256)) * 40


@dataclass
class Hub:
    """Both hubs, with one model `ann/small`.

    Attributes:
        files: By path the content.
        token: What a request must show; empty for nothing.
        breaks_after: Bytes after which a connection ends; 0 for never.
        ends_at: Bytes of a file that are to be had at all; 0 for all.
        is_longer: Whether files have more bytes than was said of them.
        listing: What ModelScope says in place of its files.
        main: The commit of its main branch.
        missing: Those that are listed, and not to be had.
        asked: Each path with the range that was asked for.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    token: str = ""
    breaks_after: int = 0
    ends_at: int = 0
    is_longer: bool = False
    listing: object = None
    main: str = COMMIT
    missing: set[str] = field(default_factory=set)
    asked: list[tuple[str, str]] = field(default_factory=list)


class Answers(BaseHTTPRequestHandler):
    """Answers as a hub."""

    def __init__(self, hub: Hub, *args: object) -> None:
        self.hub = hub
        super().__init__(*args)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        """Called by the server."""
        split = urlsplit(self.path)
        self.hub.asked.append((split.path, self.headers.get("Range", "")))
        if self.hub.token and self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            self._say(401, b"{}")
        elif split.path in ("/api/models/ann/small/revision/main", f"/api/models/ann/small/revision/{COMMIT}"):
            commit = self.hub.main if split.path.endswith("main") else COMMIT
            self._say(200, json.dumps({"sha": commit, "siblings": [_sibling(*item) for item in self.hub.files.items()]}).encode())
        elif split.path.startswith((f"/ann/small/resolve/{COMMIT}/", f"/ann/small/resolve/{self.hub.main}/")):
            self._named(split.path.rpartition("/")[2])
        elif split.path == "/api/v1/models/ann/small/repo/files":
            self._say(200, json.dumps(self.hub.listing or {"Code": 200, "Data": {"Files": [_listed(*item) for item in self.hub.files.items()]}}).encode())
        elif split.path == "/api/v1/models/ann/small/repo":
            self._named(parse_qs(split.query)["FilePath"][0])
        else:
            self._say(404, b"{}")

    def _named(self, path: str) -> None:
        if path in self.hub.missing:
            self._say(404, b"{}")
        else:
            self._file(self.hub.files[path])

    def _file(self, content: bytes) -> None:
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        sent = content[start : self.hub.ends_at or None][: self.hub.breaks_after or None] + b"more" * self.hub.is_longer
        self._say(206 if start else 200, sent, len(sent) if self.hub.is_longer else len(content) - start)

    def _say(self, status: int, content: bytes, num_bytes: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content) if num_bytes is None else num_bytes))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def _sibling(path: str, content: bytes) -> dict[str, object]:
    found: dict[str, object] = {"rfilename": path, "size": len(content), "blobId": hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()}
    if path.endswith((".safetensors", ".bin")):
        found["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
    return found


def _listed(path: str, content: bytes) -> dict[str, object]:
    return {"Path": path, "Name": path, "Type": "blob", "Size": len(content), "Sha256": hashlib.sha256(content).hexdigest()}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Both hubs in this process."""
    files = {"config.json": b'{"model_type": "llama"}', "model.bin": WEIGHTS, "tokenizer.json": b"{}", "original/params.json": b"{}", "consolidated.pth": b"2"}
    hub = Hub(files)
    server = HTTPServer(("127.0.0.1", 0), partial(Answers, hub))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name in ("HF_ENDPOINT", "MODELSCOPE_ENDPOINT"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{server.server_port}")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    yield hub
    server.shutdown()
    server.server_close()


def find(source: str = "hf://ann/small", *roots: str, **changes: str) -> LLMSource | Mistake:
    return resolve_llm(LLM(name="small", source=source, template="default", **changes), Allowed(None, roots or None))  # type: ignore[arg-type]


def found(source: str = "hf://ann/small") -> LLMSource:
    llm = find(source)
    assert not isinstance(llm, Mistake), llm
    return llm


def document(llm: LLMSource) -> BaseDocument:
    """What the fetch stage is told."""
    return make_plan(make_experiment(matrix=make_matrix(llms=[llm.name])), llms={llm.name: llm}).bases[0]


def brought(llm: LLMSource, root: Path) -> dict[str, bytes]:
    """The files that the fetch stage puts on storage."""
    layout = Layout(str(root), "default")
    record = fetch(document(llm), layout, "a test")
    return {entry.path: Path(f"{layout.llm(llm.llm_id)}/files/{entry.path}").read_bytes() for entry in record.files}


def test_address_is_pinned_to_its_commit(hub: Hub) -> None:
    """A branch moves, a plan does not; nothing but the configuration is downloaded for it."""
    llm = found()
    assert (llm.kind, llm.source, llm.revision, llm.architecture) == ("hub", f"hf://ann/small@{COMMIT}", COMMIT, "llama")
    assert llm.num_bytes == sum(len(hub.files[name]) for name in ("config.json", "model.bin", "tokenizer.json"))
    assert [path for path, _ in hub.asked if "/resolve/" in path] == [f"/ann/small/resolve/{COMMIT}/config.json"]


@pytest.mark.parametrize("source", ["hf://ann/small", "ms://ann/small"])
def test_fetch_brings_what_is_needed(hub: Hub, tmp_path: Path, source: str) -> None:
    """The files of the uppermost folder, without weights in layouts of others; once."""
    assert brought(found(source), tmp_path) == {name: hub.files[name] for name in ("config.json", "model.bin", "tokenizer.json")}
    hub.asked.clear()
    brought(found(source), tmp_path)
    assert not [path for path, _ in hub.asked if path.endswith("model.bin")]


def test_safetensors_are_enough(hub: Hub, tmp_path: Path) -> None:
    """PyTorch's own form of the same weights stays where it is."""
    hub.files |= {"model.safetensors": b"\x02" + bytes(7) + b"{}"}
    assert sorted(brought(found(), tmp_path)) == ["config.json", "model.safetensors", "tokenizer.json"]


def test_interrupted_fetch_goes_on(hub: Hub, tmp_path: Path) -> None:
    """The next attempt asks for the rest alone."""
    llm = found()
    hub.ends_at = 4096
    with pytest.raises(TransientError, match=r"cannot be downloaded: model.bin: .*The next attempt goes on from what has arrived"):
        brought(llm, tmp_path)
    hub.ends_at = 0
    assert brought(llm, tmp_path)["model.bin"] == WEIGHTS
    assert hub.asked[-2:] == [(f"/ann/small/resolve/{COMMIT}/model.bin", "bytes=4096-"), (f"/ann/small/resolve/{COMMIT}/tokenizer.json", "")]


def test_interrupted_fetch_goes_on_elsewhere(hub: Hub, bucket: str, tmp_path: Path) -> None:
    """A machine that has nothing of it takes what another one has put on S3 from there, and asks the hub for the rest alone."""
    parts = {f"model-{number}.safetensors": b"\x02" + bytes(7) + b"{}" + bytes([number]) * 4096 for number in (1, 2)}
    hub.files = {"config.json": hub.files["config.json"], **parts}
    llm = found()
    hub.missing = {"model-2.safetensors"}
    with pytest.raises(TransientError, match=r"model-2.safetensors: .*404"):
        fetch(document(llm), Layout(bucket, "default"), "a test")
    shutil.rmtree(tmp_path / "scratch")
    hub.missing.clear()
    hub.asked.clear()
    record = fetch(document(llm), Layout(bucket, "default"), "a test")
    assert [path.rpartition("/")[2] for path, _ in hub.asked if "/resolve/" in path] == ["config.json", "model-2.safetensors"]
    files = bring(f"{Layout(bucket, 'default').llm(llm.llm_id)}/files", record.files)
    assert {path.name: path.read_bytes() for path in files.iterdir()} == hub.files


@pytest.mark.parametrize("written", [{}, {"base": "ms://ann/small"}])
def test_base_of_an_adapter_comes_from_its_hub(hub: Hub, tmp_path: Path, written: dict[str, str]) -> None:
    """By the name that the adapter has for it, as PEFT reads it, or by another; laid together they need neither again."""
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "ann/small", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"]}
    (tmp_path / "tuned").mkdir()
    (tmp_path / "tuned" / "adapter_config.json").write_text(json.dumps(config))
    llm = find(str(tmp_path / "tuned"), adapter="continue", **written)
    assert not isinstance(llm, Mistake), llm
    assert (llm.kind, llm.base, llm.architecture) == ("continued", "ms://ann/small@master" if written else f"hf://ann/small@{COMMIT}", "llama")
    files = brought(llm, tmp_path / "store")
    assert files == {name: hub.files[name] for name in ("config.json", "model.bin", "tokenizer.json")} | {
        "adapter/adapter_config.json": json.dumps(config).encode()
    }
    assert [path.name for path in (tmp_path / "store/default/models" / llm.llm_id).iterdir() if path.is_dir()] == ["files"]


def test_base_that_cannot_be_downloaded_is_tried_again(hub: Hub, tmp_path: Path) -> None:
    """What has arrived of it stays."""
    (tmp_path / "tuned").mkdir()
    (tmp_path / "tuned" / "adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": "ann/small"}')
    llm = found(str(tmp_path / "tuned"))
    hub.missing = {"model.bin"}
    with pytest.raises(TransientError, match=r"cannot be downloaded: model.bin: the server answered 404"):
        brought(llm, tmp_path / "store")
    assert (tmp_path / "store/default/models" / llm.llm_id / "base/config.json").read_bytes() == hub.files["config.json"]


def test_broken_connection_is_gone_on_with(hub: Hub, tmp_path: Path) -> None:
    """Within an attempt, as long as something arrives."""
    hub.breaks_after = 4096
    assert brought(found(), tmp_path)["model.bin"] == WEIGHTS
    assert [asked for path, asked in hub.asked if path.endswith("model.bin")] == ["", "bytes=4096-", "bytes=8192-"]


@pytest.mark.parametrize("source", ["hf://ann/small", "ms://ann/small"])
def test_file_that_does_not_end_is_not_taken(hub: Hub, tmp_path: Path, source: str) -> None:
    """No more is written than the hub says, whatever its machine sends."""
    llm = found(source)
    hub.is_longer = True
    with pytest.raises(TransientError, match=r"config\.json is not what the hub says of it: it is larger than 23 bytes"):
        brought(llm, tmp_path)
    assert not list(tmp_path.rglob("config.json*"))


def test_size_of_a_model_is_limited(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what the hub says, before anything is downloaded; a limit of its own, since rows are smaller."""
    monkeypatch.setenv("DTX_MAX_DOWNLOAD_BYTES", "5")
    num_bytes = found().num_bytes
    monkeypatch.setenv("DTX_MAX_MODEL_BYTES", str(num_bytes - 1))
    refused = find()
    assert isinstance(refused, Mistake)
    assert f"it has {num_bytes:,} bytes; {num_bytes - 1:,} are the limit of DTX_MAX_MODEL_BYTES" in refused.problem


@pytest.mark.parametrize("source", ["hf://ann/small?x", "hf://ann/..", "hf://../small", "ms://ann/small#x", "hf://ann/sm%2Fall", "hf://ann/small@main/x"])
def test_address_that_leads_elsewhere_is_refused(hub: Hub, source: str) -> None:
    """Before any hub is asked."""
    refused = find(source)
    assert isinstance(refused, Mistake)
    assert refused.problem.startswith("this source cannot be reached")
    assert hub.asked == []


LISTED = {"Path": "config.json", "Type": "blob", "Size": "many", "Sha256": ""}


@pytest.mark.parametrize("listing", [[1], 7, {"Data": "none"}, *({"Data": {"Files": files}} for files in (7, ["x"], [{"Path": "config.json"}], [LISTED]))])
def test_answer_that_is_not_the_hubs_is_told(hub: Hub, listing: object) -> None:
    """With what names the mirror that gave it."""
    hub.listing = listing
    refused = find("ms://ann/small")
    assert isinstance(refused, Mistake)
    assert "is MODELSCOPE_ENDPOINT a mirror of" in refused.problem


def test_hint_about_what_is_not_public_is_the_hubs_own(hub: Hub) -> None:
    """ModelScope knows no HF_TOKEN."""
    refused = find("ms://ann/other")
    assert isinstance(refused, Mistake)
    assert "answered 404 Not Found: is the name right? And one that is not public cannot be had from ModelScope" in refused.problem


def test_adapter_beside_a_model_is_not_its_weights(hub: Hub) -> None:
    """Its safetensors do not stand for the model's own, which are there in PyTorch's form alone."""
    before = found().num_bytes
    hub.files["adapter_model.safetensors"] = b"\x02" + bytes(7) + b"{}"
    assert found().num_bytes == before + 10


def test_damaged_file_is_not_taken(hub: Hub, tmp_path: Path) -> None:
    """And does not lie in the way of the next attempt."""
    llm, good = found(), dict(hub.files)
    listed = _sibling("model.bin", WEIGHTS)
    arriving = Path(Layout(str(tmp_path), "default").llm(llm.llm_id)) / "partial" / "model.bin.arriving"
    arriving.parent.mkdir(parents=True)
    arriving.write_bytes(b"x" * 100)
    with pytest.raises(TransientError, match=f"model.bin is not what the hub says of it: its digest is not {listed['lfs']['sha256']}"):  # type: ignore[index]
        brought(llm, tmp_path)
    assert brought(llm, tmp_path)["model.bin"] == good["model.bin"]


def test_model_that_changed_on_modelscope_is_told(hub: Hub, tmp_path: Path) -> None:
    """Its branches have no commit in their address: the digests of all files stand for it."""
    llm = found("ms://ann/small")
    hub.files["tokenizer.json"] = b"[]"
    with pytest.raises(DataError, match="ms://ann/small@master has changed since the experiment was planned"):
        brought(llm, tmp_path)


def test_gated_model_needs_a_token(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes from the environment, and stands in no document."""
    hub.token = "hf_secret"
    refused = find()
    assert isinstance(refused, Mistake)
    assert "answered 401 Unauthorized: is the name right? And one that is not public needs HF_TOKEN" in refused.problem
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    llm = found()
    assert brought(llm, tmp_path)["model.bin"] == WEIGHTS
    assert "hf_secret" not in document(llm).model_dump_json()


@pytest.mark.parametrize("is_pinned", [True, False])
def test_pinned_version_keeps_its_commit(hub: Hub, tmp_path: Path, is_pinned: bool) -> None:
    """A branch moves on; nothing has to be handed over for the hub to have the old commit still."""
    llm = LLM(name="small", source="hf://ann/small", template="default")
    version = Version(kind="LLM", name="mine", number=3, digest="", content=llm.model_dump(), files=files_of(found()), created_at=0.0, author="ann", note="")
    hub.main = "d" * 40
    resolved = OwnFiles(version, is_pinned, Allowed(None, None), Layout(str(tmp_path), "default")).llm(llm)
    assert not isinstance(resolved, Mistake)
    assert resolved.source == f"hf://ann/small@{COMMIT if is_pinned else hub.main}"


def test_request_may_not_ask_any_hub(hub: Hub) -> None:
    """Only addresses below a folder that requests may read."""
    refused = find("hf://ann/small", "s3://data")
    assert isinstance(refused, Mistake)
    assert refused.problem == "lies outside the folders that requests may read (got 'hf://ann/small')"
    assert not isinstance(find("hf://ann/small", "hf://ann"), Mistake)
    assert all(path.startswith(("/api/models/ann/small", "/ann/small")) for path, _ in hub.asked)


def test_model_that_cannot_be_loaded_is_refused(hub: Hub) -> None:
    """By its own configuration; and where the catalog knows it, before the hub is asked."""
    hub.files["config.json"] = b'{"model_type": "xverse"}'
    refused = find()
    assert isinstance(refused, Mistake)
    assert refused.remedy == "The nearest that can be: Qwen2.5-7B-Instruct."
    hub.asked.clear()
    assert find(architecture="xverse") == refused
    assert hub.asked == []


def test_architecture_must_be_that_of_the_model(hub: Hub) -> None:
    """What an author says of a model is checked."""
    assert find(architecture="qwen2") == Mistake(".architecture", "is not that of the model (got 'qwen2')", "Its config.json says 'llama'.")
    assert not isinstance(find(architecture="llama"), Mistake)


@pytest.mark.parametrize("content", [b"[", b"{}", b"[]"])
def test_configuration_that_says_nothing_is_told(hub: Hub, content: bytes) -> None:
    """Without an architecture nobody knows how to read the weights."""
    hub.files["config.json"] = content
    refused = find()
    assert isinstance(refused, Mistake)
    assert refused.problem.startswith("its config.json ")
