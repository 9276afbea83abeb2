"""Publishes while training runs: as well as it goes, and never in training's way."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dtx_tasks.errors import ClaimedError, TransientError
from dtx_tasks.tracking.publish import publish_job
from dtx_tasks.tracking.server import is_configured, tracking_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dtx_tasks.records import FinetuneJob, Layout, Pack

INTERVAL_S = 10.0
LAST_WAIT_S = 5.0
"""At the end a publisher that hangs is left behind: `register` publishes again, and must succeed."""


@contextmanager
def published_live(jobs: list[FinetuneJob], pack: Pack, layout: Layout) -> Iterator[None]:
    """Publishes jobs in the background, every few seconds and once more at the end.

    Args:
        jobs: What is being trained.
        pack: Their pack.
        layout: Where the records are.
    """
    if not is_configured():
        yield
        return
    is_over = threading.Event()
    publisher = threading.Thread(target=_publish_until, args=(is_over, jobs, pack, layout), daemon=True)
    publisher.start()
    try:
        yield
    finally:
        is_over.set()
        publisher.join(LAST_WAIT_S)


def _publish_until(is_over: threading.Event, jobs: list[FinetuneJob], pack: Pack, layout: Layout) -> None:
    is_last = False
    while not is_last:
        is_last = is_over.wait(INTERVAL_S)
        for job in jobs:
            try:
                with tracking_errors():
                    publish_job(job, pack, pack.scoring.scoring_id, layout)
            except (TransientError, ClaimedError) as error:
                print(json.dumps({"event": "tracking", "message": f"Not published yet, training goes on: {error.message}"}), flush=True)
