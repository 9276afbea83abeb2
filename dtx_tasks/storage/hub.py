"""Files of a dataset on the Hugging Face hub, or on a mirror of it: brought once for each commit, and checked against the hub's own digests."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, unquote

from dtx_tasks.settings import hub_endpoint, hub_token, max_download_bytes
from dtx_tasks.storage.cache import cached
from dtx_tasks.storage.local import sha256_of
from dtx_tasks.storage.pattern import chosen, parted
from dtx_tasks.storage.web import AS_IT_IS, TIMEOUT_S, DownloadError, keep

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

SCHEME = "hf://"
REPOSITORY = r"(?P<id>[A-Za-z0-9_-][\w.-]*/[A-Za-z0-9_-][\w.-]*)"
"""OWNER/NAME: nothing that means something else in an address, or leads out of it."""

ADDRESS = re.compile(rf"hf://datasets/{REPOSITORY}(?:@(?P<revision>[^/]+))?(?:/(?P<path>.*))?")
"""As huggingface_hub's own file system writes it; a slash in a revision is `%2F`."""

MAIN = "main"


class Hub(NamedTuple):
    """Whom to ask.

    Attributes:
        url: Its address.
        setting: The variable that names a mirror of it.
        shown: Who asks, as headers.
        closed: What to do about what is not public.
    """

    url: str
    setting: str
    shown: dict[str, str]
    closed: str


def is_hub(uri: str) -> bool:
    """Whether a URI is an address on the hub."""
    return uri.startswith(SCHEME)


@dataclass(frozen=True)
class HubFiles:
    """A file of a dataset on the hub, or a folder.

    Attributes:
        repository: Its owner and its name.
        commit: Which the revision means now.
        path: Of the file or the folder, or a pattern of files of one; empty for the whole dataset.
        names: Of what is directly in the folder, or of what fits the pattern; empty for a file.
    """

    repository: str
    commit: str
    path: str
    names: tuple[str, ...]

    @property
    def uri(self) -> str:
        """The address with the commit in place of a branch: what it means never changes."""
        return f"{SCHEME}datasets/{self.repository}@{self.commit}/{self.path}".rstrip("/")

    @property
    def folder(self) -> str:
        """What the names are in."""
        return parted(f"/{self.path}")[0].strip("/")


def look_up(uri: str) -> HubFiles:
    """What an address on the hub means now.

    Args:
        uri: `hf://datasets/OWNER/NAME@REVISION/PATH`; without a revision it is that of `main`, and a `*` in the last part of the path stands for any text.

    Raises:
        DownloadError: It is no such address, or the hub has nothing there.
    """
    found = ADDRESS.fullmatch(uri)
    if not found:
        raise DownloadError("it is no address of a dataset: write hf://datasets/OWNER/NAME@REVISION/PATH")
    revision, path = unquote(found["revision"] or MAIN), (found["path"] or "").strip("/")
    answer = said(hugging_face(), f"/api/datasets/{found['id']}/revision/{quote(revision, safe='')}", ("sha", "siblings"))
    files = [checked(str(item["rfilename"])) for item in answer["siblings"]]
    if path in files:
        return HubFiles(found["id"], str(answer["sha"]), path, ())
    folder, pattern = parted(f"/{path}")
    above = f"{folder.strip('/')}/".lstrip("/")
    below = {name.removeprefix(above).partition("/")[0] for name in files if name.startswith(above)}
    names = chosen(sorted(name for name in below if not name.startswith(".")), pattern)
    if not names:
        raise DownloadError(f"{found['id']} has nothing of this name at {revision}: {_some(files)}")
    return HubFiles(found["id"], str(answer["sha"]), path, tuple(names))


def checked(name: str) -> str:
    """The name of a file, as a hub gives it: a mirror must not make this machine write where it should not."""
    if {"", ".", ".."} & set(name.split("/")):
        raise DownloadError(f"{hub_endpoint()} has a file whose name leads elsewhere (got {name!r})")
    return name


