"""The injection of planned faults: which request gets which fault, and how the fault changes the response.

The faults themselves are in `faults`, which is slow to import. It is imported when the first fault is planned, so
that the emulator starts faster.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import ConnectError
from .recording import call_name, request_number

if TYPE_CHECKING:
    from .faults import ErrorFault, Fault, FaultState, HtmlFault, StatusFault

CONNECTION: Final = "prebuilds.connection"
"""The ASGI extension with the server's `Connection`, through which faults close connections."""

_MOST_CALLS = 1000


class Connection(Protocol):
    """The effects that a fault can have on the connection of a request."""

    async def drop(self, receive: Receive) -> None:
        """Close the connection at once. Data that was sent may be lost."""
        ...

    async def hang_up(self, receive: Receive) -> None:
        """Close the connection after all data was sent."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait before the response continues."""
        ...

    async def idle(self, seconds: float) -> None:
        """Wait while there is nothing to send."""
        ...


class _Plan:
    """A planned fault and its progress."""

    def __init__(self, number: int, fault: Fault) -> None:
        self.number = number
        self.fault = fault
        self.seen = 0
        self.consumed = 0
        self.calls: list[int] = []

    def meets(self, method: str | None) -> bool:
        """Count a matching request, and return whether it gets the fault."""
        if self.fault.method not in (None, method) or self.is_over:
            return False
        self.seen += 1
        return self.seen > self.fault.after

    @property
    def is_over(self) -> bool:
        return self.fault.times is not None and self.consumed >= self.fault.times

    def consume(self, call: int) -> None:
        self.consumed += 1
        self.calls = [*self.calls[-_MOST_CALLS + 1 :], call]

    def state(self) -> FaultState:
        from .faults import FaultState

        pending = not self.consumed if self.fault.times is None else not self.is_over
        return FaultState(
            id=self.number, fault=self.fault, consumed=self.consumed, pending=pending, calls=tuple(self.calls)
        )


