"""One stage on one document as a local process, for a mapped Airflow task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from dtx_tasks.errors import SpecError
from dtx_tasks.launch import LocalProcess
from dtx_tasks.orchestration.connection import use_connection
from dtx_tasks.orchestration.guard import ExecutorGuard
from dtx_tasks.orchestration.stage import OnDocument, is_done, run_key, turns

if TYPE_CHECKING:
    from airflow.sdk import Context


class StageOperator(OnDocument, BaseOperator):
    """Runs a stage as a local process, unless every record of it is there.

    Args:
        stage: Which stage.
        document_uri: Of the stage's document; the only thing that comes from another task.
    """

    def __init__(self, *, stage: str, document_uri: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stage = stage
        self.document_uri = document_uri
        self._process: LocalProcess | None = None

    def execute(self, context: Context) -> None:
        """Runs the stage to its end.

        Raises:
            AirflowFailException: No further attempt is worth making.
            AirflowException: It is worth making.
            AirflowRescheduleException: Somebody else is doing it, or the experiment's parallelism is used up.
        """
        use_connection()
        key = run_key(context, self.retries or 0)
        try:
            for _ in turns(self.stage, self.document_uri, key):
                if self._attempt(key):
                    return
            self.log.info("Every record is there already: nothing to do.")
        except SpecError as error:
            raise AirflowFailException(str(error)) from error

    def _attempt(self, key: str) -> bool:
        """One attempt; whether it is done, as opposed to having to wait."""
        process = self._process = LocalProcess(self.stage, self.document_uri, key)
        with ExecutorGuard(process):
            for line in process.lines():
                self.log.info("%s", line)
            exit_code = process.wait()
        return is_done(self.stage, self.document_uri, exit_code, key, f"exit code {exit_code}, the reason is above")

    def on_kill(self) -> None:
        """Ends the process and everything below it, after a last checkpoint."""
        if self._process:
            self._process.stop()
