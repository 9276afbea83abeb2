"""One stage on one document, as a mapped Airflow task."""

from __future__ import annotations

import hashlib
import time
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowRescheduleException

from dtx_tasks.errors import SpecError
from dtx_tasks.launch import Ending, LocalProcess, ending_of, is_blocked, is_finished
from dtx_tasks.orchestration.guard import ExecutorGuard

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

PATIENCE_S = 60.0
"""A task that has to wait does so in place at first: starting one anew costs 3 CPU seconds."""

POLL_S = 1.0
PAUSE_S = 15.0


class StageOperator(BaseOperator):
    """Runs a stage as a local process, unless every record of it is there.

    Args:
        stage: Which stage.
        document_uri: Of the stage's document; the only thing that comes from another task.
    """

    # The pages and the logs are told of nothing else: user text never passes through Jinja.
    template_fields: Sequence[str] = ("document_uri",)
    ui_color = "#e8f1ff"

    def __init__(self, *, stage: str, document_uri: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stage = stage
        self.document_uri = document_uri
        self._process: LocalProcess | None = None

    @property
    def document_name(self) -> str:
        """What the grid shows: a slug and an id."""
        return PurePosixPath(self.document_uri).stem

    def execute(self, context: Context) -> None:
        """Runs the stage to its end.

        Raises:
            AirflowFailException: No further attempt is worth making.
            AirflowException: It is worth making.
            AirflowRescheduleException: Somebody else is doing it, or the experiment's parallelism is used up.
        """
        try:
            self._run(context)
        except SpecError as error:
            raise AirflowFailException(str(error)) from error

    def _run(self, context: Context) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            if is_finished(self.stage, self.document_uri):
                self.log.info("Every record is there already: nothing to do.")
                return
            if not is_blocked(self.stage, self.document_uri) and self._attempt(run_key(context, self.retries or 0)):
                return
            if time.monotonic() > deadline:
                raise AirflowRescheduleException(datetime.now(UTC) + timedelta(seconds=PAUSE_S))
            time.sleep(POLL_S)

    def _attempt(self, key: str) -> bool:
        """One attempt; whether it is done, as opposed to having to wait."""
        process = self._process = LocalProcess(self.stage, self.document_uri, key)
        with ExecutorGuard(process):
            for line in process.lines():
                self.log.info("%s", line)
            exit_code = process.wait()
        ending = ending_of(self.stage, self.document_uri, exit_code, key)
        if ending is Ending.FINAL:
            raise AirflowFailException(f"{self.stage} failed for good with exit code {exit_code}; the reason is above.")
        if ending is Ending.RETRY:
            raise AirflowException(f"{self.stage} failed with exit code {exit_code}; the reason is above, and it is tried again.")
        return ending is Ending.DONE

    def on_kill(self) -> None:
        """Ends the process and everything below it, after a last checkpoint."""
        if self._process:
            self._process.stop()


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
