"""Training files of other programs as experiments: tables of their keys, and what became of each line."""

from dtx_tasks.translate.draft import Dialect, Ground
from dtx_tasks.translate.experiment import DIALECTS, Line, Translation, dialect_of, translation

__all__ = ["DIALECTS", "Dialect", "Ground", "Line", "Translation", "dialect_of", "translation"]
