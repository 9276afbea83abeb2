"""Files from http(s): downloaded whole, within a size limit, and checked against a digest where the author gives one."""

from __future__ import annotations

import hashlib
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urldefrag, urlsplit

from dtx_tasks.settings import max_download_bytes
from dtx_tasks.storage.cache import cached
from dtx_tasks.storage.local import sha256_of

if TYPE_CHECKING:
    import httpx

SCHEMES = ("http://", "https://")
DIGEST_MARK = re.compile("sha256=(?P<digest>[0-9a-fA-F]{64})")
TIMEOUT_S = 60.0
AS_IT_IS = {"Accept-Encoding": "identity"}
"""A file that is compressed already must stay so: its ending says how it is read."""


class DownloadError(ValueError):
    """A file that cannot be had from its address."""


def is_web(uri: str) -> bool:
    """Whether a URI is an address on the web."""
    return uri.startswith(SCHEMES)


def bring_page(uri: str, *, may_redirect: bool = True) -> Path:
    """A file from the web on this machine; one with a digest is downloaded once, another one each time it is asked for.

    Args:
        uri: Its address; `#sha256=...` behind it is the digest that its content must have.
        may_redirect: Whether the server may send on to another address.

    Raises:
        DownloadError: It cannot be had, is too large, or is not what its digest says.
    """
    import httpx

    address, mark = urldefrag(uri)
    wanted, name = _digest_of(mark), _name_of(address)
    with cached(["web", address]) as entry:
        place = entry / name
        if wanted and place.is_file() and sha256_of(place) == wanted:
            return place
        try:
            with httpx.stream("GET", address, headers=AS_IT_IS, follow_redirects=may_redirect, timeout=TIMEOUT_S) as answer:
                return keep(answer, place, wanted, hashlib.sha256())
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise DownloadError(f"{type(error).__name__}: {error}") from None


def _digest_of(mark: str) -> str:
    """The digest that stands behind an address; empty for none."""
    found = DIGEST_MARK.fullmatch(mark)
    if mark and not found:
        raise DownloadError(f"behind # only sha256= and 64 hex digits may stand (got {mark!r})")
    return found["digest"].lower() if found else ""


def _name_of(address: str) -> str:
    name = unquote(urlsplit(address).path).rpartition("/")[2] or "file"
    if name in (".", ".."):
        raise DownloadError(f"it names no file (got {name!r})")
    return name


def keep(answer: httpx.Response, place: Path, wanted: str, digest: hashlib._Hash) -> Path:
    """Writes an answer to its place, if it is what was wanted: a reader sees the whole file or none.

    Args:
        answer: Whose content was not read yet.
        place: Where it goes.
        wanted: The digest that it must have, in hex digits; empty for any.
        digest: What computes it.

    Raises:
        DownloadError: The server refused, or this is another file, or too large.
    """
    if answer.status_code != 200:
        raise DownloadError(f"the server answered {answer.status_code} {answer.reason_phrase}")
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".") as folder:
        arriving = Path(folder) / place.name
        found = _written(answer, arriving, digest)
        if wanted and found != wanted:
            raise DownloadError(f"its digest is {found}, not {wanted}")
        arriving.replace(place)
    return place


def _written(answer: httpx.Response, path: Path, digest: hashlib._Hash) -> str:
    """Writes what arrives, up to the size limit, and returns its digest."""
    num_bytes, most = 0, max_download_bytes()
    with path.open("wb") as file:
        for chunk in answer.iter_bytes():
            num_bytes += len(chunk)
            if num_bytes > most:
                raise DownloadError(f"it is larger than {most:,} bytes, the limit of DTX_MAX_DOWNLOAD_BYTES")
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()
