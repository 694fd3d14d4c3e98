"""What was called: each request to the service, its answer, and how long that took. Never a token, never a body."""

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
"""Where the control plane is. What is asked of it is not recorded."""

LOGS: Final = "logs"
"""The name under which reading a log goes, which is no method of the service."""

MOST_RECORDS: Final = 1000
"""So many requests are remembered, the latest ones."""

request_number: ContextVar[int] = ContextVar("request_number", default=0)
"""The number of the request that is being answered."""

_MOST_PATH = 300
_CODECS = {"application/json": "json", "application/proto": "proto"}


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """A request that was answered, or broken off."""

    number: int
    """Counts up with each request since the emulator started."""

    at: datetime
    """When it came, in emulated time."""

    method: str | None
    """The method of the service, `logs` for a log, null for a path that leads nowhere."""

    http_method: str
    """POST or GET, for instance."""

    path: str
    """The path, without the query."""

    codec: str | None
    """How the message is written, `json` or `proto`; null where it is neither."""

    status: int | None
    """The HTTP status of the answer; null if there was none, because the connection broke off."""

    code: str | None
    """The Connect code of an error."""

    milliseconds: float
    """How long it took, in real time."""

    fault: int | None
    """The id of the planned fault that it met."""


class Observation(Protocol):
    """What an observer sees of one request."""

    async def receive(self) -> Message:
        """Takes the place of the request's own."""
        ...

    async def send(self, message: Message) -> None:
        """Takes the place of the request's own."""
        ...

    def finish(self, record: RequestRecord) -> None:
        """The request was answered, or broken off."""
        ...


class Observer(Protocol):
    """Sees the requests as they come, with their bodies."""

    def begin(self, number: int, at: datetime, scope: Scope, receive: Receive, send: Send) -> Observation:
        """A request comes."""
        ...

    def forget(self) -> None:
        """The recorded requests were forgotten."""
        ...


class Recorder:
    """An ASGI application that remembers what is asked of another one.

    Args:
        app: what answers the requests.
        clock: tells when they come.
        on_record: called with each record.
    """

    def __init__(self, app: ASGIApp, clock: Clock, on_record: Callable[[RequestRecord], None] | None = None) -> None:
        self._app = app
        self._clock = clock
        self._on_record = on_record
        # What a record is made of: making one takes longer than many a request.
        self._latest: deque[tuple[Any, ...]] = deque(maxlen=MOST_RECORDS)
        self._numbers = itertools.count(1)
        self.observer: Observer | None = None
        """Sees each request from now on."""

    def records(self, limit: int = MOST_RECORDS) -> list[RequestRecord]:
        """The latest requests, in the order in which they were done with."""
        latest = list(self._latest)
        return [_record(*parts) for parts in latest[-limit:]] if limit else []

    def clear(self) -> None:
        """Forget the requests. Their numbers go on."""
        self._latest.clear()
        if self.observer is not None:
            self.observer.forget()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
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
    """The method of the service that a path leads to, or `logs`; None for any other path."""
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
    """The Connect code in the body of an error."""
    try:
        answer: Any = json.loads(body) if body[:1] == b"{" else None
    except ValueError:
        return None
    code: Any = cast("dict[str, Any]", answer).get("code") if isinstance(answer, dict) else None
    return code if isinstance(code, str) else None
