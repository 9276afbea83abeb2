"""The kinds of named resources: one row each, and everything about them follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dtx_tasks.spec import LLM, Dataset, HyperparameterGroup, PluginParameters, Scoring

if TYPE_CHECKING:
    from dtx_tasks.records import ResourceKind
    from dtx_tasks.spec.base import SpecModel


@dataclass(frozen=True)
class Kind:
    """A kind of named resource.

    Attributes:
        name: What records call it.
        model: Its spec.
        command: The word of the `dtx` command.
        plural: What it is called in sentences about several.
        purpose: What it is for, in front of a list of its commands.
        folder: Of the bundled ones, below config/.
    """

    name: ResourceKind
    model: type[SpecModel]
    command: str
    plural: str
    purpose: str
    folder: str

    @property
    def listing(self) -> str:
        """The command that lists all of them, as it stands in a sentence."""
        return f"`dtx {self.command} list`"


LLMS = Kind("LLM", LLM, "llm", "LLMs", "Base models", "models")
DATASETS = Kind("Dataset", Dataset, "dataset", "Datasets", "Rows to learn from and to score on", "datasets")
GROUPS = Kind("HyperparameterGroup", HyperparameterGroup, "hyperparameters", "HyperparameterGroups", "How to train", "hyperparameters")
SCORINGS = Kind("Scoring", Scoring, "scoring", "Scorings", "How to score", "scorings")
PARAMETERS = Kind("PluginParameters", PluginParameters, "plugin-parameters", "PluginParameters", "What data plugins are told", "plugin-parameters")

KINDS = (DATASETS, LLMS, GROUPS, SCORINGS, PARAMETERS)
