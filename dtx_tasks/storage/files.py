"""Files on local paths: written beside their place and moved there, so that nobody reads half of one."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from dtx_tasks.errors import SpecError, TransientError
from dtx_tasks.records import FileEntry, Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

AnyRecord = TypeVar("AnyRecord", bound=Record)

CHUNK_BYTES = 1 << 20


def local_path(uri: str) -> Path:
    """The path that a URI stands for.

    Raises:
        SpecError: The URI is of a kind that this version cannot reach.
    """
    if "://" in uri and not uri.startswith("file://"):
        raise SpecError(f"{uri}: this kind of storage cannot be reached.", "Use a local path.")
    return Path(uri.removeprefix("file://"))


def exists(uri: str) -> bool:
    """Whether a file or folder is there."""
    return local_path(uri).exists()


def read_bytes(uri: str) -> bytes:
    """A file's content.

    Raises:
        FileNotFoundError: It is not there.
        TransientError: The storage failed.
    """
    try:
        return local_path(uri).read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise FileNotFoundError(uri) from None
    except OSError as error:
        raise TransientError(f"{uri} could not be read: {error}.") from error


def write_bytes(uri: str, content: bytes) -> None:
    """Puts a file in place as a whole, over what was there."""
    path = local_path(uri)
    os.replace(_written_beside(path, content), path)


def create(uri: str, content: bytes) -> bool:
    """Puts a file in place as a whole, unless something is there already.

    Returns:
        Whether this call created it.
    """
    path = local_path(uri)
    beside = _written_beside(path, content)
    try:
        os.link(beside, path)
    except FileExistsError:
        return False
    else:
        return True
    finally:
        os.unlink(beside)


def append_line(uri: str, line: str) -> None:
    """Adds a line to a file in one write."""
    path = local_path(uri)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab", buffering=0) as file:
        file.write(line.encode() + b"\n")


def read_lines(uri: str, offset: int = 0) -> tuple[list[str], int]:
    """The whole lines of a file from an offset on, and the offset behind them.

    A last line that is still being written is left for the next call; a file that is not there has no lines.
    """
    path = local_path(uri)
    if not path.exists():
        return [], offset
    with path.open("rb") as file:
        file.seek(offset)
        content = file.read()
    whole = content[: content.rfind(b"\n") + 1]
    # Not splitlines(): a line of JSON may hold U+2028 and its like.
    return whole.decode().split("\n")[:-1], offset + len(whole)


def list_names(uri: str) -> list[str]:
    """The names in a folder, sorted, without what a killed writer left behind; none where there is no folder."""
    path = local_path(uri)
    return sorted(item.name for item in path.iterdir() if not item.name.startswith(".")) if path.is_dir() else []


def remove(uri: str) -> None:
    """Removes a file or a folder with all that is in it, if it is there."""
    path = local_path(uri)
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def copy_folder(source: str, target: str) -> None:
    """Copies the files of a folder."""
    for item, place in _pairs(source, target):
        shutil.copyfile(item, place)


def link_folder(source: str, target: str) -> None:
    """Gives the files of a folder a second place, without a second copy where the file system can do that."""
    for item, place in _pairs(source, target):
        place.unlink(missing_ok=True)
        try:
            os.link(item, place)
        except OSError:
            shutil.copyfile(item, place)


def _pairs(source: str, target: str) -> Iterator[tuple[Path, Path]]:
    source_path, target_path = local_path(source), local_path(target)
    for item in _files_below(source_path):
        place = target_path / item.relative_to(source_path)
        place.parent.mkdir(parents=True, exist_ok=True)
        yield item, place


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def manifest(uri: str) -> tuple[FileEntry, ...]:
    """Every file below a folder, with its digest and size."""
    base = local_path(uri)
    return tuple(FileEntry(path=item.relative_to(base).as_posix(), sha256=sha256_of(item), num_bytes=item.stat().st_size) for item in _files_below(base))


def verify(uri: str, files: Iterable[FileEntry]) -> bool:
    """Whether every file that a record vouches for is there in its size."""
    base = local_path(uri)
    return all((base / entry.path).is_file() and (base / entry.path).stat().st_size == entry.num_bytes for entry in files)


def read_record(uri: str, kind: type[AnyRecord]) -> AnyRecord | None:
    """A record, or None where there is none or none that this version understands."""
    try:
        return kind.model_validate_json(read_bytes(uri))
    except (FileNotFoundError, ValidationError):
        return None


def write_record(uri: str, record: Record) -> None:
    """Puts a record in place as a whole."""
    write_bytes(uri, (record.model_dump_json(indent=1) + "\n").encode())


def _files_below(base: Path) -> Iterator[Path]:
    """Hidden ones left out: downloads keep notes with times in them, which are no part of a model."""
    found = (item for item in sorted(base.rglob("*")) if item.is_file())
    return (item for item in found if not any(part.startswith(".") for part in item.relative_to(base).parts))


def _written_beside(path: Path, content: bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.chmod(beside, 0o644)
    return beside
