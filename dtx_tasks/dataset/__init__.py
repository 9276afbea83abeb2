"""The rows of a Dataset's files: read, mapped and checked, each mistake with its file, line and column."""

from dtx_tasks.dataset.check import Row, RowProblem, check_file, rows_of

__all__ = ["Row", "RowProblem", "check_file", "rows_of"]
