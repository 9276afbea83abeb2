"""Imports what every task needs before processes are forked for them."""

from __future__ import annotations

from importlib import import_module

from dtx_tasks.catalog.backend import load_backend
from dtx_tasks.storage.s3 import descriptions

MODULES = ("dtx_tasks.orchestration.dag", "dtx_tasks.select", "dtx_tasks.report", "boto3")
OF_BACKEND = {"local": ("dtx_tasks.orchestration.operator",), "kubernetes": ("dtx_tasks.orchestration.pods", "dtx_tasks.orchestration.housekeeping")}


def preload() -> None:
    """Imports the DAG's modules and the provider of the backend; no connection is made that a fork could share."""
    for name in (*MODULES, *OF_BACKEND[load_backend().backend]):
        import_module(name)
    descriptions()
