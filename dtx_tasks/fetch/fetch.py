"""Copies, downloads or makes a base LLM, and vouches for it with a record."""

from __future__ import annotations

import json
import struct
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from dtx_tasks.errors import ClaimedError, DataError, TransientError
from dtx_tasks.plan import CODE_VERSIONS
from dtx_tasks.records import BaseDocument, FetchedLLM, FileEntry, Layout, digest_of
from dtx_tasks.storage import (
    DownloadError,
    bring,
    bring_model,
    claim,
    copy_folder,
    digest_of_files,
    download,
    is_hub_model,
    is_remote,
    look_up_model,
    manifest_of,
    put_file,
    put_folder,
    read_record,
    remove,
    verify,
    workplace,
    write_record,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dtx_tasks.records import LLMSource
    from dtx_tasks.storage import Claim, HubModel


def fetch(document: BaseDocument, layout: Layout, owner: str) -> FetchedLLM:
    """Brings the LLM of a document to storage.

    Args:
        document: Which LLM.
        layout: Where it belongs.
        owner: Who asks, for the claim.

    Raises:
        ClaimedError: Another process is fetching it.
        DataError: The folder has changed since the plan was made.
    """
    folder = layout.llm(document.llm.llm_id)
    finished = fetched(folder)
    if finished:
        return finished
    held = claim(f"{folder}/claim.json", owner)
    if held is None:
        raise ClaimedError(f"{document.llm.name} is being fetched by another process.")
    with held:
        return fetched(folder) or _fetch(document.llm, folder, held)


def fetched(folder: str) -> FetchedLLM | None:
    """The record of a folder whose files are all there."""
    record = read_record(f"{folder}/fetched.json", FetchedLLM)
    is_valid = record and record.code_version == CODE_VERSIONS["fetch"] and verify(f"{folder}/files", record.files)
    return record if is_valid else None


def _fetch(llm: LLMSource, folder: str, held: Claim) -> FetchedLLM:
    partial = workplace(f"{folder}/partial")
    if llm.kind != "hub":
        remove(str(partial))
    if llm.kind == "made":
        _make(llm.source, partial)
    elif llm.kind == "hub":
        _download(llm, partial, f"{folder}/files")
    elif llm.kind == "adapter":
        _merge(llm, partial, f"{folder}/base")
    elif llm.kind == "continued":
        _lay_together(llm, partial, f"{folder}/base")
    else:
        _copy(llm, partial)
    num_parameters = _num_parameters(partial)
    held.check()
    files = put_folder(partial, f"{folder}/files")
    for place in (f"{folder}/base", str(workplace(f"{folder}/base"))):
        remove(place)
    record = FetchedLLM(
        code_version=CODE_VERSIONS["fetch"],
        inputs={},
        digest=digest_of([entry.model_dump() for entry in files], 64),
        libraries={},
        llm_id=llm.llm_id,
        files=files,
        num_parameters=num_parameters,
    )
    held.check()
    write_record(f"{folder}/fetched.json", record)
    return record


def _check(llm: LLMSource, revision: str) -> None:
    if revision != llm.revision:
        what = f"{llm.source} or its base" if llm.base else llm.source
        raise DataError(f"{what} has changed since the experiment was planned.", "Start the experiment again.")


def _copy(llm: LLMSource, folder: Path) -> None:
    files = manifest_of(llm.source)
    _check(llm, digest_of_files(files))
    if is_remote(llm.source):
        download(llm.source, files, folder)
    else:
        copy_folder(Path(llm.source), str(folder))


def _download(llm: LLMSource, folder: Path, files: str) -> None:
    with _told(llm.source):
        found = look_up_model(llm.source)
        _check(llm, found.revision)
        _bring_each(found, folder, files)


@contextmanager
def _told(address: str) -> Iterator[None]:
    """What a hub does not answer is tried again: what has arrived stays."""
    try:
        yield
    except DownloadError as error:
        raise TransientError(f"{address} cannot be downloaded: {error}.", "The next attempt goes on from what has arrived.") from None


def _bring_each(found: HubModel, folder: Path, files: str) -> None:
    """Puts each large file on remote storage as soon as it is here: an attempt on another machine has it from there."""
    _remove_others(folder, {file.path for file in found.files})
    put = set(manifest_of(files)) if is_remote(files) else set()
    for file in found.files:
        entry = FileEntry(path=file.path, sha256=file.digest, num_bytes=file.num_bytes)
        if entry in put:
            download(files, [entry], folder)
        bring_model(found, folder, only=file.path)
        if is_remote(files) and file.has_sha256:
            put_file(folder / file.path, f"{files}/{file.path}", file.digest)


def _remove_others(folder: Path, names: set[str]) -> None:
    """Removes what is no part of the model."""
    for path in folder.iterdir():
        if path.name.removesuffix(".arriving") not in names:
            remove(str(path))


def _merge(llm: LLMSource, folder: Path, place: str) -> None:
    """Makes one model of an adapter and its base."""
    from dtx_tasks.fetch.merge import merge

    adapter, base = _adapter_and_base(llm, place)
    merge(adapter, base, folder)


def _lay_together(llm: LLMSource, folder: Path, place: str) -> None:
    """Copies a base as it is, and below it the adapter that is trained further."""
    adapter, base = _adapter_and_base(llm, place)
    below = llm.adapter_in(folder)
    assert below is not None
    copy_folder(base, str(folder))
    # An earlier continuation has left its own there.
    remove(str(below))
    copy_folder(adapter, str(below))


def _adapter_and_base(llm: LLMSource, place: str) -> tuple[Path, Path]:
    """Both on this machine, as they were planned with; a base of a hub is downloaded to a place of its own."""
    assert llm.base is not None
    files = manifest_of(llm.source)

    def check(revision: str) -> None:
        _check(llm, digest_of([llm.kind, digest_of_files(files), revision], 64))

    base = _hub_base(llm.base, place, check) if is_hub_model(llm.base) else _kept_base(llm.base, check)
    return bring(llm.source, files), base


def _kept_base(source: str, check: Callable[[str], None]) -> Path:
    files = manifest_of(source)
    check(digest_of_files(files))
    return bring(source, files)


def _hub_base(address: str, place: str, check: Callable[[str], None]) -> Path:
    with _told(address):
        found = look_up_model(address)
        check(found.revision)
        _bring_each(found, workplace(place), place)
    return workplace(place)


def _make(recipe: str, folder: Path) -> None:
    from dtx_tasks.fetch.made import make

    folder.mkdir(parents=True)
    make(recipe, folder, on_progress=_print_progress)


def _print_progress(step: int, total: int, loss: float) -> None:
    print(json.dumps({"event": "making", "step": step, "total": total, "loss": round(loss, 4)}), flush=True)


def _num_parameters(folder: Path) -> int:
    """Counted from the headers of the safetensors files (format: 8 bytes of length, then JSON); 0 where there are none."""
    total = 0
    for path in folder.rglob("*.safetensors"):
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length))
        total += sum(prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
    return total
