"""Base models on the Hugging Face hub, a mirror of it, or ModelScope: what an address means now, and its files, checked against the hub's own digests."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, unquote

from dtx_tasks.records import digest_of
from dtx_tasks.settings import max_model_bytes, modelscope_endpoint
from dtx_tasks.storage.hub import MAIN, REPOSITORY, Hub, checked, hugging_face, said
from dtx_tasks.storage.web import AS_IT_IS, TIMEOUT_S, DownloadError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import httpx

ADDRESS = re.compile(rf"(?P<hub>hf|ms)://(?!datasets/){REPOSITORY}(?:@(?P<revision>[^/]+))?")
"""A slash in a revision is `%2F`."""

CONFIG = "config.json"
MASTER = "master"
"""ModelScope's name for its main branch."""

WEIGHTS = re.compile(r"model.*\.safetensors")
"""As transformers names a model's own; an adapter's are called otherwise."""

OTHER_LAYOUTS = re.compile(r"consolidated.*|.*\.(pth|pt|ckpt|msgpack|h5|onnx|gguf|tflite)|training_args\.bin|optimizer\.bin|scheduler\.bin")
"""Weights once more, as something else reads them, and what was left over from training."""


class HubFile(NamedTuple):
    """A file of a model."""

    path: str
    num_bytes: int
    digest: str
    """In hex digits: 64 of a SHA-256, 40 of the id that Git gives it."""

    @property
    def has_sha256(self) -> bool:
        """Whether that is the kind of its digest, as it is of everything large."""
        return len(self.digest) == 64


@dataclass(frozen=True)
class HubModel:
    """A model on a hub.

    Attributes:
        address: With the commit in place of a branch, where the hub has commits.
        revision: Another one when any file is another one.
        files: Those that are needed.
    """

    address: str
    revision: str
    files: tuple[HubFile, ...]

    @property
    def num_bytes(self) -> int:
        """Of all files."""
        return sum(file.num_bytes for file in self.files)


def is_hub_model(uri: str) -> bool:
    """Whether a URI is the address of a model on a hub."""
    return bool(ADDRESS.fullmatch(uri))


def at_commit(uri: str, commit: str) -> str:
    """An address with a commit in place of what it says; as it is for ModelScope, which has no address of a commit.

    Args:
        uri: Of a model on a hub.
        commit: What its revision was.
    """
    found = ADDRESS.fullmatch(uri)
    return f"hf://{found['id']}@{commit}" if found and found["hub"] == "hf" else uri


def look_up_model(uri: str) -> HubModel:
    """What an address means now.

    Args:
        uri: `hf://OWNER/NAME@REVISION`, or `ms://OWNER/NAME@REVISION` of ModelScope; its main branch where no revision is named.

    Raises:
        DownloadError: The hub has nothing there, does not say what its files are, or they are too large together.
    """
    found = ADDRESS.fullmatch(uri)
    assert found, uri
    hub, look = (hugging_face(), _of_hugging_face) if found["hub"] == "hf" else (_modelscope(), _of_modelscope)
    try:
        model = look(hub, found["id"], unquote(found["revision"]) if found["revision"] else None)
    except DownloadError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DownloadError(f"{hub.url} does not answer as the hub does ({type(error).__name__}: {error}): is {hub.setting} a mirror of it?") from None
    if model.num_bytes > max_model_bytes():
        raise DownloadError(f"it has {model.num_bytes:,} bytes; {max_model_bytes():,} are the limit of DTX_MAX_MODEL_BYTES")
    return model


def _modelscope() -> Hub:
    return Hub(modelscope_endpoint(), "MODELSCOPE_ENDPOINT", {}, "one that is not public cannot be had from ModelScope")


def _of_hugging_face(hub: Hub, name: str, revision: str | None) -> HubModel:
    answer = said(hub, f"/api/models/{name}/revision/{quote(revision or MAIN, safe='')}?blobs=true", ("sha", "siblings"))
    files = (HubFile(checked(str(item["rfilename"])), int(item.get("size") or 0), _digest(item)) for item in answer["siblings"])
    commit = quote(str(answer["sha"]), safe="")
    return HubModel(f"hf://{name}@{commit}", commit, _needed(files))


def _digest(item: dict[str, Any]) -> str:
    return str((item.get("lfs") or {}).get("sha256") or item.get("blobId") or "")


