"""`python -m dtx_tasks.entrypoints STAGE --document URI`: the same command in a pod, in a local process and by hand."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import traceback
import uuid
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path, PurePosixPath

from dtx_tasks.entrypoints.logs import kept_log, log_folder
from dtx_tasks.entrypoints.nodes import Node
from dtx_tasks.entrypoints.stages import STAGES, Call, owner_of
from dtx_tasks.errors import ClaimedError, DtxError, PreemptedError, kind_of
from dtx_tasks.storage import is_remote
from dtx_tasks.tether import end_with_parent


def main(arguments: list[str] | None = None) -> int:
    """Runs one stage.

    Args:
        arguments: The command line; the process's own by default.

    Returns:
        0, or the exit code of the failure's class.
    """
    end_with_parent(signal.SIGTERM)
    # What a stage needs is on storage.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    parser = argparse.ArgumentParser(prog="dtx_tasks.entrypoints", description=__doc__)
    parser.add_argument("stage", choices=sorted(STAGES))
    parser.add_argument("--document", required=True, help="URI of the stage's document")
    parser.add_argument("--run-key", default="", help="names a round of attempts: what failed for good in another round is tried again")
    options = parser.parse_args(arguments)
    key = options.run_key or uuid.uuid4().hex
    call = Call(options.document, key, owner_of(options.stage, options.document, key))
    # The kernel keeps signals without a handler from the first process of a container.
    signal.signal(signal.SIGTERM, _stop)
    with _log_of(options.stage, call):
        return _run(options.stage, call)


class Stopped(BaseException):
    """The process was asked to stop; no `except Exception` on the way takes it for a failure of its own work."""


def _run(stage: str, call: Call) -> int:
    try:
        return STAGES[stage](call)
    except Stopped:
        return _said(PreemptedError("Asked to stop."))
    except DtxError as error:
        return _said(error)
    except Exception:  # noqa: BLE001 - the last place that can tell a person what happened
        return _said(DtxError(traceback.format_exc().strip(), "This is a bug of dtx-tasks: please report it with this text."))


def _stop(_number: int, _frame: object) -> None:
    raise Stopped


def _log_of(stage: str, call: Call) -> AbstractContextManager[None]:
    """Where the machine goes away with its log, a copy of it is kept."""
    if not is_remote(call.document_uri):
        return nullcontext()
    name = PurePosixPath(call.document_uri).stem
    return kept_log(log_folder(call.document_uri.rsplit("/", 2)[0], stage, name, Node.this().rank))


def _said(error: DtxError) -> int:
    kind = "waiting" if isinstance(error, ClaimedError) else "error"
    line = {"event": kind, "class": kind_of(error), "message": error.message, "hint": error.hint}
    print(json.dumps(line, ensure_ascii=False), flush=True)
    _leave_last_words(line)
    return error.exit_code


def _leave_last_words(line: dict[str, str]) -> None:
    """Where Kubernetes looks for why a container ended; it reads 4,096 bytes."""
    path = Path(os.environ.get("DTX_TERMINATION_LOG") or "/dev/termination-log")
    if path.exists():
        path.write_text(json.dumps({**line, "message": line["message"][:1500], "hint": line["hint"][:500]}), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
