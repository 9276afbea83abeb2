"""Files on local paths: written beside their place and moved there, so that nobody reads half of one."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from dtx_tasks.errors import SpecError, TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator


def local_path(uri: str) -> Path:
    """The path that a URI stands for.

    Raises:
        SpecError: The URI is not of a local file.
    """
    if "://" in uri and not uri.startswith("file://"):
        raise SpecError(f"{uri}: this kind of storage cannot be reached.", "Use a local path, or s3://BUCKET/PREFIX.")
    return Path(uri.removeprefix("file://"))


def exists(uri: str) -> bool:
    """Whether a file or folder is there."""
    return local_path(uri).exists()


def read(uri: str) -> bytes:
    """A file's content."""
    try:
        return local_path(uri).read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise FileNotFoundError(uri) from None
    except OSError as error:
        raise TransientError(f"{uri} could not be read: {error}.") from error


def read_from(uri: str, offset: int) -> bytes:
    """A file's content from an offset on, or its last bytes for a negative one; nothing where there is no file."""
    path = local_path(uri)
    if not path.exists():
        return b""
    with path.open("rb") as file:
        file.seek(max(offset, -path.stat().st_size), os.SEEK_END if offset < 0 else os.SEEK_SET)
        return file.read()


def write(uri: str, content: bytes) -> None:
    """Puts a file in place as a whole, over what was there."""
    path = local_path(uri)
    os.replace(_written_beside(path, content), path)


def copy(path: Path, uri: str, sha256: str) -> bool:
    """Puts a copy of a file in place, over what was there; it may be larger than memory.

    Returns:
        Whether the copy has this digest; if not, it is not put in place.
    """
    target = local_path(uri)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
        beside = shutil.copyfile(path, Path(folder) / target.name)
        if sha256_of(beside) != sha256:
            return False
        os.replace(beside, target)
    return True


def create(uri: str, content: bytes) -> bool:
    """Puts a file in place as a whole, unless something is there already; whether this call created it."""
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


def names(uri: str) -> list[str]:
    """The names in a folder, sorted, without what a killed writer left behind."""
    path = local_path(uri)
    return sorted(item.name for item in path.iterdir() if not item.name.startswith(".")) if path.is_dir() else []


def sizes(uri: str) -> dict[str, int]:
    """The bytes of every file below a folder, by its path in there."""
    base = local_path(uri)
    return {path: (base / path).stat().st_size for path in paths_below(base)}


def remove(uri: str) -> None:
    """Removes a file or a folder with all that is in it, if it is there."""
    path = local_path(uri)
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def written_at(uri: str) -> float | None:
    """When a file was put in place; None where there is none."""
    path = local_path(uri)
    return path.stat().st_mtime if path.exists() else None


def paths_below(base: Path) -> Iterator[str]:
    """Paths of the files below a folder; hidden ones left out: downloads keep notes with times in them, which are no part of a model."""
    found = (item.relative_to(base) for item in sorted(base.rglob("*")) if item.is_file())
    return (item.as_posix() for item in found if not any(part.startswith(".") for part in item.parts))


def open_as_its_folder(folder: Path) -> None:
    """Lets whoever may read a folder read its files: safetensors writes them for their owner alone (as of 0.8), whatever the umask allows."""
    allowed = folder.stat().st_mode & 0o666
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.chmod(allowed | path.stat().st_mode & 0o111)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _written_beside(path: Path, content: bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.chmod(beside, 0o644)
    return beside
