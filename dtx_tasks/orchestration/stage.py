"""What every stage's task has in common, wherever the stage runs."""

from __future__ import annotations

import hashlib
import time
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowRescheduleException

from dtx_tasks.launch import Ending, ending_of, is_blocked, is_finished

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow.sdk import Context

PATIENCE_S = 60.0
"""A task that has to wait does so in place at first: starting one anew costs 3 CPU seconds."""

POLL_S = 1.0
PAUSE_S = 15.0


class OnDocument:
    """What every operator of a stage shows and takes, wherever the stage runs."""

    # The pages and the logs are told of nothing else: user text never passes through Jinja.
    template_fields: Sequence[str] = ("document_uri",)
    ui_color = "#e8f1ff"
    document_uri: str

    @property
    def document_name(self) -> str:
        """What the grid shows: a slug and an id."""
        return PurePosixPath(self.document_uri).stem


def turns(stage: str, document_uri: str, key: str, patience_s: float = PATIENCE_S) -> Iterator[None]:
    """Yields whenever the stage may be attempted; ends when every record of it is there.

    Args:
        stage: Which stage.
        document_uri: Of its document.
        key: The round of attempts.
        patience_s: How long it may hold its worker while it waits.

    Raises:
        AirflowRescheduleException: Somebody else is doing it, or the experiment's parallelism is used up.
    """
    deadline = time.monotonic() + patience_s
    while not is_finished(stage, document_uri):
        if not is_blocked(stage, document_uri, key):
            yield
        if time.monotonic() > deadline:
            wait()
        time.sleep(POLL_S)


def wait() -> None:
    """Gives the worker back, and has the task tried again soon; not a failed try.

    Raises:
        AirflowRescheduleException: Always.
    """
    raise AirflowRescheduleException(datetime.now(UTC) + timedelta(seconds=PAUSE_S))


def is_done(stage: str, document_uri: str, exit_code: int, key: str, reason: str) -> bool:
    """Whether an attempt has done the work, as opposed to having to wait.

    Args:
        stage: Which stage.
        document_uri: Of its document.
        exit_code: How the attempt ended.
        key: The round of attempts.
        reason: Why it failed, for people.

    Raises:
        AirflowFailException: No further attempt is worth making.
        AirflowException: It is worth making.
    """
    ending = ending_of(stage, document_uri, exit_code, key)
    if ending is Ending.FINAL:
        raise AirflowFailException(f"{stage} failed for good: {reason}")
    if ending is Ending.RETRY:
        raise AirflowException(f"{stage} failed, and is tried again: {reason}")
    return ending is Ending.DONE


def run_key(context: Context, retries: int) -> str:
    """Names the round of attempts that a try belongs to: retries share it, a cleared task or a new run has another.

    Args:
        context: Of the task.
        retries: Of the operator; Airflow raises max_tries by so many when a task is cleared.
    """
    ti = context["ti"]
    begun_at_try = (ti.max_tries or 0) - retries
    parts = (ti.dag_id, ti.run_id, ti.task_id, ti.map_index, begun_at_try)
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:12]
