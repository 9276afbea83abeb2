"""`python -m dtx_tasks.entrypoints STAGE --document URI`: the same command in a pod, in a local process and by hand."""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys
import traceback
import uuid

from dtx_tasks.entrypoints.stages import STAGES, Call
from dtx_tasks.errors import ClaimedError, DtxError
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
    call = Call(options.document, options.run_key or uuid.uuid4().hex, f"{socket.gethostname()}:{os.getpid()}")
    try:
        return STAGES[options.stage](call)
    except DtxError as error:
        return _said(error)
    except Exception:  # noqa: BLE001 - the last place that can tell a person what happened
        return _said(DtxError(traceback.format_exc().strip(), "This is a bug of dtx-tasks: please report it with this text."))


def _said(error: DtxError) -> int:
    kind = "waiting" if isinstance(error, ClaimedError) else "error"
    line = {"event": kind, "class": type(error).__name__, "message": error.message, "hint": error.hint}
    print(json.dumps(line, ensure_ascii=False), flush=True)
    return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
