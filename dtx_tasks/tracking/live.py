"""Publishes while training runs: as well as it goes, and never in training's way."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from dtx_tasks.errors import ClaimedError, TransientError
from dtx_tasks.tracking import server, telemetry
from dtx_tasks.tracking.publish import publish_job
from dtx_tasks.tracking.telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dtx_tasks.records import FinetuneJob, Layout, Pack

INTERVAL_S = 10.0
LAST_WAIT_S = 5.0
"""At the end a publisher that hangs is left behind: `register` publishes to MLflow again, and must succeed."""


@contextmanager
def published_live(jobs: list[FinetuneJob], pack: Pack, layout: Layout) -> Iterator[None]:
    """Publishes jobs in the background, to MLflow and by OpenTelemetry where they are configured, every few seconds and once more at the end.

    Args:
        jobs: What is being trained.
        pack: Their pack.
        layout: Where the records are.
    """
    ways: list[list[Callable[[], object]]] = []
    if server.is_configured():
        ways.append([partial(_publish, job, pack, layout) for job in jobs])
    if telemetry.is_configured():
        ways.append([Telemetry(job, pack, layout).send for job in jobs])
    is_over = threading.Event()
    # A thread for each way: one that hangs does not hold up the other.
    threads = [threading.Thread(target=_publish_until, args=(is_over, way), daemon=True) for way in ways]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        for thread in threads:
            thread.join(LAST_WAIT_S)


def _publish(job: FinetuneJob, pack: Pack, layout: Layout) -> None:
    with server.tracking_errors():
        publish_job(job, pack, pack.scoring.scoring_id, layout)


def _publish_until(is_over: threading.Event, publishers: list[Callable[[], object]]) -> None:
    is_last = False
    while not is_last:
        is_last = is_over.wait(INTERVAL_S)
        for publish in publishers:
            try:
                publish()
            except (TransientError, ClaimedError) as error:
                print(json.dumps({"event": "tracking", "message": f"Not published yet, training goes on: {error.message}"}), flush=True)
