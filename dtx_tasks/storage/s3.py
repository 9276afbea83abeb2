"""Objects of S3, or of a server that speaks it: an object appears as a whole or not at all."""

from __future__ import annotations

import base64
import functools
import hashlib
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from dtx_tasks.errors import SpecError, TransientError
from dtx_tasks.storage.local import sha256_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from botocore.loaders import Loader
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef

SCHEME = "s3://"

PARALLEL = 32
"""Requests at a time: some files are on their way while others are hashed, and a busy machine shares its time among threads."""

PART_BYTES = 32 << 20
"""Of a large file at a time; S3 takes 10,000 parts of one."""

CHUNK_BYTES = 1 << 18
"""Of a download at a time: with fewer, Python takes its time, with more, the memory is no longer in the processor's cache."""

ATTEMPTS = 5
"""Of a request, with some seconds in between; more are for the retries of a task. AWS_MAX_ATTEMPTS sets another number."""

SHA256 = "dtx-sha256"
"""Names the digest of a whole file in the metadata of its object: S3 itself knows only those of the parts."""

TAGGED = "etag:"
"""Begins what stands for the digest of an object that somebody else uploaded."""

MISSING = frozenset({"404", "NoSuchKey", "NotFound"})
TAKEN = frozenset({"412", "409", "PreconditionFailed", "ConditionalRequestConflict"})
REFUSED = frozenset({"403", "AccessDenied", "ExpiredToken", "InvalidAccessKeyId", "SignatureDoesNotMatch", "NoSuchBucket"})


@functools.cache
def client() -> S3Client:
    """A client by the standard environment: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and so on, or the machine's role."""
    import boto3
    import botocore.session
    from botocore.config import Config

    config = Config(
        retries={"mode": "standard", "max_attempts": int(os.environ.get("AWS_MAX_ATTEMPTS", ATTEMPTS))},
        max_pool_connections=2 * PARALLEL,
        connect_timeout=5,
        # Every content goes with its SHA-256 in a signed header, which the server checks: the signature needs no second one.
        s3={"payload_signing_enabled": False},
        # Files are checked against their records.
        response_checksum_validation="when_required",
    )
    # A session of its own: the common one is not made for threads, and keeps the first access key.
    session = botocore.session.Session()
    session.register_component("data_loader", descriptions())
    return boto3.Session(botocore_session=session).client("s3", config=config)


@functools.cache
def descriptions() -> Loader:
    """What botocore knows of S3: a tenth of a second to read, which every process that is forked later is spared."""
    from botocore.loaders import create_loader

    loader = create_loader()
    loader.load_service_model("s3", "service-2")
    loader.load_service_model("s3", "endpoint-rule-set-1")
    return loader


def place_of(uri: str) -> tuple[str, str]:
    """The bucket and the key of a URI.

    Raises:
        SpecError: It names no bucket.
    """
    parts = urlsplit(uri, allow_fragments=False)
    if not parts.netloc:
        raise SpecError(f"{uri}: names no bucket.", "Write s3://BUCKET/PREFIX.")
    return parts.netloc, uri.removeprefix(f"{SCHEME}{parts.netloc}").lstrip("/")


@contextmanager
def known_errors(uri: str) -> Iterator[None]:
    """Turns what boto3 raises into what callers handle."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in MISSING:
            raise FileNotFoundError(uri) from None
        hint = "The access key, its rights or the bucket's name are wrong: `dtx doctor` checks them." if code in REFUSED else ""
        raise TransientError(f"{uri}: {error}", hint) from error
    except (BotoCoreError, ValueError) as error:
        # ValueError: an endpoint that is no URL.
        raise TransientError(f"{uri}: {error}", "Set AWS_ENDPOINT_URL and the access key for the storage.") from error


def exists(uri: str) -> bool:
    """Whether an object, or one below it, is there."""
    bucket, key = place_of(uri)
    with known_errors(uri):
        found = client().list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1).get("Contents", [])
        if not found or found[0]["Key"] == key or found[0]["Key"].startswith(_prefix(key)):
            return bool(found)
        # Another one, such as `name-2`, sorts before `name/`.
        return bool(client().list_objects_v2(Bucket=bucket, Prefix=_prefix(key), MaxKeys=1).get("Contents"))


def read(uri: str) -> bytes:
    """An object's content."""
    return read_with_tag(uri).content


