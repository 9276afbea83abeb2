"""The machines that train one pack together: the first one decides, the others do as it says."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from dtx_tasks.errors import TransientError
from dtx_tasks.records import Record
from dtx_tasks.storage import exists, read_record, write_bytes, write_record

PORT = 29500
"""Where the ranks meet, on the first machine. Source: torchrun's default."""

PATIENCE_S = 6 * 3600.0
"""For the other machines to start: they may wait for a place as long as any pod may; the pod's deadline ends it in any case."""

POLL_S = 1.0


@dataclass(frozen=True)
class Node:
    """One machine of a pack.

    Attributes:
        rank: From 0.
        coordinator: The name by which the others reach the first one; empty for a pack on one machine.
        launch_id: The same for all that were started together, another one after a restart.
    """

    rank: int = 0
    coordinator: str = ""
    launch_id: str = ""

    @classmethod
    def this(cls) -> Node:
        """This machine, as the Job that started it says: JOB_COMPLETION_INDEX, DTX_COORDINATOR and DTX_LAUNCH_ID."""
        if not os.environ.get("DTX_COORDINATOR"):
            return cls()
        return cls(int(os.environ["JOB_COMPLETION_INDEX"]), os.environ["DTX_COORDINATOR"], os.environ["DTX_LAUNCH_ID"])


class Orders(Record):
    """What the first machine decided for all."""

    started_from: dict[str, int]
    """The jobs to train, by id, and the step of the checkpoint that each resumes from."""


def give_orders(folder: str, node: Node, started_from: dict[str, int]) -> None:
    """Tells the other machines what to train.

    Args:
        folder: Of the pack's orders.
        node: The first machine.
        started_from: Jobs, and the steps that they resume from; none when there is nothing to do.
    """
    if node.coordinator:
        write_record(f"{folder}/{node.launch_id}.json", Orders(started_from=started_from))


def await_others(folder: str, node: Node, num_nodes: int) -> None:
    """Begins no attempt before every machine is there: ranks that wait for each other give up sooner than a pod may wait for its place.

    Args:
        folder: Of the pack's orders.
        node: The first machine.
        num_nodes: Of the pack.

    Raises:
        TransientError: One does not come.
    """
    if not node.coordinator:
        return
    deadline = time.monotonic() + PATIENCE_S
    for rank in range(1, num_nodes):
        while not exists(f"{folder}/{node.launch_id}-{rank}.here"):
            if time.monotonic() > deadline:
                raise TransientError(f"Machine {rank} of this pack has not started.", "The states of its pods say why.")
            time.sleep(POLL_S)


def take_orders(folder: str, node: Node) -> Orders:
    """What the first machine says, as soon as it has said it.

    Raises:
        TransientError: It says nothing.
    """
    write_bytes(f"{folder}/{node.launch_id}-{node.rank}.here", b"")
    deadline = time.monotonic() + PATIENCE_S
    while (orders := read_record(f"{folder}/{node.launch_id}.json", Orders)) is None:
        if time.monotonic() > deadline:
            raise TransientError("The first machine of this pack has not started.", "The states of its pods say why.")
        time.sleep(POLL_S)
    return orders
