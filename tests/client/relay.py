"""A relay in front of a server, on a real socket: it plays faults, and knows which requests it has passed on."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")

CALL = "x-call"
"""The header by which a test says which call a request belongs to."""


def http(status: int, body: bytes, *headers: str) -> bytes:
    """A whole HTTP response."""
    lines = [f"HTTP/1.1 {status} Said", f"content-length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def connect_error(status: int, code: str, *headers: str, details: list[dict[str, str]] | None = None) -> bytes:
    """The response that tells an error in Connect's words."""
    body = {"code": code, "message": "the relay says so", "details": details or []}
    return http(status, json.dumps(body).encode(), "content-type: application/json", *headers)


def retry_info(seconds: float) -> dict[str, str]:
    """The detail `google.rpc.RetryInfo`."""
    whole, nanos = divmod(round(seconds * 1e9), 10**9)
    duration = (b"\x08" + _varint(whole) if whole else b"") + (b"\x10" + _varint(nanos) if nanos else b"")
    message = b"\x0a" + _varint(len(duration)) + duration
    return {"type": "google.rpc.RetryInfo", "value": base64.b64encode(message).decode().rstrip("=")}


def _varint(number: int) -> bytes:
    parts: list[int] = []
    while True:
        number, low = number >> 7, number & 0x7F
        parts.append(low | (0x80 if number else 0))
        if not number:
            return bytes(parts)


def _unchanged(response: bytes) -> bytes:
    return response


@dataclass(frozen=True, repr=False)
class Fault:
    """What becomes of a request."""

    name: str
    forwards: bool = False
    """Whether the server gets it, and answers."""
    answer: Callable[[bytes], bytes] = _unchanged
    """What the client gets for the response of the server, which is empty if that was not asked."""
    hangs_up: bool = False
    """Whether the connection ends then."""
    hangs: bool = False
    """Whether nothing at all happens then, until the client gives up."""
    drip: float = 0.0
    """How many seconds pass between two bytes of the body."""
    refuses: bool = False
    """Whether nobody listens on the port."""
    surely_unharmed: bool = False
    """Whether the client can know that the request was not carried out."""

    @property
    def never_ends(self) -> bool:
        """Whether the client has to give up."""
        return self.hangs or self.drip > 0

    def __repr__(self) -> str:
        return self.name


def said(name: str, response: bytes, **more: Any) -> Fault:
    """The relay answers itself, or if `forwards` in place of the server."""
    return Fault(name, answer=lambda _: response, **more)


HTML = b"<html><h1>502 Bad Gateway</h1>" + b"x" * 2000 + b"</html>"

PASSED = Fault("passed", forwards=True)
REFUSED = Fault("refused", refuses=True, surely_unharmed=True)
DROPPED_BEFORE = Fault("dropped before", hangs_up=True)
DROPPED_AFTER = Fault("dropped after", forwards=True, answer=lambda _: b"", hangs_up=True)
UNAVAILABLE = said("unavailable", connect_error(503, "unavailable"))
PLAIN_503 = said("plain 503", http(503, b""))
RETRY_INFO = said(
    "429, RetryInfo",
    connect_error(429, "resource_exhausted", details=[retry_info(0.05)]),
    surely_unharmed=True,
)
RATE_LIMIT = said(
    "429, RateLimit-RetryAfter",
    connect_error(429, "resource_exhausted", "RateLimit-RetryAfter: 1"),
    surely_unharmed=True,
)
RETRY_AFTER = said("429, Retry-After", http(429, b"slow down", "Retry-After: 1"), surely_unharmed=True)
QUOTA = said("429 without a hint", connect_error(429, "resource_exhausted"), surely_unharmed=True)
HANGS_BEFORE = Fault("hangs before", hangs=True)
HANGS_AFTER = Fault("hangs after", forwards=True, answer=lambda _: b"", hangs=True)
HTML_BEFORE = said("HTML 502 before", http(502, HTML, "content-type: text/html"))
HTML_AFTER = said("HTML 502 after", http(502, HTML, "content-type: text/html"), forwards=True)
TRUNCATED = Fault("truncated", forwards=True, answer=lambda response: response[:-7], hangs_up=True)
SHORTENED = Fault(
    "shortened",  # the length fits what is left, so that HTTP notices nothing
    forwards=True,
    answer=lambda response: http(200, response.partition(b"\r\n\r\n")[2][:-7], "content-type: application/json"),
)
GARBAGE_BEFORE = said("garbage before", b"\x00\xff\x16\x03 what is this?\r\n\r\n", hangs_up=True)
GARBAGE_AFTER = said("garbage after", b"\x00\xff\x16\x03 what is this?\r\n\r\n", forwards=True, hangs_up=True)
LOGIN_PAGE = said("200 with a page", http(200, b"<html>log in</html>", "content-type: text/html"))
DRIPS = Fault("drips", forwards=True, drip=0.02)

