"""Drive any Airflow 3.3 through its REST API: the embedded one, or a platform's."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

import httpx

_PAGE_SIZE = 100  # [api] maximum_page_limit
_SETTLED_S = 2.0  # longer than a scheduler takes to decide about one run
_LOCAL_HOSTS = {"127.0.0.1", "localhost", "::1"}
FINISHED_STATES = frozenset({"success", "failed"})


class AirflowUnreachable(Exception):
    """Nothing answered at the address, or no more than half an answer came."""


class AirflowRefused(Exception):
    """Airflow answered that it will not do it; `status_code` is HTTP's."""

    def __init__(self, message: str, status_code: int) -> None:
        super().__init__(message)
        self.status_code = status_code


@dataclass(frozen=True)
class DagRun:
    """One run of a DAG, as Airflow sees it."""

    run_id: str
    state: str
    """queued, running, success or failed."""
    conf: dict[str, Any]
    started_at: datetime | None
    ended_at: datetime | None
    note: str = ""
    """What somebody wrote beside it."""

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end, whichever."""
        return self.state in FINISHED_STATES


@dataclass(frozen=True)
class TaskInstance:
    """One task of a run; each element of a mapped task is one of them."""

    task_id: str
    map_index: int
    """-1 for a task that is not mapped, or not yet."""
    name: str
    """The rendered map index: what the grid shows for an element."""
    state: str | None
    """None before it is scheduled."""
    try_number: int
    started_at: datetime | None
    ended_at: datetime | None


class Airflow:
    """A client of one Airflow; usable as a context manager.

    Args:
        base_url: Where Airflow is, with the prefix it may be served under.
        username: For POST /auth/token; the password with it.
        password: See above.
        token: A bearer token in their place; it is not renewed.
        timeout_s: For one request.
    """

    def __init__(
        self,
        base_url: str,
        *,
        username: str = "",
        password: str = "",
        token: str = "",
        timeout_s: float = 30,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._login = {"username": username, "password": password} if username else None
        self._token = token
        # A proxy that the environment names cannot reach this machine's own loopback.
        trust_env = urlsplit(base_url).hostname not in _LOCAL_HOSTS
        self._client = httpx.Client(timeout=timeout_s, trust_env=trust_env)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def trigger(self, dag_id: str, conf: Mapping[str, Any], run_id: str | None = None) -> str:
        """Start a run, unless one of this id is there already.

        Args:
            dag_id: The DAG.
            conf: The run's configuration.
            run_id: An id chosen by the caller makes this safe to repeat; None has Airflow make one.

        Returns:
            The id of the run.

        Raises:
            AirflowRefused: The DAG does not exist, or its params refuse the configuration.
        """
        body = {"logical_date": None, "conf": dict(conf)} | ({"dag_run_id": run_id} if run_id else {})
        response = self._send("POST", f"{_dag(dag_id)}/dagRuns", json=body)
        if response.status_code == httpx.codes.CONFLICT and run_id:
            return self.dag_run(dag_id, run_id).run_id
        return str(self._json(response)["dag_run_id"])

    def dag_run(self, dag_id: str, run_id: str) -> DagRun:
        """Return a run."""
        values = self._get(_run(dag_id, run_id))
        return DagRun(
            run_id=values["dag_run_id"],
            state=values["state"],
            conf=values["conf"] or {},
            note=values.get("note") or "",
            started_at=_time(values["start_date"]),
            ended_at=_time(values["end_date"]),
        )

    def latest_run(self, dag_id: str) -> str | None:
        """Return the id of the newest run of a DAG, or None where it has none."""
        found = self._get(f"{_dag(dag_id)}/dagRuns", order_by="-run_after", limit=1)["dag_runs"]
        return str(found[0]["dag_run_id"]) if found else None

    def task_instances(self, dag_id: str, run_id: str) -> list[TaskInstance]:
        """Return all task instances of a run, in the order of their ids and map indexes."""
        values = self._pages(f"{_run(dag_id, run_id)}/taskInstances", "task_instances")
        found = [_task_instance(value) for value in values]
        return sorted(found, key=lambda instance: (instance.task_id, instance.map_index))

    def log(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1, try_number: int = 1) -> list[str]:
        """Return the log of one attempt, one line of text for each event, with tracebacks."""
        values = self._get(
            f"{_run(dag_id, run_id)}/taskInstances/{quote(task_id, safe='')}/logs/{try_number}",
            map_index=map_index,
            full_content=True,
        )
        return [line for event in values["content"] for line in _log_lines(event)]

    def xcom(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1, key: str = "return_value") -> Any:
        """Return what a task pushed."""
        instance = f"{_run(dag_id, run_id)}/taskInstances/{quote(task_id, safe='')}"
        path = f"{instance}/xcomEntries/{quote(key, safe='')}"
        return self._get(path, map_index=map_index, deserialize=True)["value"]

    def cancel(self, dag_id: str, run_id: str, note: str = "") -> None:
        """Fail a run: tasks that run are failed and learn it at their next heartbeat.

        Airflow then sends SIGTERM to the task, which calls its operator's `on_kill`, and SIGKILL
        five seconds later; tasks that have not started are skipped. A run that ended stays as it is.
        A scheduler that was deciding about the run in that moment, on a database without row locks,
        takes the skipped tasks for a success and writes that over it: then it is said again.
        """
        if self.dag_run(dag_id, run_id).finished:
            return
        deadline = time.monotonic() + _SETTLED_S
        while time.monotonic() < deadline:
            if self.dag_run(dag_id, run_id).state != "failed":
                self._json(self._send("PATCH", _run(dag_id, run_id), json={"state": "failed", "note": note}))
            time.sleep(0.2)

    def import_errors(self) -> dict[str, str]:
        """Return what is wrong with DAG files that cannot be loaded, by their names."""
        errors = self._pages("/importErrors", "import_errors")
        return {error["filename"]: error["stack_trace"] for error in errors}

    def wait_for_dag(self, dag_id: str, timeout_s: float = 60) -> None:
        """Wait until Airflow has read a DAG.

        Raises:
            AirflowRefused: It was not there in time; the text has the errors of DAG files.
        """
        deadline = time.monotonic() + timeout_s
        while (response := self._send("GET", _dag(dag_id))).status_code == httpx.codes.NOT_FOUND:
            if time.monotonic() > deadline:
                raise AirflowRefused(self._explain_missing(dag_id, timeout_s), response.status_code)
            time.sleep(0.5)
        self._json(response)

    def _explain_missing(self, dag_id: str, timeout_s: float) -> str:
        errors = "\n".join(f"{name}: {text}" for name, text in self.import_errors().items())
        reason = f"These DAG files have errors:\n{errors}" if errors else "No DAG file has an error."
        return f"{self.base_url}: there is no DAG {dag_id!r} after {timeout_s:.0f} s. {reason}"

    def _pages(self, path: str, key: str) -> list[dict[str, Any]]:
        """Return the items of all pages; ordered by id, so that none is missed between pages."""
        items: list[dict[str, Any]] = []
        while True:
            page = self._get(path, limit=_PAGE_SIZE, offset=len(items), order_by="id")
            items += page[key]
            if not page[key] or len(items) >= page["total_entries"]:
                return items

    def _get(self, path: str, **query: str | int | bool) -> Any:
        return self._json(self._send("GET", path, params=query))

    def _json(self, response: httpx.Response) -> Any:
        """Return the body of a success.

        Raises:
            AirflowRefused: It is not one.
            AirflowUnreachable: What answered is not Airflow, or is starting.
        """
        if response.status_code in (502, 503, 504):
            raise AirflowUnreachable(f"{self.base_url}: a gateway answered {response.status_code}.")
        if not response.is_success:
            text = f"{response.request.method} {response.url}: {response.status_code}, {_detail(response)}"
            raise AirflowRefused(text, response.status_code)
        try:
            return response.json()
        except ValueError as error:
            raise AirflowUnreachable(f"{response.url}: the answer is not JSON. Is this the address of an Airflow 3?") from error

    def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Send a request with a token; a token that has expired is replaced once."""
        if not self._token and self._login:
            self._token = self._fetch_token()
        response = self._request(method, path, **arguments)
        if response.status_code == httpx.codes.UNAUTHORIZED and self._login:
            self._token = self._fetch_token()
            response = self._request(method, path, **arguments)
        return response

    def _fetch_token(self) -> str:
        response = self._reach("POST", f"{self.base_url}/auth/token", json=self._login)
        return str(self._json(response)["access_token"])

    def _request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}
        return self._reach(method, f"{self.base_url}/api/v2{path}", headers=headers, **arguments)

    def _reach(self, method: str, url: str, **arguments: Any) -> httpx.Response:
        try:
            return self._client.request(method, url, **arguments)
        except httpx.TransportError as error:
            raise AirflowUnreachable(
                f"{self.base_url}: Airflow does not answer ({error or type(error).__name__}). Is it running, and is this its address?"
            ) from error


