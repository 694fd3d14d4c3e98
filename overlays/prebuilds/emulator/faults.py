"""Faults: what a test wants to go wrong between a client and the service, and whether it did."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, Literal, Protocol, Self

from google.protobuf.duration_pb2 import Duration
from pydantic import ConfigDict, Field, TypeAdapter, field_validator, model_validator
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from prebuild_wire import OPERATIONS
from prebuild_wire.enums import ConnectCode

from .errors import ConnectError
from .outcomes import ControlModel
from .recording import LOGS, call_name, request_number

CONNECTION: Final = "prebuilds.connection"
"""The ASGI extension in which a server says how it breaks a connection off: a `Connection`."""

MOST_LATENCY: Final = 600.0
"""The longest time that a fault can take, in real seconds."""

_MOST_CALLS = 1000

When = Literal["before", "after"]
RealSeconds = Annotated[float, Field(gt=0, le=MOST_LATENCY)]
Status = Annotated[int, Field(ge=200, le=599)]


class Connection(Protocol):
    """What a fault can do to the connection that a request came by."""

    async def drop(self, receive: Receive) -> None:
        """Cut it at once; what was sent and is still under way may be lost."""
        ...

    async def hang_up(self, receive: Receive) -> None:
        """Close it once all that was sent has gone out."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Let time pass before going on."""
        ...

    async def idle(self, seconds: float) -> None:
        """The same, while there is nothing to say."""
        ...


_HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,100}$")]
_HeaderValue = Annotated[str, Field(pattern=r"^[ -~]{0,1000}$")]


def _require_kind(schema: dict[str, Any]) -> None:
    """In JSON the kind is what tells the faults apart; in Python the class does."""
    schema["required"] = ["kind", *(name for name in schema.get("required", []) if name != "kind")]


class _Fault(ControlModel):
    """What all faults have in common. A call meets one fault at most, the one that was planned first."""

    model_config = ConfigDict(json_schema_extra=_require_kind)

    method: str | None = None
    """The method whose calls are meant, `GetPrebuild` for instance, or `logs` for reading a log; null for all."""

    times: Annotated[int, Field(ge=1, le=1_000_000)] | None = 1
    """How many calls it meets; null for all until it is removed."""

    after: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """How many calls that it could meet are let through first."""

    @field_validator("method")
    @classmethod
    def _check_method(cls, method: str | None) -> str | None:
        if method is not None and method != LOGS and method not in OPERATIONS:
            raise ValueError(f"there is no method {method!r}: it is one of {', '.join((*OPERATIONS, LOGS))}")
        return method


class StatusFault(_Fault):
    """An answer of plain HTTP, as a proxy gives it."""

    kind: Literal["status"] = "status"
    """An HTTP status with a plain body."""

    status: Status
    """The HTTP status."""

    body: Annotated[str, Field(max_length=100_000)] = ""
    """The body, as `text/plain`."""

    headers: Annotated[dict[_HeaderName, _HeaderValue], Field(default_factory=dict)]
    """More headers of the answer."""

    when: When = "before"
    """Whether the call does its work before it is answered so."""


class HtmlFault(_Fault):
    """A page of HTML, as a proxy shows it to people."""

    kind: Literal["html"] = "html"
    """A page of HTML."""

    status: Status = 502
    """The HTTP status."""

    when: When = "before"
    """Whether the call does its work before it is answered so."""


class ErrorFault(_Fault):
    """An error of the Connect protocol."""

    kind: Literal["error"] = "error"
    """An error of the Connect protocol."""

    code: ConnectCode
    """The code of the error. The HTTP status goes with it."""

    message: Annotated[str, Field(max_length=10_000)] = "planned fault"
    """The message of the error."""

    retry_after: Annotated[float, Field(ge=0, le=86_400)] | None = None
    """The seconds after which it asks to be called again; null for no hint."""

    hint: Literal["retry_info", "rate_limit", "retry_after"] = "retry_info"
    """How it says so: in a detail `google.rpc.RetryInfo`, in the header `RateLimit-RetryAfter` or in `Retry-After`."""

    when: When = "before"
    """Whether the call does its work before it is answered so."""

    @model_validator(mode="after")
    def _check_hint(self) -> Self:
        if self.retry_after is not None and self.hint != "retry_info" and self.retry_after % 1:
            raise ValueError("retry_after: a header takes whole seconds; the hint retry_info takes fractions")
        return self