def bring_hub(files: HubFiles) -> Path:
    """A file from the hub, or a folder of files, on this machine.

    Args:
        files: As `look_up` found them.

    Raises:
        DownloadError: They cannot be had, are too large together, or are not what the hub says of them.
    """
    with cached(["hub", files.repository, files.commit, files.path, files.names]) as entry:
        place = entry / PurePosixPath((files.folder if files.names else files.path) or files.repository).name
        num_bytes = 0
        for name in files.names or ("",):
            path = f"{files.folder}/{name}".lstrip("/") if name else files.path
            num_bytes += _bring(files, path, place / name, entry).stat().st_size
            if num_bytes > max_download_bytes():
                raise DownloadError(f"it is larger than {max_download_bytes():,} bytes, the limit of DTX_MAX_DOWNLOAD_BYTES")
    return place


def _bring(files: HubFiles, path: str, place: Path, entry: Path) -> Path:
    import httpx

    # A commit never changes: what was checked when it came is right, as long as it is the same.
    note = entry / f".{place.name}.sha256"
    if place.is_file() and note.is_file() and note.read_text() == sha256_of(place):
        return place
    address = f"{hub_endpoint()}/datasets/{files.repository}/resolve/{files.commit}/{quote(path)}"
    try:
        with httpx.stream("GET", address, headers={**AS_IT_IS, **login()}, follow_redirects=True, timeout=TIMEOUT_S) as answer:
            note.unlink(missing_ok=True)
            note.write_text(sha256_of(keep(answer, place, *_digest(answer))))
            return place
    except httpx.HTTPError as error:
        raise DownloadError(f"{type(error).__name__}: {error}") from None


def _digest(answer: httpx.Response) -> tuple[str, Any]:
    """What the hub says that a file is: a SHA-256 for a large one, else the id that Git gives it; and what computes that."""
    if answer.status_code != 200:
        return "", hashlib.sha256()
    headers = [response.headers for response in (*answer.history, answer)]
    named = next((found["X-Linked-Etag"] for found in headers if "X-Linked-Etag" in found), answer.headers.get("ETag", ""))
    wanted = named.removeprefix("W/").strip('"').lower()
    if re.fullmatch("[0-9a-f]{64}", wanted):
        return wanted, hashlib.sha256()
    if re.fullmatch("[0-9a-f]{40}", wanted) and "Content-Length" in answer.headers:
        return wanted, hashlib.sha1(b"blob %d\0" % int(answer.headers["Content-Length"]), usedforsecurity=False)
    raise DownloadError(f"{hub_endpoint()} does not say what its digest is (got {named!r} as its ETag)")


def hugging_face() -> Hub:
    """The Hugging Face hub, or a mirror of it."""
    return Hub(hub_endpoint(), "HF_ENDPOINT", login(), "one that is not public needs HF_TOKEN, with the right to read it")


def said(hub: Hub, path: str, keys: tuple[str, ...]) -> dict[str, Any]:
    """An answer of a hub's own interface.

    Args:
        hub: Who is asked.
        path: For what.
        keys: What the answer must have.

    Raises:
        DownloadError: There is no such answer.
    """
    import httpx

    try:
        answer = httpx.get(f"{hub.url}{path}", headers=hub.shown, follow_redirects=True, timeout=TIMEOUT_S)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise DownloadError(f"{hub.url}: {type(error).__name__}: {error}") from None
    if answer.status_code != 200:
        raise DownloadError(f"{hub.url} answered {answer.status_code} {answer.reason_phrase}: is the name right? And {hub.closed}")
    try:
        found: dict[str, Any] = answer.json()
    except ValueError:
        raise DownloadError(f"{hub.url} answered with something that is no JSON: is {hub.setting} a mirror of the hub?") from None
    if not isinstance(found, dict) or not set(keys) <= set(found):
        raise DownloadError(f"{hub.url} names no commit and no files: is {hub.setting} a mirror of the hub?")
    return found


def login() -> dict[str, str]:
    """Who asks, as a header. Only the hub sees it: httpx leaves it out where the answer leads to another machine."""
    return {"Authorization": f"Bearer {hub_token()}"} if hub_token() else {}


def _some(files: list[str]) -> str:
    shown = [name for name in sorted(files) if not name.startswith(".")]
    return f"it has {', '.join(shown[:5])}{' and more' if len(shown) > 5 else ''}" if shown else "it is empty"
