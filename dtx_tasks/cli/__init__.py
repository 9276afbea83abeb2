"""The `dtx` command."""

from dtx_tasks.cli.main import app, main

__all__ = ["app", "main"]
