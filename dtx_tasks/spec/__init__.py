"""What an author writes: the FinetuneExperiment and the named resources it refers to. No I/O, no ML imports."""

from dtx_tasks.spec.dataset import HELD_OUT, SPLITS, Columns, Dataset, Format, Kind, Plugin, PluginParameters, Split, Subset, Tags
from dtx_tasks.spec.dump import dump_text
from dtx_tasks.spec.effects import (
    ADAPTERS,
    INSIDE_BACKWARD,
    OF_ADAPTERS,
    PROJECTED,
    PROMPTS,
    REINFORCED,
    fixed_rows,
    follows_validation,
    idle,
    idle_mistakes,
    rows_compared,
)
from dtx_tasks.spec.experiment import Combination, FinetuneExperiment, JobEntry, Matrix, Resources, Selection, TeamName
from dtx_tasks.spec.family import Family, Member
from dtx_tasks.spec.hyperparameters import HyperparameterGroup, Hyperparameters
from dtx_tasks.spec.llm import LLM
from dtx_tasks.spec.load import SpecDocument, load_text, parse
from dtx_tasks.spec.reading import MEDIA, OPTIONAL, OWN_COLUMNS, OWN_TAGS, Reading, misfits, reading_of
from dtx_tasks.spec.schema import experiment_schema
from dtx_tasks.spec.scoring import GENERATED, LOWER_IS_BETTER, Metric, Scoring
from dtx_tasks.spec.target import Target

__all__ = [
    "ADAPTERS",
    "GENERATED",
    "HELD_OUT",
    "INSIDE_BACKWARD",
    "LLM",
    "LOWER_IS_BETTER",
    "MEDIA",
    "OF_ADAPTERS",
    "OPTIONAL",
    "OWN_COLUMNS",
    "OWN_TAGS",
    "PROJECTED",
    "PROMPTS",
    "REINFORCED",
    "SPLITS",
    "Columns",
    "Combination",
    "Dataset",
    "Family",
    "FinetuneExperiment",
    "Format",
    "HyperparameterGroup",
    "Hyperparameters",
    "JobEntry",
    "Kind",
    "Matrix",
    "Member",
    "Metric",
    "Plugin",
    "PluginParameters",
    "Reading",
    "Resources",
    "Scoring",
    "Selection",
    "SpecDocument",
    "Split",
    "Subset",
    "Tags",
    "Target",
    "TeamName",
    "dump_text",
    "experiment_schema",
    "fixed_rows",
    "follows_validation",
    "idle",
    "idle_mistakes",
    "load_text",
    "misfits",
    "parse",
    "reading_of",
    "rows_compared",
]
