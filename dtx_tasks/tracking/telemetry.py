"""The same series by OpenTelemetry (OTLP over HTTP), for whoever watches all of a platform in one place; VictoriaMetrics takes it as it is."""

from __future__ import annotations

import json
import os
from functools import cached_property
from typing import TYPE_CHECKING, Any

from dtx_tasks.errors import TransientError
from dtx_tasks.storage import read_lines
from dtx_tasks.tracking.series import figures

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics.export import MetricsData

    from dtx_tasks.records import FinetuneJob, Layout, StageDocument

ENDPOINTS = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
HTTP = "http/protobuf"
BATCH = 2000
"""Points in one request: some hundred KB."""


def is_configured() -> bool:
    """Whether OpenTelemetry's own variables name an endpoint for metrics, and do not switch it off."""
    return _first(ENDPOINTS) != "" and os.environ.get("OTEL_SDK_DISABLED", "").lower() != "true"


class Telemetry:
    """Sends what one job tells of from here on.

    Args:
        job: Which job.
        document: Any document of its experiment.
        layout: Where its events are.
    """

    def __init__(self, job: FinetuneJob, document: StageDocument, layout: Layout) -> None:
        self._uri = f"{layout.job(job.job_id)}/events.jsonl"
        self._labels = {
            "dtx.team": document.team,
            "dtx.experiment": document.experiment_name,
            "dtx.plan_id": document.plan_id,
            "dtx.job_id": job.job_id,
            "dtx.job": job.name,
            "dtx.llm": job.llm.name,
            "dtx.dataset": job.dataset_name,
        }
        # Earlier attempts have sent theirs.
        self._offset = read_lines(self._uri)[1]

    def send(self) -> None:
        """Sends what is new; what could not be sent is sent the next time, at its own time.

        Raises:
            TransientError: The endpoint did not take it.
        """
        from opentelemetry.sdk.metrics.export import MetricExportResult

        if _first(PROTOCOLS) not in ("", HTTP):
            raise TransientError(f"Figures are sent by {HTTP} only, and OTEL_EXPORTER_OTLP_PROTOCOL is {_first(PROTOCOLS)}.")
        lines, offset = read_lines(self._uri, self._offset)
        if lines and self._exporter.export(_points(map(json.loads, lines), self._labels)) is not MetricExportResult.SUCCESS:
            raise TransientError(f"{_first(ENDPOINTS)} did not take the figures.")
        self._offset = offset

    @cached_property
    def _exporter(self) -> OTLPMetricExporter:
        """It reads its endpoint, headers, certificates and timeout from the environment."""
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

        return OTLPMetricExporter(max_export_batch_size=BATCH)


def _first(names: Iterable[str]) -> str:
    return next((value for name in names if (value := os.environ.get(name, "").strip())), "")


def _points(events: Iterable[dict[str, Any]], labels: dict[str, str]) -> MetricsData:
    from opentelemetry.sdk.metrics.export import Gauge, Metric, MetricsData, NumberDataPoint, ResourceMetrics, ScopeMetrics
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    series: dict[str, list[NumberDataPoint]] = {}
    for event in events:
        at = int(event["at"] * 1e9)
        found = figures(event)
        for name, value in {**found, **({"train/step": float(event["step"])} if found else {})}.items():
            series.setdefault(f"dtx.{name.replace('/', '.')}", []).append(NumberDataPoint(labels, at, at, value))
    metrics = [Metric(name, description="", unit="", data=Gauge(points)) for name, points in series.items()]
    resource = Resource({"service.name": "dtx"}).merge(OTELResourceDetector().detect())
    return MetricsData([ResourceMetrics(resource, [ScopeMetrics(InstrumentationScope("dtx"), metrics, "")], "")])
