"""Traces and metrics of the client, for OpenTelemetry.

    from prebuilds import telemetry

    telemetry.instrument()

Nothing is recorded before `instrument` is called, or if the process has no SDK of OpenTelemetry. The names follow the
semantic conventions for RPC (version 1.30):

- a span of kind CLIENT for each call, `gitpod.v1.PrebuildService/GetPrebuild`, with an event for each attempt;
- `rpc.client.duration`, a histogram of the durations of calls in milliseconds;
- `prebuilds.client.retries`, the number of attempts after the first;
- `prebuilds.wait.duration`, a histogram of the durations of waits in seconds, by phase and outcome.

Metrics have no ids among their attributes.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from prebuild_api.models import PrebuildPhase, WarmPoolPhase
from prebuilds.errors import APIError
from prebuilds.observers import observe
from prebuilds.version import __version__

try:
    from opentelemetry import metrics, trace
    from opentelemetry.trace import SpanKind, Status, StatusCode
except ImportError as error:
    from prebuilds.extras import how_to_install

    raise ImportError(how_to_install(["otel"], "prebuilds.telemetry")) from error

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, TracerProvider

    from prebuild_api.operations import Attempt, Operation

_KNOWN_PHASES = frozenset(phase.name for enum in (PrebuildPhase, WarmPoolPhase) for phase in enum)


def instrument(*, tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None) -> None:
    """Record traces and metrics of all clients in this process.

    Args:
        tracer_provider: where spans go, the provider of the process by default.
        meter_provider: where measurements go, the provider of the process by default.
    """
    observe(_Telemetry(tracer_provider, meter_provider))


def uninstrument() -> None:
    """Stop recording."""
    observe(None)


class _Telemetry:
    """Implements `prebuilds.observers.Observer`."""

    def __init__(self, tracer_provider: TracerProvider | None, meter_provider: MeterProvider | None) -> None:
        self._tracer = trace.get_tracer("prebuilds", __version__, tracer_provider)
        meter = metrics.get_meter("prebuilds", __version__, meter_provider)
        self._durations = meter.create_histogram("rpc.client.duration", "ms", "Durations of calls")
        self._retries = meter.create_counter("prebuilds.client.retries", "{retry}", "Attempts after the first")
        self._waits = meter.create_histogram("prebuilds.wait.duration", "s", "Durations of waits")

    def call(self, operation: Operation[Any, Any], base_url: str) -> _Call:
        attributes = _attributes(operation.path, base_url)
        span = self._tracer.start_span(operation.path.lstrip("/"), kind=SpanKind.CLIENT, attributes=attributes)
        return _Call(self, span, attributes)

    def ended(self, attributes: dict[str, str | int], milliseconds: float, retries: int) -> None:
        self._durations.record(milliseconds, attributes)
        if retries:
            self._retries.add(retries, attributes)

    def waited(self, resource: str, phase: str, outcome: str, seconds: float) -> None:
        known = phase if phase in _KNOWN_PHASES else "other"
        self._waits.record(
            seconds,
            {"prebuilds.resource": resource, "prebuilds.phase": known, "prebuilds.outcome": outcome},
        )


class _Call:
    """Implements `prebuilds.observers.CallObserver`."""

    __slots__ = ("_attempts", "_attributes", "_begin", "_span", "_telemetry")

    def __init__(self, telemetry: _Telemetry, span: Span, attributes: dict[str, str | int]) -> None:
        self._telemetry = telemetry
        self._span = span
        self._attributes = attributes
        self._attempts = 0
        self._begin = time.perf_counter()

    def attempt(self, attempt: Attempt) -> None:
        self._attempts = attempt.number
        if not self._span.is_recording():
            return
        found: dict[str, str | int | float | None] = {
            "prebuilds.attempt": attempt.number,
            "prebuilds.duration": attempt.duration,
            "prebuilds.retry_in": attempt.retry_in,
            "prebuilds.request_id": attempt.request_id,
            "http.response.status_code": attempt.status,
            "error.type": None if attempt.error is None else type(attempt.error).__name__,
        }
        self._span.add_event("attempt", {name: value for name, value in found.items() if value is not None})

    def end(self, error: BaseException | None) -> None:
        attributes = self._attributes
        if error is not None:
            attributes = {**attributes, **_failure(error)}
            if self._span.is_recording():
                self._span.set_attributes(_failure(error))
                self._span.set_status(Status(StatusCode.ERROR, str(error)[:_MAX_TEXT]))
        self._span.end()
        self._telemetry.ended(attributes, (time.perf_counter() - self._begin) * 1000, max(0, self._attempts - 1))


_MAX_TEXT = 500


def _failure(error: BaseException) -> dict[str, str | int]:
    found: dict[str, str | int] = {"error.type": type(error).__name__}
    if isinstance(error, APIError):
        found["rpc.connect_rpc.error_code"] = str(error.code)
    return found


@lru_cache(maxsize=256)
def _attributes(path: str, base_url: str) -> dict[str, str | int]:
    """The attributes of a call, which are read-only."""
    service, _, method = path.strip("/").partition("/")
    parts = urlsplit(base_url)
    return {
        "rpc.system": "connect_rpc",
        "rpc.service": service,
        "rpc.method": method,
        "server.address": parts.hostname or "",
        "server.port": parts.port or (443 if parts.scheme == "https" else 80),
    }