class Tagged(NamedTuple):
    """An object in one of its states.

    Attributes:
        content: All of it.
        tag: Of this state.
        written_at: When it came to be, in seconds since 1970 by the server's own clock.
        now: The time by that clock: this machine's is not asked.
    """

    content: bytes
    tag: str
    written_at: float
    now: float


def read_with_tag(uri: str) -> Tagged:
    """An object's content, and what is needed to change it only from this state."""
    bucket, key = place_of(uri)
    with known_errors(uri):
        found = client().get_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
        return Tagged(found["Body"].read(), found["ETag"], found["LastModified"].timestamp(), _now(found))


def read_from(uri: str, offset: int) -> bytes:
    """An object's content from an offset on, or its last bytes for a negative one; nothing where there is none."""
    bucket, key = place_of(uri)
    try:
        with known_errors(uri):
            return client().get_object(Bucket=bucket, Key=key, Range=f"bytes={offset}-" if offset >= 0 else f"bytes={offset}")["Body"].read()
    except FileNotFoundError:
        return b""
    except TransientError as error:
        if _status(error) == 416:
            return b""
        raise


def write(uri: str, content: bytes) -> None:
    """Puts an object in place, over what was there."""
    bucket, key = place_of(uri)
    with known_errors(uri):
        client().put_object(Bucket=bucket, Key=key, Body=content, ChecksumAlgorithm="SHA256")


def create(uri: str, content: bytes) -> bool:
    """Puts an object in place, unless there is one already; whether this call created it."""
    return bool(put_if(uri, content, None))


def put_if(uri: str, content: bytes, tag: str | None) -> str | None:
    """Puts an object in place if it is still in a known state.

    Args:
        uri: Of the object.
        content: What to put.
        tag: Of the state that it must be in; None: it must not be there.

    Returns:
        The new state's tag, or None when it was in another state.
    """
    from botocore.exceptions import ClientError

    bucket, key = place_of(uri)
    condition: dict[str, Any] = {"IfMatch": tag} if tag else {"IfNoneMatch": "*"}
    try:
        with known_errors(uri):
            return client().put_object(Bucket=bucket, Key=key, Body=content, ChecksumAlgorithm="SHA256", **condition)["ETag"]
    except FileNotFoundError:
        return None
    except TransientError as error:
        if not (isinstance(error.__cause__, ClientError) and error.__cause__.response["Error"]["Code"] in TAKEN):
            raise
    # An answer may be lost on its way, and the request repeated: then it was this very call that put it there.
    try:
        there = read_with_tag(uri)
    except FileNotFoundError:
        return None
    return there.tag if there.content == content else None


def names(uri: str) -> list[str]:
    """The names in a folder, sorted, without hidden ones."""
    bucket, key = place_of(uri)
    prefix = _prefix(key)
    found: set[str] = set()
    with known_errors(uri):
        for page in client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, Delimiter="/"):
            found |= {item["Prefix"].removeprefix(prefix).rstrip("/") for item in page.get("CommonPrefixes", [])}
            found |= {item["Key"].removeprefix(prefix) for item in page.get("Contents", [])}
    return sorted(name for name in found if name and not name.startswith("."))


def sizes(uri: str) -> dict[str, int]:
    """The bytes of every object below a folder, by its path in there; without hidden ones, and the empty objects that stand for folders."""
    found = ((path, size) for path, size in _all_below(uri) if not path.endswith("/"))
    return {path: size for path, size in found if not any(part.startswith(".") for part in path.split("/"))}


def _all_below(uri: str) -> Iterator[tuple[str, int]]:
    bucket, key = place_of(uri)
    prefix = _prefix(key)
    with known_errors(uri):
        for page in client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            yield from ((item["Key"].removeprefix(prefix), item["Size"]) for item in page.get("Contents", []))


def _prefix(key: str) -> str:
    """What the keys below another one begin with; those of a bucket with nothing."""
    return f"{key.rstrip('/')}/" if key else ""


def size_of(uri: str) -> int | None:
    """The bytes of an object; None where there is none."""
    found = _head(uri)
    return found["ContentLength"] if found else None


def written_at(uri: str) -> float | None:
    """When an object was put in place, by the server's clock; None where there is none."""
    found = _head(uri)
    return found["LastModified"].timestamp() if found else None


def _head(uri: str) -> HeadObjectOutputTypeDef | None:
    bucket, key = place_of(uri)
    try:
        with known_errors(uri):
            return client().head_object(Bucket=bucket, Key=key)
    except FileNotFoundError:
        return None


