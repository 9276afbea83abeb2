"""Figures that leave by OTLP, as a collector takes them: a real server decodes what it is sent."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from dtx_tasks.errors import TransientError
from dtx_tasks.storage import append_line
from dtx_tasks.tracking import published_live
from dtx_tasks.tracking.telemetry import ENDPOINTS, Telemetry, is_configured
from tests.builders import Store, make_plan

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PLAN = make_plan()
JOB, PACK = PLAN.jobs[0], PLAN.packs[0]
NOBODY = "http://127.0.0.1:9/v1/metrics"


class Collector:
    """A server of the protocol, on a port of its own, and what it was sent."""

    def __init__(self) -> None:
        self.status = 200
        self.requests: list[ExportMetricsServiceRequest] = []
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if collector.status == 200:
                    collector.paths.append(self.path)
                    collector.headers.append(dict(self.headers))
                    collector.requests.append(ExportMetricsServiceRequest.FromString(body))
                self.send_response(collector.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """It has nothing to say."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        """Without a path."""
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def points(self) -> dict[str, list[tuple[float, float]]]:
        """(seconds since 1970, value) of each series, in the order in which they came."""
        found: dict[str, list[tuple[float, float]]] = {}
        for metric in self._metrics():
            found.setdefault(metric.name, []).extend((point.time_unix_nano / 1e9, point.as_double) for point in metric.gauge.data_points)
        return found

    def labels(self) -> dict[str, str]:
        """Those of any point; all have the same."""
        point = next(self._metrics()).gauge.data_points[0]
        return {item.key: item.value.string_value for item in point.attributes}

    def _metrics(self) -> Iterator[Any]:
        return (metric for request in self.requests for resource in request.resource_metrics for scope in resource.scope_metrics for metric in scope.metrics)


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """Named by OpenTelemetry's own variable."""
    made = Collector()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", made.address)
    yield made
    made.server.shutdown()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Where a job tells its events, with nothing else to publish to."""
    for name in (*ENDPOINTS, "MLFLOW_TRACKING_URI", "OTEL_SDK_DISABLED", "OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"):
        monkeypatch.delenv(name, raising=False)
    return Store(tmp_path, PLAN)


def tell(store: Store, *events: dict[str, Any]) -> None:
    for event in events:
        append_line(f"{store.layout.job(JOB.job_id)}/events.jsonl", json.dumps(event))


def step(number: int, loss: float | None) -> dict[str, Any]:
    return {
        "event": "step",
        "step": number,
        "total": 9,
        "loss": loss,
        "lr": 1e-4,
        "metrics": {"rewards/margins": 0.5},
        "system": {"cpu_utilization_percentage": 40.0},
        "at": 1000.0 + number,
    }


def test_every_step_leaves_at_its_own_time_and_once(store: Store, collector: Collector) -> None:
    """Losses, rewards, the machine's figures and validations, each a series; what was told before this attempt was sent by that one."""
    tell(store, step(1, 3.0))
    sending = Telemetry(JOB, PACK, store.layout)
    tell(store, step(2, 2.5), {"event": "checkpoint", "step": 2, "at": 1002.5})
    sending.send()
    tell(store, step(3, None), {"event": "validation", "step": 3, "loss": 2.0, "perplexity": 7.4, "metrics": {}, "at": 1003.5})
    sending.send()
    sending.send()
    assert collector.points() == {
        "dtx.train.loss": [(1002.0, 2.5)],
        "dtx.train.learning_rate": [(1002.0, 1e-4), (1003.0, 1e-4)],
        "dtx.train.rewards.margins": [(1002.0, 0.5), (1003.0, 0.5)],
        "dtx.system.cpu_utilization_percentage": [(1002.0, 40.0), (1003.0, 40.0)],
        "dtx.train.step": [(1002.0, 2.0), (1003.0, 3.0), (1003.5, 3.0)],
        "dtx.eval.loss": [(1003.5, 2.0)],
        "dtx.eval.perplexity": [(1003.5, 7.4)],
    }
    assert collector.paths == ["/v1/metrics"] * 2


def test_series_say_whose_they_are(store: Store, collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """Team, experiment and job are labels; names of the service and headers come from OpenTelemetry's own variables."""
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=lab")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=secret")
    sending = Telemetry(JOB, PACK, store.layout)
    tell(store, step(1, 3.0))
    sending.send()
    assert collector.labels() == {
        "dtx.team": "default",
        "dtx.experiment": PACK.experiment_name,
        "dtx.plan_id": PLAN.plan_id,
        "dtx.job_id": JOB.job_id,
        "dtx.job": JOB.name,
        "dtx.llm": JOB.llm.name,
        "dtx.dataset": JOB.dataset_name,
    }
    (resource,) = collector.requests[0].resource_metrics
    assert {item.key: item.value.string_value for item in resource.resource.attributes} == {"service.name": "dtx", "deployment.environment": "lab"}
    assert collector.headers[0]["authorization"] == "secret"


def test_endpoint_of_metrics_alone_is_used_as_it_is_written(store: Store, collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """VictoriaMetrics has a path of its own."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", f"{collector.address}/opentelemetry/v1/metrics")
    sending = Telemetry(JOB, PACK, store.layout)
    tell(store, step(1, 3.0))
    sending.send()
    assert collector.paths == ["/opentelemetry/v1/metrics"]


def test_what_could_not_be_sent_is_sent_later_at_its_own_time(store: Store, collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """The collector may be away for a while."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "1")
    sending = Telemetry(JOB, PACK, store.layout)
    tell(store, step(1, 3.0))
    collector.status = 503
    with pytest.raises(TransientError, match=f"^{collector.address} did not take the figures.$"):
        sending.send()
    collector.status = 200
    tell(store, step(2, 2.0))
    sending.send()
    assert collector.points()["dtx.train.loss"] == [(1001.0, 3.0), (1002.0, 2.0)]


def test_training_goes_on_while_the_endpoint_is_away(store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Sending is done beside it, and a failure is only told."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", NOBODY)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "1")
    with published_live([JOB], PACK, store.layout):
        tell(store, step(1, 3.0))
    assert f"Not published yet, training goes on: {NOBODY} did not take the figures." in capsys.readouterr().out


def test_last_figures_are_sent_when_training_ends(store: Store, collector: Collector) -> None:
    """Also when it was shorter than the interval."""
    with published_live([JOB], PACK, store.layout):
        tell(store, step(1, 3.0))
    assert collector.points()["dtx.train.loss"] == [(1001.0, 3.0)]


def test_another_protocol_is_told(store: Store, collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would not be understood on the other side."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with pytest.raises(TransientError, match=r"sent by http/protobuf only, and OTEL_EXPORTER_OTLP_PROTOCOL is grpc"):
        Telemetry(JOB, PACK, store.layout).send()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": NOBODY}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": NOBODY}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": NOBODY, "OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_it_is_configured_by_an_endpoint(settings: dict[str, str], expected: bool, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """By default nothing leaves."""
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert is_configured() is expected
