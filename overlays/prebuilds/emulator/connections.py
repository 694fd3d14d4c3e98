"""The connections of the emulator's server: uvicorn's connections, with a limit and with support for faults."""

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

# The maximum size of a request's head in bytes.
_LONGEST_HEAD: Final = 65_536

_TOO_LONG: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-type: text/plain; charset=utf-8\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
)

# A connection is closed if the head of its request is not complete after this many seconds.
_MAX_HEAD_SECONDS: Final = 10.0

# The maximum time between the stop of the server and the end of a fault's pause, in seconds.
_NAP: Final = 0.05

_HEAD_END: Final = re.compile(rb"\n\r?\n")
_REQUEST_LINE: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) [^ \r\n]+ HTTP/1\.[01]\r\n")
_UPGRADE: Final = re.compile(rb"(?i)\r\nupgrade[ \t]*:")

# The methods that the parser handles as they are. It rejects some others and accepts unusual ones.
_METHODS: Final = frozenset(b"GET HEAD POST PUT DELETE OPTIONS TRACE PATCH".split())

# The method that replaces any other method in the parser.
_STAND_IN: Final = b"MKCALENDAR"


class Waiting:
    """The connections of a server without a running request, in the order in which they opened or became idle.

    Args:
        limit: the number of connections that the server keeps open. Beyond that, the connection that has been idle
            longest is closed, so that idle connections do not block new ones.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._connections: dict[Protocol, None] = {}

    def add(self, connection: Protocol, count: int) -> None:
        """Add a connection that waits for a request. `count` is the number of all connections of the server."""
        self._connections[connection] = None
        if count > self._limit:
            oldest = next(iter(self._connections))
            self.discard(oldest)
            oldest.transport.abort()

    def discard(self, connection: Protocol) -> None:
        """Remove a connection that has a running request or was lost."""
        self._connections.pop(connection, None)


class Protocol(HttpToolsProtocol):
    """A connection that lets the application close it early.

    The parser gets the head of a request as a whole. It rejects long heads, methods that it does not know, and bodies
    with an offer of another protocol (which many clients send that prefer HTTP/2).

    Args:
        stopping: returns whether the server is stopping.
        waiting: the server's connections without a request.
        arguments: uvicorn's arguments.
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
        """Whether the parser is inside a request."""
        self._in_head = True
        self._method = ""
        """The original method, if the parser has seen a replacement."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Handle a new connection."""
        super().connection_made(cast("asyncio.Transport", _InOnePiece(transport, self.loop)))
        if self._stopping():
            # uvicorn has already closed the connections that it knows.
            self.transport.abort()
        self._await_head()
        self._waiting.add(self, len(self.connections))

    def connection_lost(self, exc: Exception | None) -> None:
        """Handle the end of the connection."""
        self._stop_head_timer()
        self._waiting.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Handle received data."""
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
        """Handle the start of a request."""
        self._has_begun = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Handle the start of the body."""
        self._in_head = False
        self._stop_head_timer()
        self._waiting.discard(self)
        super().on_headers_complete()
        if self._method:
            self.scope["method"], self._method = self._method, ""

    def on_message_complete(self) -> None:
        """Handle the end of a request. Another request may follow."""
        self._in_head, self._has_begun, self._length = True, False, 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Handle the end of the response."""
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
        """Return the received bytes, with a head of `end` bytes that the parser accepts."""
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
            # The server is stopping, and this task has taken too long. uvicorn would log the error with a traceback.
            with suppress(asyncio.CancelledError):  # it may be cancelled twice
                await connection.drop(receive)


class _InOnePiece:
    """A transport that joins consecutive writes into one, such as the head and the body of a response."""

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
    """The effects of faults on a connection."""

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
    """Wait until the server has noticed the disconnection: it then does not expect a response."""
    while (await receive())["type"] != "http.disconnect":
        pass
