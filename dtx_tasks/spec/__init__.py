"""What an author writes: the FinetuneExperiment and the named resources it refers to. No I/O, no ML imports."""

from dtx_tasks.spec.dataset import HELD_OUT, SPLITS, Columns, Dataset, Format, Kind, Plugin, PluginParameters, Split, Subset, Tags
from dtx_tasks.spec.dump import dump_text
from dtx_tasks.spec.experiment import Combination, FinetuneExperiment, JobEntry, Matrix, Resources, Selection, TeamName
from dtx_tasks.spec.hyperparameters import HyperparameterGroup, Hyperparameters
from dtx_tasks.spec.llm import LLM
from dtx_tasks.spec.load import SpecDocument, load_text, parse
from dtx_tasks.spec.reading import MEDIA, OPTIONAL, OWN_COLUMNS, OWN_TAGS, Reading, misfits, reading_of
from dtx_tasks.spec.schema import experiment_schema
from dtx_tasks.spec.scoring import Metric, Scoring

__all__ = [
    "HELD_OUT",
    "LLM",
    "MEDIA",
    "OPTIONAL",
    "OWN_COLUMNS",
    "OWN_TAGS",
    "SPLITS",
    "Columns",
    "Combination",
    "Dataset",
    "FinetuneExperiment",
    "Format",
    "HyperparameterGroup",
    "Hyperparameters",
    "JobEntry",
    "Kind",
    "Matrix",
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
    "TeamName",
    "dump_text",
    "experiment_schema",
    "load_text",
    "misfits",
    "parse",
    "reading_of",
]
