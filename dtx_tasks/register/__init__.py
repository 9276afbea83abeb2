"""Makes the best version a version in MLflow's registry, with everything that led to it."""

from dtx_tasks.register.register import ALIAS, register

__all__ = ["ALIAS", "register"]
