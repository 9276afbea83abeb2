"""The embedded stack: Airflow's and MLflow's processes on one machine, for a laptop and for tests."""

from dtx_tasks.stack.environment import airflow_environment
from dtx_tasks.stack.lifecycle import down, status, up
from dtx_tasks.stack.ports import Ports
from dtx_tasks.stack.state import Component, StackError, StackState

__all__ = ["Component", "Ports", "StackError", "StackState", "airflow_environment", "down", "status", "up"]