class Faults:
    """All planned faults. The class is thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._plans: dict[int, _Plan] = {}
        self._count = 0

    def plan(self, fault: Fault) -> FaultState:
        """Plan a fault for future requests."""
        with self._lock:
            self._count += 1
            plan = self._plans[self._count] = _Plan(self._count, fault)
            return plan.state()

    def all(self) -> list[FaultState]:
        """Return all planned faults, including those that are used up."""
        with self._lock:
            return [plan.state() for plan in self._plans.values()]

    def get(self, number: int) -> FaultState | None:
        """Return the fault with this id."""
        with self._lock:
            plan = self._plans.get(number)
            return None if plan is None else plan.state()

    def remove(self, number: int) -> bool:
        """Remove a fault. Return False if the id is unknown."""
        with self._lock:
            return self._plans.pop(number, None) is not None

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._plans.clear()

    def __bool__(self) -> bool:
        return bool(self._plans)

    def take(self, method: str | None) -> tuple[int, Fault] | None:
        """Return the id and the fault for a request of this method."""
        return self._take(method, lambda fault: fault.kind != "repeat_token")

    def repeats_token(self, method: str) -> bool:
        """Return whether the response to a list request with a page token must repeat that token."""
        return bool(self._plans) and self._take(method, lambda fault: fault.kind == "repeat_token") is not None

    def _take(self, method: str | None, wanted: Callable[[Fault], bool]) -> tuple[int, Fault] | None:
        with self._lock:
            met = [plan for plan in self._plans.values() if wanted(plan.fault) and plan.meets(method)]
            if not met:
                return None
            met[0].consume(request_number.get())
            return met[0].number, met[0].fault


class FaultInjector:
    """An ASGI application that applies planned faults to the requests of another application."""

    def __init__(self, app: ASGIApp, faults: Faults) -> None:
        self._app = app
        self._faults = faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        taken = None
        if self._faults and scope["type"] == "http":
            taken = self._faults.take(call_name(scope["path"]))
        if taken is None:
            await self._app(scope, receive, send)
            return
        scope["prebuilds.fault"], fault = taken
        await self._meet(fault, scope, receive, send)

    async def _meet(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        from .faults import (
            DropFault,
            ErrorFault,
            HtmlFault,
            LatencyFault,
            RepeatTokenFault,
            SlowFault,
            StatusFault,
            TruncateFault,
        )

        connection = connection_of(scope)
        match fault:
            case LatencyFault(seconds=seconds):
                await connection.sleep(seconds)
                await self._app(scope, receive, send)
            case DropFault(when=when):
                if when == "after":
                    await self._app(scope, receive, _swallow)
                await connection.drop(receive)
            case TruncateFault(keep=keep):
                await self._truncate(scope, receive, send, connection, keep)
            case SlowFault(chunks=chunks, pause=pause):
                await self._app(scope, receive, _trickle(send, connection.sleep, chunks, pause))
            case StatusFault() | HtmlFault() | ErrorFault():
                if fault.when == "after":
                    await self._app(scope, receive, _swallow)
                await _answer(fault)(scope, receive, send)
            case RepeatTokenFault():  # the service does it, since it knows the token
                await self._app(scope, receive, send)

    async def _truncate(
        self, scope: Scope, receive: Receive, send: Send, connection: Connection, keep: int | None
    ) -> None:
        start: Message = {}
        first: Message | None = None
        enough = _EnoughError()

        async def hold(message: Message) -> None:
            nonlocal start, first
            if message["type"] == "http.response.start":
                start = message
                return
            if first is not None:
                return
            first = message
            if message.get("more_body", False):
                raise enough  # only the first chunk of a stream is needed

        try:
            await self._app(scope, receive, hold)
        except _EnoughError as error:
            if error is not enough:
                raise
        body: bytes = b"" if first is None else first.get("body", b"")
        kept = body[: len(body) // 2 if keep is None else min(keep, max(0, len(body) - 1))]
        if not body:  # an empty body cannot be cut: announce bytes that never come
            headers = [item for item in start["headers"] if item[0].lower() != b"content-length"]
            start = {**start, "headers": [*headers, (b"content-length", b"1")]}
        await send(start)
        await send({"type": "http.response.body", "body": kept, "more_body": True})
        await connection.hang_up(receive)


def connection_of(scope: Scope) -> Connection:
    """Return the connection of a request."""
    extensions: dict[str, Any] = scope.get("extensions") or {}
    connection: Connection | None = extensions.get(CONNECTION)
    return connection or _PlainConnection()


class _EnoughError(Exception):
    """Ends a response when no more of it is needed."""


class _PlainConnection:
    """The connection of a server without the extension for closing connections."""

    async def drop(self, receive: Receive) -> None:
        raise RuntimeError("this server does not let the emulator break a connection off: use EmulatorServer")

    hang_up = drop

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    idle = sleep


async def _swallow(message: Message) -> None:
    pass


def _trickle(send: Send, sleep: Callable[[float], Awaitable[None]], chunks: int, pause: float) -> Send:
    """Return a `send` that sends the body slowly."""

    async def trickle(message: Message) -> None:
        if message["type"] != "http.response.body":
            await send(message)
            return
        body: bytes = message.get("body", b"")
        size = max(1, -(-len(body) // chunks))
        for begin in range(0, len(body), size):
            await sleep(pause)
            await send({"type": "http.response.body", "body": body[begin : begin + size], "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": message.get("more_body", False)})

    return trickle


def _answer(fault: StatusFault | HtmlFault | ErrorFault) -> Response:
    if fault.kind == "status":
        return PlainTextResponse(fault.body, fault.status, fault.headers)
    if fault.kind == "html":
        title = f"{fault.status} planned fault"
        return HTMLResponse(
            f"<!doctype html>\n<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n",
            fault.status,
        )
    from .protocol import error_response  # it imports the service, which imports this module

    found, headers = _hint(fault)
    return error_response(ConnectError(fault.code, fault.message, found, headers=headers))


def _hint(fault: ErrorFault) -> tuple[tuple[dict[str, Any], ...], dict[str, str]]:
    """Return the details and the headers with the retry delay."""
    if fault.retry_after is None:
        return (), {}
    if fault.hint == "rate_limit":
        return (), {"RateLimit-RetryAfter": f"{fault.retry_after:.0f}"}
    if fault.hint == "retry_after":
        return (), {"Retry-After": f"{fault.retry_after:.0f}"}
    from .details import retry_info

    return (retry_info(fault.retry_after),), {}