class LatencyFault(_Fault):
    """An answer that comes late, and is otherwise as usual."""

    kind: Literal["latency"] = "latency"
    """A pause before the work."""

    seconds: RealSeconds
    """How long the pause is, in real time (in process: in the time of the emulator)."""


class DropFault(_Fault):
    """A connection that breaks off without an answer."""

    kind: Literal["drop"] = "drop"
    """The connection breaks off."""

    when: When = "before"
    """Whether the call does its work before the connection breaks off."""


class TruncateFault(_Fault):
    """An answer that breaks off in its body, of which `Content-Length` promised more. The work is done."""

    kind: Literal["truncate"] = "truncate"
    """The body breaks off."""

    keep: Annotated[int, Field(ge=0)] | None = None
    """How many bytes of the body arrive; half of them unless given."""


class SlowFault(_Fault):
    """An answer whose body trickles. The work is done."""

    kind: Literal["slow"] = "slow"
    """The body trickles."""

    chunks: Annotated[int, Field(ge=2, le=1000)] = 5
    """How many parts the body comes in."""

    pause: Annotated[float, Field(gt=0, le=60)] = 0.1
    """The pause before each part, in real time (in process: in the time of the emulator)."""


class RepeatTokenFault(_Fault):
    """A list that answers the page token with which it was called. Calls without a page token do not count."""

    kind: Literal["repeat_token"] = "repeat_token"
    """The page token comes again."""


Fault = Annotated[
    StatusFault | HtmlFault | ErrorFault | LatencyFault | DropFault | TruncateFault | SlowFault | RepeatTokenFault,
    Field(discriminator="kind"),
]
"""One of the faults, told apart by `kind`."""

FAULT: Final[TypeAdapter[Fault]] = TypeAdapter(Fault)


class FaultState(ControlModel):
    """A planned fault, and what became of it."""

    id: int
    """Counts up with each fault."""

    fault: Fault
    """What was planned."""

    consumed: int
    """How many calls have met it."""

    pending: bool
    """Whether it still waits for calls: for some of its `times`, or for the first one if it is for all."""

    calls: tuple[int, ...]
    """The numbers of the requests that met it, the latest 1000 of them."""


class _Plan:
    """A fault on its way through the calls."""

    def __init__(self, number: int, fault: Fault) -> None:
        self.number = number
        self.fault = fault
        self.seen = 0
        self.consumed = 0
        self.calls: list[int] = []

    def meets(self, method: str | None) -> bool:
        """Count a call that it could meet, and say whether it is to."""
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
        pending = not self.consumed if self.fault.times is None else not self.is_over
        return FaultState(
            id=self.number, fault=self.fault, consumed=self.consumed, pending=pending, calls=tuple(self.calls)
        )


