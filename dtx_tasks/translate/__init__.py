"""Training files of other programs as experiments: tables of their keys, and what became of each line."""

from dtx_tasks.translate.draft import Ground
from dtx_tasks.translate.experiment import Line, Translation, translation

__all__ = ["Ground", "Line", "Translation", "translation"]
