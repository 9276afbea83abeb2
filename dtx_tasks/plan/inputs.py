"""What `resolve` found out: the experiment with nothing left to look up."""

from __future__ import annotations

from pydantic import Field

from dtx_tasks.records import DatasetSource, Difference, LLMSource, Record, ResourceVersion
from dtx_tasks.spec import FinetuneExperiment, Hyperparameters, Scoring


class ResolvedInputs(Record):
    """An experiment and everything that its names stand for."""

    experiment: FinetuneExperiment
    llms: dict[str, LLMSource]
    datasets: dict[str, DatasetSource]
    groups: dict[str, Hyperparameters]
    differences: dict[str, Difference] = Field(default_factory=dict)
    """What groups change of those that they extend."""
    rewards: dict[str, LLMSource] = Field(default_factory=dict)
    """The reward models of groups that learn by one."""
    scoring: Scoring
    versions: tuple[ResourceVersion, ...] = ()
    num_leaked_rows: int = 0
    """Rows that are scored on and learned from too: the experiment allows it, or there are none."""
    notes: tuple[str, ...] = ()
    """What the author should know and need not change, a sentence without its full stop each."""
