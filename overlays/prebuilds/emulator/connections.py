"""The connections of the emulator's server: those of uvicorn, with a limit, and with what faults do to them."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .injection import CONNECTION

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

# How many bytes a request may have before its body.
_LONGEST_HEAD: Final = 65_536

_TOO_LONG: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-type: text/plain; charset=utf-8\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
)

# Seconds after which a connection is closed whose request has no complete head.
_MAX_HEAD_SECONDS: Final = 10.0

# How long a pause that a fault makes may outlast the order to stop, in seconds.
_NAP: Final = 0.05

_HEAD_END: Final = re.compile(rb"\n\r?\n")
_REQUEST_LINE: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) [^ \r\n]+ HTTP/1\.[01]\r\n")
_UPGRADE: Final = re.compile(rb"(?i)\r\nupgrade[ \t]*:")

# The methods that the parser takes for what they are. It refuses some, and takes others that nobody has heard of.
_METHODS: Final = frozenset(b"GET HEAD POST PUT DELETE OPTIONS TRACE PATCH".split())

# What stands for any other on the way through the parser.
_STAND_IN: Final = b"MKCALENDAR"


class Waiting:
    """The connections of a server that have no request under way, in the order in which they came or became idle.

    Args:
        limit: the number of connections that the server keeps open. Beyond that, the one that has waited longest is
            closed, so that connections on which nothing comes do not keep others out.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._connections: dict[Protocol, None] = {}

    def add(self, connection: Protocol, count: int) -> None:
        """A connection waits for a request. `count` is the number of all connections of the server."""
        self._connections[connection] = None
        if count > self._limit:
            oldest = next(iter(self._connections))
            self.discard(oldest)
            oldest.transport.abort()

    def discard(self, connection: Protocol) -> None:
        """A connection has a request under way, or is lost."""
        self._connections.pop(connection, None)


class Protocol(HttpToolsProtocol):
    """A connection that tells the application how it is broken off.

    The parser gets the head of a request as a whole. It takes no long ones, no method that it does not know, and no
    body where another protocol is offered (as many clients do that would like HTTP/2).

    Args:
        stopping: tells whether the server stops.
        waiting: the server's connections without a request.
        arguments: those of uvicorn.
    """

    def __init__(self, stopping: Callable[[], bool], waiting: Waiting, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._stopping = stopping
        self._waiting = waiting
        self._head_timer: asyncio.TimerHandle | None = None
        self._serve = cast("ASGIApp", self.app)  # pyright: ignore[reportUnknownMemberType] - one of several kinds
        self.app = self._with_connection
        self._head = b""
        self._length = 0
        """The bytes of the head so far."""
        self._has_begun = False
        """Whether the parser is within a request."""
        self._in_head = True
        self._method = ""
        """What the request was sent with, if the parser has seen a stand-in."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Somebody has connected."""
        super().connection_made(cast("asyncio.Transport", _InOnePiece(transport, self.loop)))
        if self._stopping():
            # uvicorn has already closed the connections that it knows.
            self.transport.abort()
        self._await_head()
        self._waiting.add(self, len(self.connections))

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is over."""
        self._stop_head_timer()
        self._waiting.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what comes."""
        self._unset_keepalive_if_required()
        if self._in_head:
            self._length += len(data)
            if not self._has_begun:
                self._head += data
                end = _HEAD_END.search(self._head, max(0, len(self._head) - len(data) - 2))
                self._length = len(self._head) if end is None else end.end()
                data, self._head = (b"", self._head) if end is None else (self._prepared(end.end()), b"")
            if self._length > _LONGEST_HEAD:
                self.transport.write(_TOO_LONG)
                self.transport.close()
                return
        if data:
            super().data_received(data)
        if self._in_head and (self._head or self._has_begun) and self._head_timer is None:
            self._await_head()

    def on_message_begin(self) -> None:
        """A request begins."""
        self._has_begun = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The body begins."""
        self._in_head = False
        self._stop_head_timer()
        self._waiting.discard(self)
        super().on_headers_complete()
        if self._method:
            self.scope["method"], self._method = self._method, ""

    def on_message_complete(self) -> None:
        """A request is complete, and another may follow."""
        self._in_head, self._has_begun, self._length = True, False, 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The response was sent."""
        super().on_response_complete()
        if self.cycle.response_complete and not self.transport.is_closing():
            self._waiting.add(self, 0)

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(_MAX_HEAD_SECONDS, self.transport.abort)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _prepared(self, end: int) -> bytes:
        """What there is, with a head of `end` bytes that the parser takes."""
        head = self._head[:end]
        match = _REQUEST_LINE.match(head)
        if match is not None and match[1] not in _METHODS:
            self._method = match[1].decode("ascii")
            head = _STAND_IN + head[match.end(1) :]
        return _UPGRADE.sub(b"\r\nX-Upgrade:", head) + self._head[end:]

    async def _with_connection(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = _Connection(self.transport, self._stopping)
        scope.setdefault("extensions", {})[CONNECTION] = connection
        try:
            await self._serve(scope, receive, send)
        except asyncio.CancelledError:
            # The server stops, and this has taken too long. uvicorn would tell of it with a traceback.
            with suppress(asyncio.CancelledError):  # it may be told so twice
                await connection.drop(receive)


class _InOnePiece:
    """A transport that sends two things at once if they are written at once: the head and the body of an answer."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._waiting: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        self._waiting.append(data)
        if len(self._waiting) == 1:
            self._loop.call_soon(self._flush)
        else:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._waiting:
            self._transport.write(b"".join(self._waiting))
            self._waiting.clear()


class _Connection:
    """How a fault breaks a connection off."""

    def __init__(self, transport: asyncio.Transport, stopping: Callable[[], bool]) -> None:
        self._transport = transport
        self._stopping = stopping

    async def drop(self, receive: Receive) -> None:
        self._transport.abort()
        await _disconnected(receive)

    async def hang_up(self, receive: Receive) -> None:
        self._transport.close()
        await _disconnected(receive)

    async def sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self._stopping() and (left := end - time.monotonic()) > 0:  # noqa: ASYNC110  signals set no event
            await asyncio.sleep(min(left, _NAP))

    idle = sleep


async def _disconnected(receive: Receive) -> None:
    """Wait until the server has noticed that the connection is gone: it then misses no answer."""
    while (await receive())["type"] != "http.disconnect":
        pass
