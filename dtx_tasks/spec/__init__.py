"""What an author writes: the FinetuneExperiment and the named resources it refers to. No I/O, no ML imports."""

from dtx_tasks.spec.dataset import SPLITS, Columns, Dataset, Split
from dtx_tasks.spec.dump import dump_text
from dtx_tasks.spec.experiment import Combination, FinetuneExperiment, JobEntry, Matrix, Resources, Selection
from dtx_tasks.spec.hyperparameters import HyperparameterGroup, Hyperparameters
from dtx_tasks.spec.llm import LLM
from dtx_tasks.spec.load import SpecDocument, load_text, parse
from dtx_tasks.spec.schema import experiment_schema
from dtx_tasks.spec.scoring import Metric, Scoring

__all__ = [
    "LLM",
    "SPLITS",
    "Columns",
    "Combination",
    "Dataset",
    "FinetuneExperiment",
    "HyperparameterGroup",
    "Hyperparameters",
    "JobEntry",
    "Matrix",
    "Metric",
    "Resources",
    "Scoring",
    "Selection",
    "SpecDocument",
    "Split",
    "dump_text",
    "experiment_schema",
    "load_text",
    "parse",
]
