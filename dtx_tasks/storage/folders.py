"""Whole folders: brought to this machine to be read, and put on storage when they are done."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from dtx_tasks.errors import DamagedError, TransientError
from dtx_tasks.records import FileEntry, digest_of
from dtx_tasks.settings import cache_folder, scratch_folder
from dtx_tasks.storage import s3
from dtx_tasks.storage.cache import cached, make_room
from dtx_tasks.storage.files import is_remote, remove, write_bytes
from dtx_tasks.storage.local import copy, local_path, open_as_its_folder, paths_below, sha256_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Item = TypeVar("Item")
Result = TypeVar("Result")

REMAKE = "Remove the record beside its folder and start the experiment again: its stage makes it anew."


def manifest_of(uri: str) -> tuple[FileEntry, ...]:
    """Every file of a folder on storage; on S3 with the digests that the server knows, so that nothing is downloaded."""
    if not is_remote(uri):
        return manifest(local_path(uri))
    sizes = s3.sizes(uri)
    digests = at_once(lambda path: s3.digest_of_object(f"{uri}/{path}") or "", sorted(sizes))
    return tuple(FileEntry(path=path, sha256=digest, num_bytes=sizes[path]) for path, digest in zip(sorted(sizes), digests, strict=True))


def manifest(folder: Path) -> tuple[FileEntry, ...]:
    """Every file below a folder of this machine, with its digest and size."""
    return tuple(at_once(lambda path: FileEntry(path=path, sha256=sha256_of(folder / path), num_bytes=(folder / path).stat().st_size), paths_below(folder)))


def digest_of_files(files: Iterable[FileEntry]) -> str:
    """What tells a folder from another one: the names and the content of its files."""
    return digest_of([entry.model_dump() for entry in files], 64)


def workplace(uri: str) -> Path:
    """The folder of this machine that stands for a URI while it is worked on; for local storage it is the very same."""
    place = scratch_folder() / uri.removeprefix(s3.SCHEME) if is_remote(uri) else local_path(uri)
    place.mkdir(parents=True, exist_ok=True)
    return place


def bring(uri: str, files: Iterable[FileEntry]) -> Path:
    """The files of a folder on this machine: where they are for local storage, else downloaded once for each machine.

    Args:
        uri: The folder.
        files: What its record vouches for: each one's digest is checked.

    Returns:
        A folder to read from, and not to change.

    Raises:
        DamagedError: A file is missing, or is not what its record says.
    """
    if not is_remote(uri):
        return local_path(uri)
    entries = tuple(files)
    with cached([entry.model_dump() for entry in entries]) as place:
        if not place.is_dir():
            make_room(sum(entry.num_bytes for entry in entries))
            download(uri, entries, place.with_suffix(".partial"))
            place.with_suffix(".partial").rename(place)
    return place


def bring_file(uri: str, sha256: str | None = None) -> Path:
    """One file on this machine.

    Args:
        uri: The file.
        sha256: Of its content; by default whatever is there now.

    Raises:
        FileNotFoundError: It is missing.
        TransientError: It is not what its digest says.
    """
    if not is_remote(uri):
        return local_path(uri)
    folder, _, name = uri.rpartition("/")
    size, digest = s3.size_of(uri), sha256 or s3.digest_of_object(uri)
    if size is None or digest is None:
        raise FileNotFoundError(uri)
    return bring(folder, [FileEntry(path=name, sha256=digest, num_bytes=size)]) / name


def download(uri: str, files: Iterable[FileEntry], folder: Path) -> None:
    """Downloads files of a folder; those that are there already, and are right, stay.

    Args:
        uri: The folder on S3.
        files: Which files; each one's digest is checked.
        folder: Where they go.

    Raises:
        DamagedError: A file is missing, or is not what its record says.
    """
    with ThreadPoolExecutor(s3.PARALLEL) as requests:

        def fetch(entry: FileEntry) -> None:
            if not _is_right(folder / entry.path, entry):
                _download(f"{uri}/{entry.path}", folder / entry.path, entry, requests)

        folder.mkdir(parents=True, exist_ok=True)
        list(at_once(fetch, files))


def _is_right(path: Path, entry: FileEntry) -> bool:
    return path.is_file() and path.stat().st_size == entry.num_bytes and sha256_of(path) == entry.sha256


def _download(source: str, path: Path, entry: FileEntry, requests: ThreadPoolExecutor) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        sha256 = s3.download(source, path, entry.num_bytes, requests.map)
    except FileNotFoundError:
        raise DamagedError(f"{source} is missing.", REMAKE) from None
    if (s3.digest_of_object(source) if entry.sha256.startswith(s3.TAGGED) else sha256) != entry.sha256:
        path.unlink()
        raise DamagedError(f"{source} is damaged: its SHA-256 is not {entry.sha256}.", REMAKE)


def put_folder(folder: Path, uri: str) -> tuple[FileEntry, ...]:
    """Puts a finished folder of this machine in its place on storage, in place of what was there; it is gone from here.

    Returns:
        What is there now, for the record that is to vouch for it.
    """
    entries = manifest(folder)
    if is_remote(uri):
        s3.remove_below(uri, s3.sizes(uri).keys() - {entry.path for entry in entries})
        upload(folder, uri, entries)
        shutil.rmtree(folder)
    else:
        open_as_its_folder(folder)
        remove(uri)
        local_path(uri).parent.mkdir(parents=True, exist_ok=True)
        os.replace(folder, local_path(uri))
    return entries


def put_file(path: Path, uri: str, sha256: str) -> str:
    """Copies a file of this machine to storage, unless it is there already.

    Args:
        path: The file.
        uri: Where it goes: a place that is named by its content.
        sha256: Of its content.

    Returns:
        The URI.

    Raises:
        TransientError: It is another file by now.
    """
    if is_remote(uri):
        if s3.digest_of_object(uri) != sha256:
            s3.upload(path, uri, sha256)
            # The server checks the whole of a small file alone.
            if sha256_of(path) != sha256:
                remove(uri)
                raise _changed(path)
    elif not _holds(local_path(uri), sha256) and not copy(path, uri, sha256):
        raise _changed(path)
    return uri


def _holds(path: Path, sha256: str) -> bool:
    return path.is_file() and sha256_of(path) == sha256


def _changed(path: Path) -> TransientError:
    """What was copied is not what its place is named by: nobody may find it there."""
    return TransientError(f"{path} has changed while it was copied.", "Try again when nothing writes to it.")


def put_path(path: Path, files: Iterable[FileEntry], uri: str, sha256: str) -> str:
    """Copies a file or a folder of this machine to storage, unless it is there already.

    Args:
        path: Where it is on this machine.
        files: Those of a folder; none for a file.
        uri: Where it goes: a place that is named by its content.
        sha256: Of the content of a file.

    Returns:
        The URI.

    Raises:
        TransientError: It is another file or folder by now.
    """
    entries = tuple(files)
    if not entries:
        return put_file(path, uri, sha256)
    if set(manifest_of(uri)) != set(entries):
        (_upload_unchanged if is_remote(uri) else _copy_unchanged)(path, entries, uri)
    return uri


def _upload_unchanged(folder: Path, entries: tuple[FileEntry, ...], uri: str) -> None:
    copy_folder(folder, uri)
    # What was uploaded has the digests that it was said to have: only its source tells.
    if manifest(folder) != entries:
        remove(uri)
        raise _changed(folder)


def _copy_unchanged(folder: Path, entries: tuple[FileEntry, ...], uri: str) -> None:
    """Others may be putting the same folder there: it comes whole, and the right one is left."""
    target = local_path(uri)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as place:
        copied = Path(place) / target.name
        if copy_folder(folder, str(copied)) != entries or manifest(copied) != entries:
            raise _changed(folder)
        try:
            copied.rename(target)
        except OSError:
            if manifest_of(uri) != entries:
                remove(uri)
                copied.rename(target)


def copy_folder(folder: Path, uri: str) -> tuple[FileEntry, ...]:
    """Copies the files of a folder of this machine to storage."""
    entries = manifest(folder)
    if is_remote(uri):
        upload(folder, uri, entries)
    else:
        for entry in entries:
            _copy(folder / entry.path, local_path(uri) / entry.path, shutil.copyfile)
    return entries


def gather(folder: Path, names: Iterable[str]) -> Path:
    """A folder with some files of another one alone, as links to them: to read from, and not to change."""
    files = {name: folder / name for name in names}
    with cached(["gathered", *map(str, files.values())]) as entry:
        place = entry / folder.name
        place.mkdir(parents=True, exist_ok=True)
        for name, path in files.items():
            if not (place / name).is_symlink():
                (place / name).symlink_to(path)
    return place


def gathered_from(path: Path) -> Path | None:
    """The folder that `gather` took the files of another one from; None for everything else."""
    first = next(path.iterdir(), None) if path.is_relative_to(cache_folder()) and path.is_dir() else None
    return first.readlink().parent if first and first.is_symlink() else None


def put_aside(content: bytes, name: str) -> Path:
    """A file of this machine that holds some content, to read from; it is kept as long as what was downloaded."""
    with cached(["aside", name, hashlib.sha256(content).hexdigest()]) as entry:
        write_bytes(str(entry / name), content)
    return entry / name


def link_folder(source: str, target: str) -> None:
    """Gives the files of a local folder a second place, without a second copy where the file system can do that."""
    for path in paths_below(local_path(source)):
        _copy(local_path(source) / path, local_path(target) / path, _link)


def upload(folder: Path, uri: str, files: Iterable[FileEntry]) -> None:
    """Uploads files to a folder on S3; those that an interrupted upload left there are not sent again.

    Args:
        folder: Where they are.
        uri: Where they go.
        files: Which they are.
    """
    there = s3.sizes(uri)

    def send(entry: FileEntry) -> None:
        target = f"{uri}/{entry.path}"
        if there.get(entry.path) != entry.num_bytes or s3.digest_of_object(target) != entry.sha256:
            s3.upload(folder / entry.path, target, entry.sha256)

    list(at_once(send, files))


def _copy(source: Path, target: Path, how: Callable[[Path, Path], object]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    how(source, target)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def at_once(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """What several threads make of items, in their order; the first error ends it."""
    with ThreadPoolExecutor(s3.PARALLEL) as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            yield from (future.result() for future in futures)
        finally:
            pool.shutdown(cancel_futures=True)