def _of_modelscope(hub: Hub, name: str, revision: str | None) -> HubModel:
    branch = revision or MASTER
    answer = said(hub, f"/api/v1/models/{name}/repo/files?Revision={quote(branch, safe='')}&Recursive=true", ("Data",))
    listed = (answer["Data"] or {}).get("Files") or ()
    files = _needed(HubFile(checked(str(item["Path"])), int(item["Size"]), str(item["Sha256"])) for item in listed if item["Type"] == "blob")
    return HubModel(f"ms://{name}@{quote(branch, safe='')}", digest_of(sorted(files), 64), files)


def _needed(files: Iterable[HubFile]) -> tuple[HubFile, ...]:
    """Files of the uppermost folder, which is all that transformers read; PyTorch's own form of weights only where there is no other."""
    above = [file for file in files if "/" not in file.path and not file.path.startswith(".") and not OTHER_LAYOUTS.fullmatch(file.path)]
    has_safe = any(WEIGHTS.fullmatch(file.path) for file in above)
    return tuple(sorted(file for file in above if not has_safe or ".bin" not in file.path))


def bring_model(model: HubModel, folder: Path, *, only: str | None = None) -> None:
    """Downloads the files of a model; what an earlier try left there is gone on with.

    Args:
        model: As `look_up_model` found it.
        folder: Where they go.
        only: One of them, in place of all.

    Raises:
        DownloadError: A file cannot be had, or is not what the hub says of it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for file in model.files:
        if only in (None, file.path) and not _is_right(folder / file.path, file):
            _bring(*_place_of(model, file), folder / file.path, file)


def _place_of(model: HubModel, file: HubFile) -> tuple[Hub, str]:
    found = ADDRESS.fullmatch(model.address)
    assert found
    if found["hub"] == "hf":
        return hugging_face(), f"/{found['id']}/resolve/{found['revision']}/{quote(file.path)}"
    return _modelscope(), f"/api/v1/models/{found['id']}/repo?Revision={found['revision']}&FilePath={quote(file.path, safe='')}"


def _bring(hub: Hub, place: str, path: Path, file: HubFile) -> None:
    arriving = path.with_name(f"{path.name}.arriving")
    there = _size(arriving)
    # A connection that has to hold for hours does not: as long as bytes arrive, the rest is asked for.
    while problem := _ask(hub, place, arriving, file):
        if _size(arriving) <= there:
            raise DownloadError(f"{file.path}: {problem}")
        there = _size(arriving)
    if not _is_right(arriving, file):
        arriving.unlink()
        raise DownloadError(f"{file.path} is not what the hub says of it: its digest is not {file.digest}")
    arriving.replace(path)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _ask(hub: Hub, place: str, path: Path, file: HubFile) -> str:
    """Asks for what is not there yet; what broke the connection, empty for nothing."""
    import httpx

    rest = {"Range": f"bytes={_size(path)}-"} if 0 < _size(path) < file.num_bytes else {}
    try:
        with httpx.stream("GET", f"{hub.url}{place}", headers={**AS_IT_IS, **hub.shown, **rest}, follow_redirects=True, timeout=TIMEOUT_S) as answer:
            if answer.status_code not in (200, 206):
                raise DownloadError(f"{file.path}: the server answered {answer.status_code} {answer.reason_phrase}: {hub.closed}")
            _append(answer, path, file)
    except httpx.HTTPError as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _append(answer: httpx.Response, path: Path, file: HubFile) -> None:
    """Writes what arrives behind what is there; from the beginning where the server does not go on."""
    with path.open("ab" if answer.status_code == 206 else "wb") as arriving:
        for chunk in answer.iter_bytes():
            if arriving.tell() + len(chunk) > file.num_bytes:
                path.unlink()
                raise DownloadError(f"{file.path} is not what the hub says of it: it is larger than {file.num_bytes:,} bytes")
            arriving.write(chunk)


def _is_right(path: Path, file: HubFile) -> bool:
    if not path.is_file() or path.stat().st_size != file.num_bytes:
        return False
    computed = hashlib.sha256() if file.has_sha256 else hashlib.sha1(b"blob %d\0" % file.num_bytes, usedforsecurity=False)
    with path.open("rb") as content:
        while block := content.read(1 << 20):
            computed.update(block)
    return computed.hexdigest() == file.digest
