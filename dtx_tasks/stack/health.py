"""Ask the components of a stack whether they work, rather than whether they exist."""

from __future__ import annotations

import ssl
from dataclasses import replace
from datetime import datetime
from typing import Any

import httpx

from dtx_tasks.stack import components
from dtx_tasks.stack.state import Component, StackState

# The first request to the execution API makes Airflow build it, which takes 4 s.
_TIMEOUT_S = 15.0
# Plain HTTP on this machine: loading the certificates of the world takes 30 ms, at every check.
_NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_HEALTH_KEYS = {components.SCHEDULER: "scheduler", components.DAG_PROCESSOR: "dag_processor", components.TRIGGERER: "triggerer"}


def check(state: StackState) -> StackState:
    """Return the state with what each component answered just now."""
    airflow, mlflow = _fetch_airflow(state.airflow_url), _fetch_mlflow(state.mlflow_url)
    checked = tuple(_check(component, airflow, mlflow) for component in state.components)
    return replace(state, components=checked)


def _check(component: Component, airflow: dict[str, Any] | str, mlflow: str) -> Component:
    if component.pid is None:
        return component if component.problem else replace(component, problem="it is about to start")
    if component.name == components.MLFLOW:
        return replace(component, problem=mlflow)
    if component.name == components.DATABASE:
        return replace(component, problem="it is being set up")
    if isinstance(airflow, str):
        return replace(component, problem=airflow)
    if component.name == components.API_SERVER:
        return component
    return replace(component, problem=_read_heartbeat(component, airflow))


def _read_heartbeat(component: Component, airflow: dict[str, Any]) -> str:
    """Return what is wrong with a component that proves its health by heartbeats."""
    key = _HEALTH_KEYS[component.name]
    values = airflow[key]
    heartbeat_at = values[f"latest_{key}_heartbeat"]
    # Right after a start, the heartbeat may still be that of the process before this one.
    if heartbeat_at is None or _time(heartbeat_at) < _time(component.started_at):
        return "it is starting"
    return "" if values["status"] == "healthy" else f"its last heartbeat was at {heartbeat_at}"


def _fetch_airflow(url: str) -> dict[str, Any] | str:
    """Return the answer of Airflow's health check, or what is wrong with the API server."""
    response = _get(f"{url}/api/v2/monitor/health")
    if isinstance(response, str):
        return response
    health: dict[str, Any] = response.json()
    if health["metadatabase"]["status"] != "healthy":
        return "the API server cannot read Airflow's database"
    # What tasks talk to: without it they cannot start, and it is built at this first request.
    execution = _get(f"{url}/execution/health")
    return execution if isinstance(execution, str) else health


def _fetch_mlflow(url: str) -> str:
    response = _get(f"{url}/health")
    return response if isinstance(response, str) else ""


def _get(url: str) -> httpx.Response | str:
    try:
        # These servers are on this machine: proxies of the environment are not asked.
        response = httpx.get(url, timeout=_TIMEOUT_S, trust_env=False, verify=_NO_CERTIFICATES)
    except httpx.ConnectError:
        return "it does not listen yet"
    except httpx.TransportError as error:
        return f"{url} does not answer ({type(error).__name__})"
    return response if response.status_code == httpx.codes.OK else f"{url} answered {response.status_code}"


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
