"""What goes over the wire to S3: watched, and answered in place of the server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from botocore.awsrequest import AWSResponse
from botocore.httpsession import URLLib3Session
from moto.core.botocore_stubber import MockRawResponse

from dtx_tasks.storage import s3


@contextmanager
def handled(operation: str, handler: Any) -> Iterator[None]:
    """Shows every request of an operation to a handler, which may answer it; an empty name stands for all."""
    event = f"before-send.s3.{operation}".rstrip(".")
    s3.client().meta.events.register_first(event, handler)
    try:
        yield
    finally:
        s3.client().meta.events.unregister(event, handler)


@contextmanager
def watched(operation: str = "") -> Iterator[list[str]]:
    """The addresses that requests of an operation go to."""
    found: list[str] = []

    def note(request: Any, **_: Any) -> None:
        found.append(request.url)

    with handled(operation, note):
        yield found


@contextmanager
def refused(operation: str, status: int, code: str) -> Iterator[None]:
    """Answers requests of an operation with an error."""
    body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
    with handled(operation, lambda request, **_: answer(request.url, status, body)):
        yield


@contextmanager
def lost_once(operation: str) -> Iterator[list[int]]:
    """Carries the first request of an operation out, and loses the answer; the statuses that were lost."""
    lost: list[int] = []

    def lose(request: Any, **_: Any) -> AWSResponse | None:
        if lost:
            return None
        lost.append(URLLib3Session().send(request).status_code)
        return answer(request.url, 503, b"")

    with handled(operation, lose):
        yield lost


@contextmanager
def broken_once(operation: str) -> Iterator[list[str]]:
    """Breaks the first answer of an operation off in the middle."""
    broken: list[str] = []

    def cut(request: Any, **_: Any) -> AWSResponse | None:
        if broken:
            return None
        broken.append(request.url)
        return answer(request.url, 200, b"hal", length=1000)

    with handled(operation, cut):
        yield broken


def answer(url: str, status: int, body: bytes, length: int | None = None) -> AWSResponse:
    """An answer that no server gave."""
    return AWSResponse(url, status, {"content-length": str(length or len(body)), "date": "Sat, 21 Nov 2026 12:00:00 GMT"}, MockRawResponse(body))
