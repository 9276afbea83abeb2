"""Joins every ScoreCard into one verdict, with evidence; looks at validation rows only."""

from dtx_tasks.select.select import NothingScoredError, select

__all__ = ["NothingScoredError", "select"]
