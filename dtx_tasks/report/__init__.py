"""The report of an experiment: one page that says what came of it, and why."""

from dtx_tasks.report.report import write_report

__all__ = ["write_report"]