PASSING = (
    REFUSED,
    DROPPED_BEFORE,
    DROPPED_AFTER,
    UNAVAILABLE,
    PLAIN_503,
    RETRY_INFO,
    RATE_LIMIT,
    RETRY_AFTER,
    HANGS_BEFORE,
    HANGS_AFTER,
    HTML_BEFORE,
    HTML_AFTER,
    TRUNCATED,
    SHORTENED,
    GARBAGE_BEFORE,
    GARBAGE_AFTER,
    LOGIN_PAGE,
    DRIPS,
)
"""The faults after which another attempt may succeed."""

FAULTS = (*PASSING, QUOTA)


@dataclass(frozen=True)
class Arrival:
    """A request that reached the relay."""

    call: str
    """What its header says."""
    fault: Fault
    at: float
    """When, in seconds of a clock that only goes forward."""
    headers: dict[str, str] = field(repr=False)


class Playground:
    """A thread in which relays live."""

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relays")
        self._thread.start()
        self._relays: list[Relay] = []
        return self

    def __exit__(self, *_: object) -> None:
        for relay in self._relays:
            relay.stop()
        self.run(_settle())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def relay(self, upstream: str | Callable[[bytes], bytes]) -> Relay:
        """A relay in front of the server at a URL, or of a function that answers the body of a request itself."""
        relay = Relay(self, upstream)
        self._relays.append(relay)
        return relay

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the thread, and wait for its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)


async def _settle() -> None:
    """End what a connection that came at the last moment has begun, and let transports close."""
    for _ in range(5):
        # A connection that was accepted gets its task some steps later.
        await asyncio.sleep(0)
    for _ in range(5):
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)


class Relay:
    """A port that passes requests on to a server, or does not."""

    def __init__(self, playground: Playground, upstream: str | Callable[[bytes], bytes]) -> None:
        self.choose: Callable[[str], Fault] = lambda call: PASSED
        """Says what becomes of a request; its argument is the call that the request belongs to."""
        self.arrivals: list[Arrival] = []
        self.forwarded: list[str] = []
        """The call of each request that was passed on."""
        self._playground = playground
        self._upstream = upstream
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None
        # It keeps the port ours while nobody listens on it.
        self._reservation = _bound(0)
        self.port: int = self._reservation.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.open()

    def next(self, fault: Fault) -> None:
        """Play `fault` with each request, until told otherwise."""
        if fault.refuses:
            # First: a request that is late must not meet a fault that no request can meet.
            self.shut()
        self.choose = lambda call: fault
        if not fault.refuses:
            self.open()

    def open(self) -> None:
        """Listen, if it does not yet."""
        if self._listener is None:
            self._playground.run(self._open())

    def shut(self) -> None:
        """Hang up, and listen no more, so that the system refuses connections."""
        if self._listener is not None:
            self._playground.run(self._shut())

    def stop(self) -> None:
        """Shut it for good."""
        self.shut()
        self._reservation.close()

    async def _open(self) -> None:
        listener = _bound(self.port)
        self._listener = await asyncio.start_server(self._accept, sock=listener, backlog=1000)

    async def _shut(self) -> None:
        assert self._listener is not None
        # A connection that was just accepted gets its transport before the server closes. asyncio would fail to make it
        # afterwards, and leave the socket open.
        for each in self._listener.sockets:
            asyncio.get_running_loop().remove_reader(each.fileno())
        await asyncio.sleep(0)
        self._listener.close()
        self._listener = None
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while await self._exchange(reader, writer):
                pass
        except (asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            # What is sent last must have left before the port counts as shut.
            await asyncio.sleep(0)
            self._tasks.discard(task)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its response; whether the connection goes on."""
        head, body = await _message(reader)
        headers = _headers(head)
        call = headers.get(CALL, "")
        fault = self.choose(call)
        self.arrivals.append(Arrival(call, fault, time.monotonic(), headers))
        response = b""
        if fault.forwards:
            self.forwarded.append(call)
            response = await self._ask(head, body)
        response = fault.answer(response)
        if fault.drip:
            start, separator, rest = response.partition(b"\r\n\r\n")
            writer.write(start + separator)
            for position in range(len(rest)):
                writer.write(rest[position : position + 1])
                await writer.drain()
                await asyncio.sleep(fault.drip)
        else:
            writer.write(response)
            await writer.drain()
        if fault.hangs:
            await reader.read()
            return False
        if fault.hangs_up and response:
            # Otherwise the end would overtake what was said.
            writer.write_eof()
            await reader.read()
        return not fault.hangs_up

    async def _ask(self, head: bytes, body: bytes) -> bytes:
        if callable(self._upstream):
            return self._upstream(body)
        # A new connection for each request: the server may be about to close an old one.
        address = urlsplit(self._upstream)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        try:
            writer.write(head + body)
            head, body = await _message(reader)
            return head + body
        finally:
            writer.transport.abort()


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    return head, await reader.readexactly(int(_headers(head).get("content-length", "0")))


def _headers(head: bytes) -> dict[str, str]:
    pairs = [line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:]]
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _bound(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    return bound
