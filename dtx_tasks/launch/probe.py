"""Whether storage can hold what stages write. `dtx doctor` asks on its own machine, and by this program in a pod."""

from __future__ import annotations

import json
import sys
import uuid
from pathlib import Path

from dtx_tasks.errors import DtxError, SpecError, kind_of
from dtx_tasks.storage import create, read_bytes, remove

TERMINATION_LOG = Path("/dev/termination-log")
"""What a container writes here becomes a part of its pod's status."""


def check_storage(root: str) -> None:
    """Writes, reads and removes a file below a root.

    Args:
        root: The storage root.

    Raises:
        DtxError: Something of it failed.
    """
    uri = f"{root.rstrip('/')}/.doctor/{uuid.uuid4().hex}"
    if not create(uri, b"first"):
        raise SpecError(f"{uri} was there before it was made.", "Is something between here and the storage that answers by itself?")
    try:
        _check_second(uri)
    finally:
        remove(uri)


def _check_second(uri: str) -> None:
    """Nobody may put a claim over another one's."""
    if create(uri, b"second") or read_bytes(uri) != b"first":
        hint = "Claims would not hold: use one that honours conditional writes, such as AWS S3 or MinIO."
        raise SpecError("The storage ignored If-None-Match and wrote over an object.", hint)


def main(root: str) -> int:
    """Checks it from inside a pod; the exit code."""
    try:
        check_storage(root)
    except DtxError as error:
        TERMINATION_LOG.write_text(json.dumps({"class": kind_of(error), "message": error.message, "hint": error.hint}), encoding="utf-8")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
