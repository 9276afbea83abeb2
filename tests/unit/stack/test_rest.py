"""The REST client, against a server that answers as Airflow does."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from dtx_tasks.stack.rest import Airflow, AirflowRefused, AirflowUnreachable

Answer = tuple[int, Any]
Answers = Callable[[str, str, dict[str, Any], str], Answer]


@contextmanager
def airflow(answer: Answers, *, username: str = "", password: str = "") -> Iterator[Airflow]:
    """Serve `answer(method, path, body, token)` and yield a client of it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "{}")
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            status, values = answer(self.command, self.path, body, token)
            text = json.dumps(values).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_POST = do_PATCH = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            """Keep the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        with Airflow(url, username=username, password=password, token="" if username else "t") as client:
            yield client
    finally:
        server.shutdown()
        server.server_close()


def run(run_id: str = "r", state: str = "running") -> dict[str, Any]:
    return {"dag_run_id": run_id, "state": state, "conf": None, "start_date": "2026-01-01T00:00:00Z", "end_date": None}


def instance(map_index: int) -> dict[str, Any]:
    names = {"task_id": "train", "map_index": map_index, "rendered_map_index": f"pack-{map_index}"}
    return names | {"state": "success", "try_number": 1, "start_date": None, "end_date": None}


def test_expired_token_is_replaced() -> None:
    """A token that Airflow no longer takes is fetched again, and the request repeated."""
    tokens = iter(["old", "new"])

    def answer(method: str, path: str, body: dict[str, Any], token: str) -> Answer:
        if path == "/auth/token":
            assert body == {"username": "admin", "password": "p"}
            return 201, {"access_token": next(tokens)}
        return (200, run()) if token == "new" else (401, {"detail": "expired"})

    with airflow(answer, username="admin", password="p") as client:
        assert client.dag_run("d", "r").state == "running"


def test_refused_token_is_an_error() -> None:
    """A token without a login cannot be replaced, and Airflow's reason is passed on."""
    with (
        airflow(lambda *_: (401, {"detail": "Invalid token"})) as client,
        pytest.raises(AirflowRefused, match="401, Invalid token") as refused,
    ):
        client.dag_run("d", "r")
    assert refused.value.status_code == 401


def test_wrong_password_is_an_error() -> None:
    """A login that Airflow refuses is not tried for ever."""
    with (
        airflow(lambda *_: (401, {"detail": "Invalid credentials"}), username="a", password="b") as client,
        pytest.raises(AirflowRefused, match="Invalid credentials"),
    ):
        client.dag_run("d", "r")


def test_trigger_returns_the_id() -> None:
    """A new run has no logical date, so that any number of them can run at a time."""

    def answer(method: str, path: str, body: dict[str, Any], token: str) -> Answer:
        assert body == {"logical_date": None, "conf": {"a": 1}}
        return 200, run("manual__1")

    with airflow(answer) as client:
        assert client.trigger("d", {"a": 1}) == "manual__1"


def test_run_that_is_there_is_returned() -> None:
    """Triggering twice with one id starts one run."""

    def answer(method: str, path: str, body: dict[str, Any], token: str) -> Answer:
        return (409, {"detail": "already exists"}) if method == "POST" else (200, run("mine"))

    with airflow(answer) as client:
        assert client.trigger("d", {}, "mine") == "mine"


def test_run_ids_are_quoted() -> None:
    """An id with a plus sign, as every id that Airflow makes has, is one part of the path."""
    paths: list[str] = []

    def answer(method: str, path: str, body: dict[str, Any], token: str) -> Answer:
        paths.append(path)
        return 200, run()

    with airflow(answer) as client:
        client.dag_run("d", "manual__12:00+00:00/x")
    assert paths == ["/api/v2/dags/d/dagRuns/manual__12%3A00%2B00%3A00%2Fx"]


def test_all_pages_are_read() -> None:
    """More task instances than fit on a page are all returned, in order."""

    def answer(method: str, path: str, body: dict[str, Any], token: str) -> Answer:
        offset = int(path.split("offset=")[1].split("&", maxsplit=1)[0])
        indexes = range(offset, min(offset + 100, 250))
        return 200, {"task_instances": [instance(249 - index) for index in indexes], "total_entries": 250}

    with airflow(answer) as client:
        found = client.task_instances("d", "r")
    assert [task.map_index for task in found] == list(range(250))
    assert found[3].name == "pack-3"


def test_finished_run_is_not_cancelled() -> None:
    """A run that has succeeded is not turned into a failure."""

    def answer(method: str, path: str, body: dict[str, Any], token: str) -> Answer:
        assert method == "GET"
        return 200, run(state="success")

    with airflow(answer) as client:
        client.cancel("d", "r")


def test_cancelled_run_that_the_scheduler_calls_a_success_is_failed_again() -> None:
    """The scheduler may have read the run before it was failed, and its tasks after they were skipped."""
    states, notes = ["running"], []

    def answer(method: str, path: str, body: dict[str, Any], token: str) -> Answer:
        if method == "PATCH":
            notes.append(body["note"])
            states.append("failed" if len(notes) > 1 else "success")
        return 200, run(state=states[-1])

    with airflow(answer) as client:
        client.cancel("d", "r", "mine")
    assert (states, notes) == (["running", "success", "failed"], ["mine", "mine"])


def test_missing_dag_is_explained() -> None:
    """A DAG that does not appear is explained by the errors of DAG files."""

    def answer(method: str, path: str, body: dict[str, Any], token: str) -> Answer:
        if "importErrors" in path:
            error = {"filename": "train.py", "stack_trace": "SyntaxError: oops"}
            return 200, {"import_errors": [error], "total_entries": 1}
        return 404, {"detail": "not found"}

    with (
        airflow(answer) as client,
        pytest.raises(AirflowRefused, match=r"no DAG 'd' after 0 s(.|\n)*train\.py: SyntaxError: oops"),
    ):
        client.wait_for_dag("d", timeout_s=0)


def test_log_is_text_with_tracebacks() -> None:
    """Structured events become lines, and an exception its traceback."""
    error = {
        "exc_type": "ValueError",
        "exc_value": "bang",
        "frames": [{"filename": "a.py", "lineno": 3, "name": "f"}],
    }
    events = [{"event": "hello", "level": "info"}, {"event": "failed", "level": "error", "error_detail": [error]}]
    with airflow(lambda *_: (200, {"content": events, "continuation_token": None})) as client:
        lines = client.log("d", "r", "t")
    assert lines == [
        "INFO hello",
        "ERROR failed",
        "Traceback (most recent call last):",
        '  File "a.py", line 3, in f',
        "ValueError: bang",
    ]


def test_nobody_there_is_unreachable() -> None:
    """An address where nothing listens is told apart from an Airflow that says no."""
    with (
        Airflow("http://127.0.0.1:9", token="t") as client,
        pytest.raises(AirflowUnreachable, match=r"http://127\.0\.0\.1:9: Airflow does not answer"),
    ):
        client.dag_run("d", "r")


def test_gateway_without_airflow_is_unreachable() -> None:
    """A load balancer that finds no Airflow behind it is not an answer of Airflow."""
    with airflow(lambda *_: (503, {})) as client, pytest.raises(AirflowUnreachable, match="a gateway answered 503"):
        client.dag_run("d", "r")
