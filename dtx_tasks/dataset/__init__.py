"""The rows of a Dataset's files: read, brought into one form and checked, each mistake with its file, line and column."""

from dtx_tasks.dataset.detect import detect
from dtx_tasks.dataset.doubts import doubts
from dtx_tasks.dataset.fields import Problem
from dtx_tasks.dataset.file import RowFile
from dtx_tasks.dataset.findings import CODES, Finding, Findings
from dtx_tasks.dataset.folder import folder_mistake, folder_of, is_of_images, labelled, said_line, said_place, without_documentation
from dtx_tasks.dataset.raw import RawRow
from dtx_tasks.dataset.registry import Imported, imported
from dtx_tasks.dataset.repeats import LeakedRow, leaked_rows, repeated_rows
from dtx_tasks.dataset.report import DatasetReport, Measured, check_dataset
from dtx_tasks.dataset.rewrite import Rewrite, RewriteError
from dtx_tasks.dataset.row import Message, Row, Tool
from dtx_tasks.dataset.splits import Part, Scan, SplitRows

__all__ = [
    "CODES",
    "DatasetReport",
    "Finding",
    "Findings",
    "Imported",
    "LeakedRow",
    "Measured",
    "Message",
    "Part",
    "Problem",
    "RawRow",
    "Rewrite",
    "RewriteError",
    "Row",
    "RowFile",
    "Scan",
    "SplitRows",
    "Tool",
    "check_dataset",
    "detect",
    "doubts",
    "folder_mistake",
    "folder_of",
    "imported",
    "is_of_images",
    "labelled",
    "leaked_rows",
    "repeated_rows",
    "said_line",
    "said_place",
    "without_documentation",
]
