"""The request log: each request to the service with its status and duration, without tokens and bodies."""

from __future__ import annotations

import functools
import itertools
import json
import time
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol, cast
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from prebuild_wire import OPERATIONS

from .clock import Clock

CONTROL_PATH: Final = "/_emulator"
"""The path of the control plane. Its requests are not recorded."""

LOGS: Final = "logs"
"""The name for reading a log, which is not a method of the service."""

MOST_RECORDS: Final = 1000
"""The maximum number of recorded requests; the latest ones stay."""

request_number: ContextVar[int] = ContextVar("request_number", default=0)
"""The number of the current request."""

_MOST_PATH = 300
_CODECS = {"application/json": "json", "application/proto": "proto"}


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """A completed or interrupted request."""

    number: int
    """Counts up with each request since the emulator started."""

    at: datetime
    """When the request arrived, in emulated time."""

    method: str | None
    """The method of the service, `logs` for a log, null for an unknown path."""

    http_method: str
    """The HTTP method, for example POST or GET."""

    path: str
    """The path, without the query."""

    codec: str | None
    """The codec of the message, `json` or `proto`; null for any other."""

    status: int | None
    """The HTTP status of the response; null if the connection closed without a response."""

    code: str | None
    """The Connect code of an error."""

    milliseconds: float
    """The duration, in real time."""

    fault: int | None
    """The id of the planned fault that the request got."""


class Observation(Protocol):
    """The observation of one request."""

    async def receive(self) -> Message:
        """Replace the `receive` of the request."""
        ...

    async def send(self, message: Message) -> None:
        """Replace the `send` of the request."""
        ...

    def finish(self, record: RequestRecord) -> None:
        """Handle the end of the request, complete or interrupted."""
        ...


class Observer(Protocol):
    """An observer of all requests with their bodies."""

    def begin(self, number: int, at: datetime, scope: Scope, receive: Receive, send: Send) -> Observation:
        """Handle the start of a request."""
        ...

    def forget(self) -> None:
        """Handle the removal of the recorded requests."""
        ...


class Recorder:
    """An ASGI application that records the requests to another application.

    Args:
        app: the application that handles the requests.
        clock: the source of the arrival times.
        on_record: called with each record.
    """

    def __init__(self, app: ASGIApp, clock: Clock, on_record: Callable[[RequestRecord], None] | None = None) -> None:
        self._app = app
        self._clock = clock
        self._on_record = on_record
        # The fields of the records: creating a record takes longer than many requests.
        self._latest: deque[tuple[Any, ...]] = deque(maxlen=MOST_RECORDS)
        self._numbers = itertools.count(1)
        self.observer: Observer | None = None
        """Observes each request from now on."""

    def records(self, limit: int = MOST_RECORDS) -> list[RequestRecord]:
        """Return the latest requests, in the order in which they completed."""
        latest = list(self._latest)
        return [_record(*parts) for parts in latest[-limit:]] if limit else []

    def clear(self) -> None:
        """Remove the recorded requests. The numbering continues."""
        self._latest.clear()
        if self.observer is not None:
            self.observer.forget()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        number = next(self._numbers)
        request_number.set(number)
        at, begin = self._clock.now(), time.perf_counter()
        status: int | None = None
        error = b""
        observation = None
        if self.observer is not None:
            observation = self.observer.begin(number, at, scope, receive, send)
            receive, send = observation.receive, observation.send

        async def watch(message: Message) -> None:
            nonlocal status, error
            if status is None:
                status = message["status"]
            elif status >= 400 and not error:
                error = message.get("body", b"")
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            parts = (
                number,
                at,
                scope["method"],
                scope["path"][:_MOST_PATH],
                _codec(scope),
                status,
                _code(error) if error else None,
                time.perf_counter() - begin,
                scope.get("prebuilds.fault"),
            )
            self._latest.append(parts)
            if self._on_record is not None:
                self._on_record(_record(*parts))
            if observation is not None:
                observation.finish(_record(*parts))


def _record(
    number: int,
    at: datetime,
    http_method: str,
    path: str,
    codec: str | None,
    status: int | None,
    code: str | None,
    seconds: float,
    fault: int | None,
) -> RequestRecord:
    return RequestRecord(
        number=number,
        at=at,
        method=call_name(path),
        http_method=http_method,
        path=path,
        codec=codec,
        status=status,
        code=code,
        milliseconds=round(seconds * 1000, 3),
        fault=fault,
    )


def call_name(path: str) -> str | None:
    """Return the method of the service for a path, or `logs`; None for any other path."""
    rest, _, last = path.rpartition("/")
    operation = OPERATIONS.get(last)
    if operation is not None and path.endswith(operation.path):
        return operation.name
    return LOGS if rest.endswith("/logs") else None


def _codec(scope: Scope) -> str | None:
    if scope["method"] == "GET":
        asked = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("encoding", [""])[0]
        return asked if asked in _CODECS.values() else None
    for name, value in scope["headers"]:
        if name == b"content-type":
            return _codec_of(value)
    return None


@functools.lru_cache(maxsize=64)
def _codec_of(content_type: bytes) -> str | None:
    return _CODECS.get(content_type.decode("latin-1").partition(";")[0].strip().lower())


def _code(body: bytes) -> str | None:
    """Return the Connect code in the body of an error."""
    try:
        answer: Any = json.loads(body) if body[:1] == b"{" else None
    except ValueError:
        return None
    code: Any = cast("dict[str, Any]", answer).get("code") if isinstance(answer, dict) else None
    return code if isinstance(code, str) else None
