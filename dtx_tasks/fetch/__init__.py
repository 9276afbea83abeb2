"""Brings a base LLM to storage, once for each revision: training runs offline from it."""

from dtx_tasks.fetch.fetch import fetch

__all__ = ["fetch"]
