"""What the client tells OpenTelemetry, with the SDK that records it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from prebuilds import NotFoundError, PrebuildFailedError, telemetry
from prebuilds import logging as log

from .both import ID, KINDS, call, using
from .scripted import Answer, ScriptedServer, a_prebuild, an_error

both = pytest.mark.parametrize("kind", KINDS)


class Recorded:
    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        self._metrics = InMemoryMetricReader()
        tracers = TracerProvider()
        tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        self.meters = MeterProvider([self._metrics])
        telemetry.instrument(tracer_provider=tracers, meter_provider=self.meters)

    @property
    def spans(self) -> Any:
        return self._spans.get_finished_spans()

    @property
    def points(self) -> dict[str, list[Any]]:
        data: Any = self._metrics.get_metrics_data()
        scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics]
        return {metric.name: list(metric.data.data_points) for scope in scopes for metric in scope.metrics}


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    recorded = Recorded()
    yield recorded
    telemetry.uninstrument()
    recorded.meters.shutdown()


@both
def test_a_call_is_a_span_with_an_event_for_each_attempt(kind, recorded):
    busy = an_error("unavailable", 503, headers={"x-request-id": "first"})
    with ScriptedServer(busy, Answer()) as server:
        call(kind, server.url)
    (span,) = recorded.spans
    assert (span.name, span.kind) == ("gitpod.v1.PrebuildService/GetPrebuild", SpanKind.CLIENT)
    assert span.attributes["rpc.system"] == "connect_rpc"
    assert (span.attributes["rpc.service"], span.attributes["rpc.method"]) == (
        "gitpod.v1.PrebuildService",
        "GetPrebuild",
    )
    assert server.url == f"http://{span.attributes['server.address']}:{span.attributes['server.port']}"
    first, second = (event.attributes for event in span.events)
    assert (first["http.response.status_code"], first["error.type"]) == (503, "UnavailableError")
    assert (first["prebuilds.attempt"], second["prebuilds.attempt"]) == (1, 2)
    assert first["prebuilds.request_id"] == "first"
    assert second["http.response.status_code"] == 200
    assert span.status.status_code is StatusCode.UNSET
    (duration,) = recorded.points["rpc.client.duration"]
    assert (duration.count, duration.attributes) == (1, span.attributes)
    assert duration.sum >= first["prebuilds.duration"] * 1000
    assert [point.value for point in recorded.points["prebuilds.client.retries"]] == [1]


@both
def test_a_failed_call_is_an_error_with_its_code(kind, recorded):
    with ScriptedServer(an_error("not_found", 404)) as server, pytest.raises(NotFoundError):
        call(kind, server.url)
    (span,) = recorded.spans
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["rpc.connect_rpc.error_code"] == "not_found"
    (duration,) = recorded.points["rpc.client.duration"]
    assert duration.attributes["error.type"] == "NotFoundError"
    assert "prebuilds.client.retries" not in recorded.points


@both
@pytest.mark.parametrize("many", [False, True])
def test_a_wait_is_measured_by_phase_and_outcome_without_ids(kind, many, recorded):
    def work(client):
        return client.prebuilds.wait_all([ID]) if many else client.prebuilds.wait(ID)

    found = a_prebuild("PREBUILD_PHASE_FAILED")
    found["id"] = ID
    answer = Answer(body={"prebuild": found, "prebuilds": [found]})
    with ScriptedServer(answer) as server, pytest.raises(Exception) as caught:  # noqa: PT011 - see below
        using(kind, work, base_url=server.url)
    assert many or isinstance(caught.value, PrebuildFailedError)
    (wait,) = recorded.points["prebuilds.wait.duration"]
    expected = {
        "prebuilds.resource": "prebuild",
        "prebuilds.phase": "FAILED",
        "prebuilds.outcome": "PrebuildFailedError",
    }
    assert wait.attributes == expected


def test_a_phase_of_a_later_version_is_not_a_new_series(recorded):
    telemetry._Telemetry(None, recorded.meters).waited("prebuild", "FROM_THE_SERVER", "reached", 1.0)
    (wait,) = recorded.points["prebuilds.wait.duration"]
    assert wait.attributes["prebuilds.phase"] == "other"


def test_nothing_is_recorded_before_or_after():
    recorded = Recorded()
    telemetry.uninstrument()
    with ScriptedServer() as server:
        call("sync", server.url)
    assert recorded.spans == ()
    recorded.meters.shutdown()


def test_the_log_can_be_json(monkeypatch, capsys):
    monkeypatch.setenv(log.VARIABLE, "json")
    monkeypatch.setattr(log, "logger", logging.Logger("prebuilds-json"))  # noqa: LOG001 - apart from the true one
    with ScriptedServer(an_error("unavailable", 503), Answer()) as server:
        log.set_up_logging()
        call("sync", server.url)
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert (first["operation"], first["attempt"], first["status"]) == ("prebuilds.retrieve", 1, 503)
    assert (first["code"], first["error"], first["level"]) == ("unavailable", "UnavailableError", "INFO")
    assert first["retry_in"] >= 0
    assert first["milliseconds"] > 0
    assert (second["attempt"], second["status"]) == (2, 200)
    assert "error" not in second