class Faults:
    """All planned faults. It may be used by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._plans: dict[int, _Plan] = {}
        self._count = 0

    def plan(self, fault: Fault) -> FaultState:
        """Let calls that are still to come meet a fault."""
        with self._lock:
            self._count += 1
            plan = self._plans[self._count] = _Plan(self._count, fault)
            return plan.state()

    def all(self) -> list[FaultState]:
        """Every planned fault, those that are over included."""
        with self._lock:
            return [plan.state() for plan in self._plans.values()]

    def get(self, number: int) -> FaultState | None:
        """The fault of that id."""
        with self._lock:
            plan = self._plans.get(number)
            return None if plan is None else plan.state()

    def remove(self, number: int) -> bool:
        """Forget a fault; False if there is none of that id."""
        with self._lock:
            return self._plans.pop(number, None) is not None

    def clear(self) -> None:
        """Forget all faults."""
        with self._lock:
            self._plans.clear()

    def __bool__(self) -> bool:
        return bool(self._plans)

    def take(self, method: str | None) -> tuple[int, Fault] | None:
        """The id of the fault that a call of this method meets, and the fault itself."""
        return self._take(method, lambda fault: not isinstance(fault, RepeatTokenFault))

    def repeats_token(self, method: str) -> bool:
        """Whether a list that was called with a page token is to answer it again."""
        return bool(self._plans) and self._take(method, lambda fault: isinstance(fault, RepeatTokenFault)) is not None

    def _take(self, method: str | None, wanted: Callable[[Fault], bool]) -> tuple[int, Fault] | None:
        with self._lock:
            met = [plan for plan in self._plans.values() if wanted(plan.fault) and plan.meets(method)]
            if not met:
                return None
            met[0].consume(request_number.get())
            return met[0].number, met[0].fault


class FaultInjector:
    """An ASGI application that lets calls of another one meet the faults that were planned for them."""

    def __init__(self, app: ASGIApp, faults: Faults) -> None:
        self._app = app
        self._faults = faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        taken = None
        if self._faults and scope["type"] == "http":
            taken = self._faults.take(call_name(scope["path"]))
        if taken is None:
            await self._app(scope, receive, send)
            return
        scope["prebuilds.fault"], fault = taken
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
                raise enough  # of a stream, the first part is all that counts

        try:
            await self._app(scope, receive, hold)
        except _EnoughError as error:
            if error is not enough:
                raise
        body: bytes = b"" if first is None else first.get("body", b"")
        kept = body[: len(body) // 2 if keep is None else min(keep, max(0, len(body) - 1))]
        if not body:  # nothing to cut off: it promises what there never was
            headers = [item for item in start["headers"] if item[0].lower() != b"content-length"]
            start = {**start, "headers": [*headers, (b"content-length", b"1")]}
        await send(start)
        await send({"type": "http.response.body", "body": kept, "more_body": True})
        await connection.hang_up(receive)


def connection_of(scope: Scope) -> Connection:
    """The connection that a request came by."""
    extensions: dict[str, Any] = scope.get("extensions") or {}
    connection: Connection | None = extensions.get(CONNECTION)
    return connection or _PlainConnection()


class _EnoughError(Exception):
    """Ends an answer of which nothing more is wanted."""


class _PlainConnection:
    """A connection of a server that has not said how it breaks one off."""

    async def drop(self, receive: Receive) -> None:
        raise RuntimeError("this server does not let the emulator break a connection off: use EmulatorServer")

    hang_up = drop

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    idle = sleep


async def _swallow(message: Message) -> None:
    pass


def _trickle(send: Send, sleep: Callable[[float], Awaitable[None]], chunks: int, pause: float) -> Send:
    """A `send` that takes its time with the body."""

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
    match fault:
        case StatusFault():
            return PlainTextResponse(fault.body, fault.status, fault.headers)
        case HtmlFault():
            title = f"{fault.status} planned fault"
            return HTMLResponse(
                f"<!doctype html>\n<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n",
                fault.status,
            )
        case ErrorFault():
            details, headers = _hint(fault)
            error = ConnectError(fault.code, fault.message, details)
            body = json.dumps(error.to_json(), separators=(",", ":"))
            return Response(body, error.http_status, headers, media_type="application/json")


def _hint(fault: ErrorFault) -> tuple[tuple[dict[str, Any], ...], dict[str, str]]:
    """The details and the headers that say when to call again."""
    if fault.retry_after is None:
        return (), {}
    if fault.hint == "rate_limit":
        return (), {"RateLimit-RetryAfter": f"{fault.retry_after:.0f}"}
    if fault.hint == "retry_after":
        return (), {"Retry-After": f"{fault.retry_after:.0f}"}
    delay = Duration()
    delay.FromNanoseconds(round(fault.retry_after * 1e9))
    # google.rpc.RetryInfo has this one field, a message with the number 1.
    encoded = delay.SerializeToString()
    value = base64.b64encode(bytes([0x0A, len(encoded)]) + encoded).decode().rstrip("=")
    return ({"type": "google.rpc.RetryInfo", "value": value},), {}
