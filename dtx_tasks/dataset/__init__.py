"""The rows of a Dataset's files: read, brought into one form and checked, each mistake with its file, line and column."""

from dtx_tasks.dataset.file import RowFile
from dtx_tasks.dataset.findings import CODES, Finding, Findings
from dtx_tasks.dataset.repeats import LeakedRow, leaked_rows, repeated_rows
from dtx_tasks.dataset.row import Message, Row, Tool
from dtx_tasks.dataset.splits import Part, Scan, SplitRows

__all__ = ["CODES", "Finding", "Findings", "LeakedRow", "Message", "Part", "Row", "RowFile", "Scan", "SplitRows", "Tool", "leaked_rows", "repeated_rows"]
