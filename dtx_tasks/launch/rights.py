"""What Airflow's service account has to be allowed where pods train: `deploy/` grants it, and `dtx doctor` asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from dtx_tasks.catalog.backend import Backend


class Right(NamedTuple):
    """One verb on one kind of object; `pods/log` is a kind of its own."""

    group: str
    resource: str
    verb: str


ALWAYS = (
    *(Right("", "pods", verb) for verb in ("create", "delete", "get", "list")),
    Right("", "pods/log", "get"),
    Right("batch", "jobs", "list"),
    Right("jobset.x-k8s.io", "jobsets", "list"),
)
"""For every stage, and for housekeeping, which looks at every kind of what was made here."""

JOB_SETS = tuple(Right("jobset.x-k8s.io", "jobsets", verb) for verb in ("create", "delete", "get"))
JOBS = (
    *(Right("batch", "jobs", verb) for verb in ("create", "delete", "get")),
    Right("", "services", "create"),
)
"""For packs on several machines, as one of the two."""


def rights_of(backend: Backend) -> tuple[Right, ...]:
    """What a backend needs."""
    return (*ALWAYS, *(JOB_SETS if backend.several_nodes == "jobset" else JOBS))
