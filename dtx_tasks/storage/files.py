"""Single files and records by URI, so that a reader sees a whole one or none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from pydantic import ValidationError

from dtx_tasks.records import Record
from dtx_tasks.storage import local, s3

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dtx_tasks.records import FileEntry

AnyRecord = TypeVar("AnyRecord", bound=Record)


class Store(Protocol):
    """What each kind of storage can do; both are modules."""

    def exists(self, uri: str) -> bool: ...  # noqa: D102
    def read(self, uri: str) -> bytes: ...  # noqa: D102
    def read_from(self, uri: str, offset: int) -> bytes: ...  # noqa: D102
    def write(self, uri: str, content: bytes) -> None: ...  # noqa: D102
    def create(self, uri: str, content: bytes) -> bool: ...  # noqa: D102
    def names(self, uri: str) -> list[str]: ...  # noqa: D102
    def sizes(self, uri: str) -> dict[str, int]: ...  # noqa: D102
    def remove(self, uri: str) -> None: ...  # noqa: D102
    def written_at(self, uri: str) -> float | None: ...  # noqa: D102


def store_of(uri: str) -> Store:
    """The kind of storage that a URI belongs to."""
    return s3 if is_remote(uri) else local


def is_remote(uri: str) -> bool:
    """Whether a URI leads to another machine, so that files must be brought from there."""
    return uri.startswith(s3.SCHEME)


def exists(uri: str) -> bool:
    """Whether a file or folder is there."""
    return store_of(uri).exists(uri)


def read_bytes(uri: str) -> bytes:
    """A file's content.

    Raises:
        FileNotFoundError: It is not there.
        TransientError: The storage failed.
    """
    return store_of(uri).read(uri)


def write_bytes(uri: str, content: bytes) -> None:
    """Puts a file in place as a whole, over what was there."""
    store_of(uri).write(uri, content)


def create(uri: str, content: bytes) -> bool:
    """Puts a file in place as a whole, unless something is there already.

    Returns:
        Whether this call created it.
    """
    return store_of(uri).create(uri, content)


def append_line(uri: str, line: str) -> None:
    """Adds a line to a local file in one write."""
    path = local.local_path(uri)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab", buffering=0) as file:
        file.write(line.encode() + b"\n")


def read_lines(uri: str, offset: int = 0) -> tuple[list[str], int]:
    """The whole lines of a file from an offset on, and the offset behind them.

    A last line that is still being written is left for the next call; a file that is not there has no lines.
    A negative offset counts from the end, where the first line may have lost its beginning.
    """
    content = store_of(uri).read_from(uri, offset)
    whole = content[: content.rfind(b"\n") + 1]
    # Not splitlines(): a line of JSON may hold U+2028 and its like.
    return whole.decode(errors="replace").split("\n")[:-1], offset + len(whole)


def list_names(uri: str) -> list[str]:
    """The names in a folder, sorted, without what a killed writer left behind; none where there is no folder."""
    return store_of(uri).names(uri)


def remove(uri: str) -> None:
    """Removes a file or a folder with all that is in it, if it is there."""
    store_of(uri).remove(uri)


def written_at(uri: str) -> float | None:
    """When a file was put in place, in seconds since 1970 by the storage's clock; None where there is none."""
    return store_of(uri).written_at(uri)


def verify(uri: str, files: Iterable[FileEntry]) -> bool:
    """Whether every file that a record vouches for is there in its size; contents are checked when they are brought."""
    entries = tuple(files)
    there = store_of(uri).sizes(uri) if entries else {}
    return all(there.get(entry.path) == entry.num_bytes for entry in entries)


def read_record(uri: str, kind: type[AnyRecord]) -> AnyRecord | None:
    """A record, or None where there is none or none that this version understands."""
    try:
        return kind.model_validate_json(read_bytes(uri))
    except (FileNotFoundError, ValidationError):
        return None


def write_record(uri: str, record: Record) -> None:
    """Puts a record in place as a whole."""
    write_bytes(uri, (record.model_dump_json(indent=1) + "\n").encode())
