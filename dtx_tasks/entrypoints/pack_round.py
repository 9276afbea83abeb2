"""One call of the entrypoint for a pack: what is left to do, and why the rest has no result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dtx_tasks.entrypoints.failures import failure, note_failure
from dtx_tasks.entrypoints.nodes import Node
from dtx_tasks.records import Layout
from dtx_tasks.train.record import trained

if TYPE_CHECKING:
    from dtx_tasks.errors import DtxError
    from dtx_tasks.records import FailureRecord, FinetuneJob, Pack


@dataclass(frozen=True)
class PackRound:
    """One call of the entrypoint for a pack.

    Attributes:
        pack: The jobs.
        document_uri: Of the pack.
        run_key: The round of attempts.
        owner: Who asks, for the claims.
        node: The machine that this is.
    """

    pack: Pack
    document_uri: str
    run_key: str
    owner: str
    node: Node = field(default_factory=Node)

    @property
    def layout(self) -> Layout:
        """Where everything is."""
        return Layout.of(self.document_uri)

    @property
    def orders(self) -> str:
        """Where the first machine tells the others what to do."""
        return f"{self.layout.experiment(self.pack.experiment_name, self.pack.plan_id)}/orders/{self.pack.pack_id}"

    def ranks(self, node: int) -> range:
        """The ranks on one machine."""
        return range(node * self.pack.resources.processes, (node + 1) * self.pack.resources.processes)

    def open_jobs(self) -> list[FinetuneJob]:
        """Jobs with neither a result nor a failure that is final in this round."""
        return [job for job in self.pack.jobs if trained(job, self.layout) is None and not self._is_given_up(job)]

    def failure(self, job: FinetuneJob) -> FailureRecord | None:
        """Why a job has no result, if it is written down."""
        return failure("train", job.job_id, self.pack, self.layout)

    def fail(self, job: FinetuneJob, error: DtxError, is_final: bool | None = None) -> None:
        """Writes down why a job has no result."""
        note_failure("train", job.job_id, self.pack, self.layout, self.run_key, error, is_final)

    def _is_given_up(self, job: FinetuneJob) -> bool:
        record = self.failure(job)
        return bool(record and record.is_final and record.run_key == self.run_key)
