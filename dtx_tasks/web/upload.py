"""Rows that somebody sends: taken a piece at a time, checked in a process of their own, and kept under their digest."""

from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import Any

import anyio
from anyio import to_process, to_thread
from fastapi import HTTPException, Request
from fastapi.responses import JSONResponse

from dtx_tasks.dataset.read import COMPRESSIONS, KINDS_OF_FILES, kind_of_file
from dtx_tasks.entrypoints.uploads import check_rows, store
from dtx_tasks.records import Layout
from dtx_tasks.settings import max_upload_bytes, scratch_folder
from dtx_tasks.settings import root as storage_root
from dtx_tasks.web.login import Team

LONGEST_NAME = 200


async def take_rows(request: Request, name: str, team: Team) -> JSONResponse:
    """Stores the body of a request as a file of rows; answers with its URI and with what is wrong with it."""
    problem = _problem(name)
    if problem:
        raise HTTPException(422, f"{name!r} {problem}")
    scratch_folder().mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=scratch_folder(), prefix="upload-") as folder:
        path = Path(folder) / name
        await _receive(request, path)
        # Rows are read for seconds to minutes: not by the process that answers everybody.
        report = await to_process.run_sync(_report, path, cancellable=True)
        uri = await to_thread.run_sync(store, path, Layout(storage_root(), team))
    return JSONResponse({"uri": uri, "report": report}, 201)


def _problem(name: str) -> str:
    if PurePath(name).name != name or name.startswith(".") or not name.isprintable() or len(name.encode()) > LONGEST_NAME:
        return f"is no name of a file: use letters that can be printed, no slash, at most {LONGEST_NAME} bytes, and no dot in front."
    if not kind_of_file(PurePath(name))[0]:
        return f"is no file of rows: its name must end in {', '.join(KINDS_OF_FILES)}, each also with {' or '.join(COMPRESSIONS)}."
    return ""


async def _receive(request: Request, path: Path) -> None:
    most, num_bytes = max_upload_bytes(), 0
    _refuse_large(int(request.headers.get("Content-Length", "0")), most)
    async with await anyio.open_file(path, "wb") as file:
        async for chunk in request.stream():
            num_bytes += len(chunk)
            _refuse_large(num_bytes, most)
            await file.write(chunk)


def _refuse_large(num_bytes: int, most: int) -> None:
    if num_bytes > most:
        raise HTTPException(413, f"The file is larger than {most:,} bytes, the limit of DTX_MAX_UPLOAD_BYTES: put it on S3, and name it there.")


def _report(path: Path) -> dict[str, Any]:
    return check_rows(path).as_dict()
