"""Plugins: found and read without importing them where experiments are planned, run where rows are prepared."""

from dtx_tasks.extension.declaration import Declaration, declaration_of, installed
from dtx_tasks.extension.parameters import checked_parameters
from dtx_tasks.extension.plugin import DataPlugin
from dtx_tasks.extension.rewrite import rewriter

__all__ = ["DataPlugin", "Declaration", "checked_parameters", "declaration_of", "installed", "rewriter"]
