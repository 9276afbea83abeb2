"""Every stage of a plan, one process after another, without Airflow."""

from __future__ import annotations

import os
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from dtx_tasks.cli.interruption import InterruptedCommandError
from dtx_tasks.entrypoints.documents import note_run, write_plan
from dtx_tasks.launch import Ending, LocalProcess, ending_of, is_blocked, is_finished
from dtx_tasks.records import Layout
from dtx_tasks.register import register
from dtx_tasks.report import write_report
from dtx_tasks.select import select
from dtx_tasks.settings import home

if TYPE_CHECKING:
    from dtx_tasks.entrypoints.documents import PlanUris
    from dtx_tasks.records import BestVersion, ExperimentPlan

POLL_S = 1.0
MOST_ATTEMPTS = 9
"""As many as Airflow makes."""


def run_plan(plan: ExperimentPlan, root: str) -> BestVersion:
    """Runs every stage and returns the verdict.

    Args:
        plan: What to do.
        root: The storage root.

    Raises:
        NothingScoredError: Every job failed; with the reasons.
        InterruptedCommandError: Ctrl-C; nothing of it runs on.
    """
    uris, layout, runner = write_plan(plan, root), Layout(root, plan.team), Runner(uuid.uuid4().hex[:12])
    reference = note_run(plan, root, "dtx run", runner.run_key)
    try:
        runner.each("fetch", uris.bases)
        runner.each("prepare", uris.prepare)
        runner.together(uris, plan.parallelism)
    except KeyboardInterrupt:
        typer.echo("Stopping; a job in training saves a checkpoint first ...", err=True)
        runner.stop()
        raise InterruptedCommandError("Stopped. What is finished is kept:", "the same command goes on from there.") from None
    except BaseException:
        runner.stop()
        raise
    # Not before: processes that set one SQLite file up together get in each other's way.
    os.environ.setdefault("MLFLOW_TRACKING_URI", _local_mlflow(home()))
    try:
        verdict = select(plan, layout)
        register(plan, verdict, reference, layout)
    finally:
        report_uri = write_report(plan, layout)
        typer.echo(f"The report is in {report_uri}")
    return verdict


class Runner:
    """Runs stages as local processes and keeps hold of them.

    Args:
        run_key: The round of attempts.
    """

    def __init__(self, run_key: str) -> None:
        self.run_key = run_key
        self._running: set[LocalProcess] = set()
        self._is_stopped = threading.Event()

    def each(self, stage: str, uris: list[str]) -> None:
        """A stage on each of its documents, one after another."""
        for uri in uris:
            self.stage(stage, uri)

    def together(self, uris: PlanUris, parallelism: int) -> None:
        """Every pack and every base, so many at a time."""
        pool = ThreadPoolExecutor(parallelism)
        try:
            work = [pool.submit(self.pack, uri) for uri in uris.packs] + [pool.submit(self.stage, "score_base", uri) for uri in uris.bases]
            for item in work:
                item.result()
        finally:
            # Interrupted, it does not wait for work that only `stop` ends.
            pool.shutdown(wait=False, cancel_futures=True)

    def pack(self, uri: str) -> None:
        """Trains a pack, then scores it."""
        self.stage("train", uri)
        self.stage("score", uri)

    def stage(self, stage: str, uri: str) -> None:
        """Attempts a stage until it is done or given up; select says why something has no result."""
        name = Path(uri).stem
        if is_finished(stage, uri):
            typer.echo(f"{stage} {name}: nothing to do")
            return
        ending, num_attempts = Ending.RETRY, 0
        while num_attempts < MOST_ATTEMPTS and ending in (Ending.RETRY, Ending.WAITING) and not self._is_stopped.is_set():
            if is_blocked(stage, uri, self.run_key):
                self._is_stopped.wait(POLL_S)
            else:
                num_attempts += 1
                ending = self._attempt(stage, uri)

    def stop(self) -> None:
        """Ends whatever still runs, and begins nothing more."""
        self._is_stopped.set()
        for process in list(self._running):
            process.stop()

    def _attempt(self, stage: str, uri: str) -> Ending:
        process = LocalProcess(stage, uri, self.run_key)
        self._running.add(process)
        for line in process.lines():
            typer.echo(f"{stage} {Path(uri).stem}: {line}")
        ending = ending_of(stage, uri, process.wait(), self.run_key)
        self._running.discard(process)
        return ending


def _local_mlflow(folder: Path) -> str:
    (folder / "mlflow").mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{folder / 'mlflow' / 'mlflow.db'}"