def remove(uri: str) -> None:
    """Removes an object and all that is below it, if it is there.

    Raises:
        SpecError: It is a whole bucket.
    """
    bucket, key = place_of(uri)
    if not key:
        raise SpecError(f"{uri}: is a whole bucket, which is not removed.", "Name what is to go.")
    remove_below(uri, [path for path, _ in _all_below(uri)])
    with known_errors(uri):
        client().delete_object(Bucket=bucket, Key=key)


def remove_below(uri: str, paths: Iterable[str]) -> None:
    """Removes some objects of a folder."""
    bucket, key = place_of(uri)
    keys = [f"{key.rstrip('/')}/{path}" for path in paths]
    with known_errors(uri):
        for start in range(0, len(keys), 1000):
            done = client().delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": item} for item in keys[start : start + 1000]], "Quiet": True})
            if done.get("Errors"):
                raise TransientError(f"{uri}: {done['Errors'][0]} could not be removed.")


def digest_of_object(uri: str) -> str | None:
    """What tells an object's content from another: the SHA-256 that its upload noted, else the server's tag; None where there is no object."""
    found = _head(uri)
    return (found["Metadata"].get(SHA256) or TAGGED + found["ETag"].strip('"')) if found else None


def upload(path: Path, uri: str, sha256: str) -> None:
    """Uploads a file; the server checks what arrives.

    Args:
        path: Of the file.
        uri: Where it goes.
        sha256: Of its content, in hex digits: noted on the object, and checked where the object is one part.
    """
    from boto3.s3.transfer import TransferConfig, create_transfer_manager

    bucket, key = place_of(uri)
    with known_errors(uri):
        if path.stat().st_size <= PART_BYTES:
            checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
            with path.open("rb") as file:
                client().put_object(Bucket=bucket, Key=key, Body=file, ChecksumSHA256=checksum, Metadata={SHA256: sha256})
            return
        parts = TransferConfig(multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, max_concurrency=PARALLEL // 4)
        # Not upload_file(): it has an exception of its own, which hides the server's.
        with create_transfer_manager(client(), parts) as manager:
            manager.upload(str(path), bucket, key, {"ChecksumAlgorithm": "SHA256", "Metadata": {SHA256: sha256}}).result()


def download(uri: str, path: Path, num_bytes: int, at_once: Callable[..., Iterable[str]]) -> str:
    """Downloads an object to a file, a large one in parts.

    By hand: boto3's own download takes twice the processor's time (benchmarks/storage.py).

    Args:
        uri: Of the object.
        path: Of the file.
        num_bytes: How large it is said to be: no more is asked for.
        at_once: Does the same with several values at the same time, as a pool's `map` does.

    Returns:
        The SHA-256 of what arrived, for the caller to check.
    """
    with path.open("wb") as file:
        file.truncate(num_bytes)
    if num_bytes <= PART_BYTES:
        return _download_part(uri, path, 0)
    list(at_once(functools.partial(_download_part, uri, path), range(0, num_bytes, PART_BYTES)))
    return sha256_of(path)


def _download_part(uri: str, path: Path, start: int) -> str:
    """Brings a part of a file, and again where the connection breaks off: boto3 repeats only what is not answered."""
    from botocore.exceptions import BotoCoreError

    for _ in range(ATTEMPTS - 1):
        try:
            return _copy_part(uri, path, start)
        except TransientError as error:
            if not isinstance(error.__cause__, BotoCoreError):
                raise
    return _copy_part(uri, path, start)


def _copy_part(uri: str, path: Path, start: int) -> str:
    bucket, key = place_of(uri)
    digest, end = hashlib.sha256(), min(start + PART_BYTES, path.stat().st_size)
    with known_errors(uri), path.open("r+b", buffering=0) as file:
        file.seek(start)
        # An empty range cannot be asked for.
        wanted: dict[str, Any] = {"Range": f"bytes={start}-{end - 1}"} if end else {}
        body = client().get_object(Bucket=bucket, Key=key, **wanted)["Body"]
        while chunk := body.read(CHUNK_BYTES):
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()


def _status(error: TransientError) -> int | None:
    """The server's answer behind a failure, if it gave one."""
    from botocore.exceptions import ClientError

    cause = error.__cause__
    return int(cause.response["ResponseMetadata"]["HTTPStatusCode"]) if isinstance(cause, ClientError) else None


def _now(response: Any) -> float:
    """The time by the server's clock, in seconds since 1970."""
    from email.utils import parsedate_to_datetime

    return parsedate_to_datetime(response["ResponseMetadata"]["HTTPHeaders"]["date"]).timestamp()
