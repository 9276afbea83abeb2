"""The embedded stack: Airflow's and MLflow's processes on one machine, for a laptop and for tests."""

from dtx_tasks.stack.environment import airflow_environment
from dtx_tasks.stack.lifecycle import down, status, up
from dtx_tasks.stack.ports import Ports
from dtx_tasks.stack.state import Component, StackError, StackState
from dtx_tasks.stack.use import is_brief, start_briefly, stay_up, used

__all__ = [
    "Component",
    "Ports",
    "StackError",
    "StackState",
    "airflow_environment",
    "down",
    "is_brief",
    "start_briefly",
    "status",
    "stay_up",
    "up",
    "used",
]
