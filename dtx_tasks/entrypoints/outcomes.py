"""How an attempt ended, from what each rank on each machine said about it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from dtx_tasks.errors import HostMemoryError, TransientError, how_telling
from dtx_tasks.storage import read_record, workplace, write_record
from dtx_tasks.train.outcome import Outcome, failed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dtx_tasks.entrypoints.pack_round import PackRound

PEERS_S = 30.0
"""For other machines to say why they failed, when this one only lost sight of them."""


def outcome_of(this: PackRound, folder: str, exit_code: int, killed: Outcome) -> Outcome:
    """What the ranks said, a failure before a success; ranks that said nothing were killed."""
    known = [outcome for rank in this.ranks(0) if (outcome := _said(folder, rank))]
    is_saved = exit_code == 0 or (workplace(f"{folder}/scratch") / "final").is_dir()
    if this.pack.resources.nodes > 1 and not (known and is_saved):
        known += _of_peers(this, folder)
    if not is_saved and killed.error_class == "HostMemoryError":
        known.append(killed)
    failures = [outcome for outcome in known if outcome.error_class]
    if failures:
        return most_telling(failures)
    if known and is_saved:
        return known[0]
    return killed


def killed_outcome(exit_code: int, *, is_out_of_memory: bool) -> Outcome:
    """What is to be said of ranks that said nothing."""
    if is_out_of_memory:
        return failed(HostMemoryError("A training process used more memory than this container may.", "Set `resources.memory`."))
    hint = "It was killed, or could not start: its last lines are in the log above."
    return failed(TransientError(f"The training process ended without saying how (exit code {exit_code}).", hint))


def tell_first_machine(this: PackRound, folder: str, killed: Outcome) -> list[Outcome]:
    """Copies the failures of this machine's ranks to where the first machine looks for them."""
    found = {rank: _said(folder, rank) or killed for rank in this.ranks(this.node.rank)}
    for rank, outcome in found.items():
        write_record(f"{folder}/scratch/outcome-{rank}.json", outcome)
    return list(found.values())


def most_telling(outcomes: Iterable[Outcome]) -> Outcome:
    """Of several ranks' failures the one that says most: one rank runs out of memory, the others only see that it is gone."""
    return min(outcomes, key=lambda outcome: how_telling(outcome.error_class))


def _said(folder: str, rank: int) -> Outcome | None:
    """How a rank of this machine ended, in its own words."""
    return read_record(str(workplace(f"{folder}/scratch") / f"outcome-{rank}.json"), Outcome)


def _of_peers(this: PackRound, folder: str) -> list[Outcome]:
    """What the ranks of the other machines said, as far as they say it in time."""
    others = [rank for node in range(1, this.pack.resources.nodes) for rank in this.ranks(node)]
    deadline, found = time.monotonic() + PEERS_S, dict[int, Outcome]()
    while time.monotonic() < deadline and len(found) < len(others):
        found |= {rank: said for rank in others if (said := read_record(f"{folder}/scratch/outcome-{rank}.json", Outcome))}
        time.sleep(1.0)
    return list(found.values())