def _dag(dag_id: str) -> str:
    return f"/dags/{quote(dag_id, safe='')}"


def _run(dag_id: str, run_id: str) -> str:
    return f"{_dag(dag_id)}/dagRuns/{quote(run_id, safe='')}"


def _task_instance(values: dict[str, Any]) -> TaskInstance:
    return TaskInstance(
        task_id=values["task_id"],
        map_index=values["map_index"],
        name=values["rendered_map_index"] or "",
        state=values["state"],
        try_number=values["try_number"],
        started_at=_time(values["start_date"]),
        ended_at=_time(values["end_date"]),
    )


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _detail(response: httpx.Response) -> str:
    """Return what Airflow says is wrong, which is a text, or a list of what a validator found."""
    try:
        detail = response.json()["detail"]
    except (ValueError, KeyError, TypeError):
        return response.text[:500] or response.reason_phrase
    return detail if isinstance(detail, str) else str(detail)


def _log_lines(event: dict[str, Any] | str) -> list[str]:
    """Return an event of a task's log as text."""
    if isinstance(event, str):
        return [event]
    head = [event.get("timestamp"), event.get("level", "").upper(), event["event"]]
    lines = " ".join(part for part in head if part).splitlines() or [""]
    return lines + [line for error in event.get("error_detail") or [] for line in _traceback(error)]


def _traceback(error: dict[str, Any]) -> list[str]:
    frames = [f'  File "{frame["filename"]}", line {frame["lineno"]}, in {frame["name"]}' for frame in error.get("frames") or []]
    return ["Traceback (most recent call last):", *frames, f"{error['exc_type']}: {error['exc_value']}"]
