"""The commands, and from an error to an exit code."""

from __future__ import annotations

import signal
import sys
import traceback

import typer
from rich.console import Console

from dtx_tasks.cli import dataset, doctor, embedded, experiment, export, plugin, remote, resources, translate
from dtx_tasks.cli.interruption import InterruptedCommandError
from dtx_tasks.cli.remote import ExperimentCancelledError
from dtx_tasks.errors import DtxError, SpecError
from dtx_tasks.stack import StackError
from dtx_tasks.stack.rest import AirflowRefused, AirflowUnreachable

app = typer.Typer(name="dtx", help="Batch fine-tuning of LLMs on Apache Airflow.", no_args_is_help=True, pretty_exceptions_enable=False)
for commands in (experiment, translate, embedded, doctor, remote, export, plugin):
    commands.add_to(app)
resources.add_to(app, {"dataset": dataset.add_to})

REQUESTS_FAULT = (400, 404, 409, 422)
"""What was asked for is wrong, or not there."""

INTERRUPTED = 130
WRONG_INPUT, FAILED, CANCELLED, UNREACHABLE, BUG = 2, 3, 4, 5, 1


def main() -> None:
    """Runs one command and ends with its exit code."""
    errors = Console(stderr=True, soft_wrap=True, highlight=False)
    # Whoever stops this command, by Ctrl-C or otherwise, stops what it has started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # A terminal that is closed stops it too, but under nohup.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.default_int_handler)
    try:
        app()
    except SystemExit as end:
        # Typer takes Ctrl-C for itself and ends with 130, as a shell does.
        if end.code != INTERRUPTED:
            raise
        errors.print("Interrupted.")
        sys.exit(CANCELLED)
    except (DtxError, AirflowUnreachable, AirflowRefused, StackError) as error:
        errors.print(str(error), markup=False)
        sys.exit(_exit_code(error))
    except Exception:  # noqa: BLE001 - a person should see what to report
        errors.print(traceback.format_exc(), markup=False)
        errors.print("This is a bug of dtx: please report it with the text above.")
        sys.exit(BUG)


def _exit_code(error: Exception) -> int:
    if isinstance(error, SpecError):
        return WRONG_INPUT
    if isinstance(error, ExperimentCancelledError | InterruptedCommandError):
        return CANCELLED
    if isinstance(error, AirflowRefused):
        return WRONG_INPUT if error.status_code in REQUESTS_FAULT else UNREACHABLE
    return UNREACHABLE if isinstance(error, AirflowUnreachable | StackError) else FAILED
