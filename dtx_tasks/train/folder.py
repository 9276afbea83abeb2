"""Where one job reads and writes on this machine."""

from __future__ import annotations

import fcntl
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dtx_tasks.errors import TransientError
from dtx_tasks.records import Attempt, FetchedLLM, PreparedDataset
from dtx_tasks.storage import bring, list_names, read_record, workplace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dtx_tasks.records import FinetuneJob, Layout

LOCK_WAIT_S = 30.0


@dataclass(frozen=True)
class JobFolder:
    """Where one job reads and writes.

    Attributes:
        uri: The job's folder.
        llm_uri: The base LLM's files.
        llm_path: The same on this machine.
        adapter_path: Among them the adapter that is trained further; None where there is none.
        prepared_path: The PreparedDataset's files, on this machine.
        reward_path: The reward model's files, on this machine; None where there is none.
        is_main: Whether this process is rank 0.
        node: The machine that it runs on, from 0.
    """

    uri: str
    llm_uri: str
    llm_path: Path
    adapter_path: Path | None
    prepared_path: Path
    reward_path: Path | None
    is_main: bool
    node: int

    @classmethod
    def of(cls, layout: Layout, job: FinetuneJob, is_main: bool, node: int) -> JobFolder:
        """The folder of a job in a layout; what it reads is brought to this machine."""
        llm, prepared = layout.llm(job.llm.llm_id), layout.prepared(job.prepared_id)
        base, rows = read_record(f"{llm}/fetched.json", FetchedLLM), read_record(f"{prepared}/prepared.json", PreparedDataset)
        if base is None or rows is None:
            raise TransientError(f"{job.name}: its base or its prepared rows are not on storage.", "The stages before say why.")
        files = bring(f"{llm}/files", base.files)
        return cls(
            layout.job(job.job_id),
            f"{llm}/files",
            files,
            job.llm.adapter_in(files),
            bring(f"{prepared}/files", rows.files),
            _bring_reward(layout, job),
            is_main,
            node,
        )

    @property
    def work(self) -> Path:
        """Where attempts leave checkpoints, and the last one its result."""
        return workplace(f"{self.uri}/scratch")

    @property
    def events_uri(self) -> str:
        """Where progress is written, on this machine."""
        return str(workplace(self.uri) / "events.jsonl")

    @property
    def final(self) -> Path:
        """The checkpoint that is handed on."""
        return self.work / "final"

    def attempt(self) -> Attempt:
        """The attempt that is running: the last one that was written down.

        Raises:
            TransientError: There is none.
        """
        last = max((int(name.removesuffix(".json")) for name in list_names(f"{self.uri}/attempts")), default=0)
        found = read_record(f"{self.uri}/attempts/{last}.json", Attempt)
        if found is None:
            raise TransientError(f"{self.uri} has no attempt: start training by `dtx_tasks.entrypoints`.")
        return found

    def outcome_uri(self, rank: int) -> str:
        """Where a rank says how the attempt ended, on this machine."""
        return str(self.work / f"outcome-{rank}.json")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps a second training process out while an earlier one is still ending."""
        if not self.is_main:
            yield
            return
        self.work.mkdir(parents=True, exist_ok=True)
        with (self.work / "lock").open("w") as file:
            deadline = time.monotonic() + LOCK_WAIT_S
            while not _try_lock(file.fileno()):
                if time.monotonic() > deadline:
                    raise TransientError("Another process is training this job.", "It is waited for and tried again.")
                time.sleep(0.2)
            yield


def _bring_reward(layout: Layout, job: FinetuneJob) -> Path | None:
    if job.reward is None:
        return None
    folder = layout.llm(job.reward.llm_id)
    fetched = read_record(f"{folder}/fetched.json", FetchedLLM)
    if fetched is None:
        raise TransientError(f"{job.name}: its reward model is not on storage.", "The fetch stage says why.")
    return bring(f"{folder}/files", fetched.files)


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
