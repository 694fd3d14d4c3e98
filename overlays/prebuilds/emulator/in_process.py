"""The emulator without a socket: httpx transports that call its application in this process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import httpx
from starlette.types import ASGIApp, Message, Receive, Scope

from .app import create_app
from .auth import Tokens
from .clock import Clock, ManualClock
from .control_client import EmulatorControl
from .injection import CONNECTION
from .server import Options
from .service import PrebuildService
from .store import Store

if TYPE_CHECKING:
    from .declarations import Plan

URL: Final = "http://emulator.test"
"""The base URL of an emulator without a socket. The host does not exist: only the emulator's transports reach it."""

T = TypeVar("T")

# Emulated seconds between two polls of a log that is followed.
_LOG_INTERVAL = 5.0


class InProcessEmulator:
    """An emulator without a socket. Waiting advances its clock, so that nothing really waits while time is frozen.

    `transport` and `async_transport` connect any client that is built on httpx:

        with InProcessEmulator() as emulator, httpx.Client(transport=emulator.transport()) as http:
            http.post(f"{emulator.url}/gitpod.v1.PrebuildService/ListPrebuilds", ...)

    Args:
        clock: the source of the emulated time, a `ManualClock` by default.
        plan: the durations.
        options: all other options.
    """

    def __init__(self, *, clock: Clock | None = None, plan: Plan | None = None, options: Options | None = None) -> None:
        options = options or Options()
        self.url = URL
        """The base URL for clients that use a transport of this emulator."""
        self.clock = clock or ManualClock()
        """The clock."""
        self._store = Store()
        service = PrebuildService(
            self._store,
            self.clock,
            plan,
            strict_projects=options.strict_projects,
            relaxed_ids=options.relaxed_ids,
            projects=options.projects,
        )
        self.app: ASGIApp = create_app(
            service,
            tokens=Tokens(options.tokens, options.read_only_tokens),
            control=options.control,
            control_token=options.control_token,
            log_interval=_LOG_INTERVAL,
        )
        """The ASGI application."""
        self._loop = _Loop()
        self.control = EmulatorControl(
            URL, token=options.control_token, http_client=httpx.Client(transport=self.transport())
        )
        """The control plane of this emulator."""

    def transport(self) -> httpx.BaseTransport:
        """Return a transport for an `httpx.Client`. It works inside and outside of an event loop."""
        return _Transport(self, self._loop)

    def async_transport(self) -> httpx.AsyncBaseTransport:
        """Return a transport for an `httpx.AsyncClient`."""
        return _AsyncTransport(self)

    def close(self) -> None:
        """Close the emulator. Its records are lost."""
        self._loop.close()
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class _BrokenOff(Exception):  # noqa: N818  not an error: a planned fault
    """Ends an HTTP exchange before or during its response."""


class _TooLate(Exception):  # noqa: N818  not an error: a planned fault
    """Ends an HTTP exchange that takes longer than the client's timeout."""


class _Exchange:
    """A request and its response, within one event loop.

    The application runs in its own task. `answer` waits for the start of the response, `part` for each chunk of the
    body. The application proceeds only as fast as the client reads the body.
    """

    def __init__(self, emulator: InProcessEmulator, request: httpx.Request, body: bytes) -> None:
        self._emulator = emulator
        self._request = request
        self._body = body
        self._messages: asyncio.Queue[Message | None] = asyncio.Queue(1)
        self._closed = asyncio.Event()
        self._asked = False
        self._waited = 0.0
        self._received = 0
        self._complete = False
        self._start: Message = {}
        self._task = asyncio.ensure_future(self._run())

    async def answer(self) -> tuple[int, list[tuple[bytes, bytes]]]:
        """Return the status and the headers of the response."""
        message = await self._messages.get()
        if message is None:
            await self._fail()
            raise httpx.RemoteProtocolError("Server disconnected without sending a response.", request=self._request)
        self._start = message
        return message["status"], message["headers"]

    async def part(self) -> bytes | None:
        """Return the next chunk of the body, or None at its end."""
        message = await self._messages.get()
        if message is not None:
            body: bytes = message.get("body", b"")
            self._received += len(body)
            self._complete = not message.get("more_body", False)
            return body
        if not self._complete:
            await self._fail()
            announced = httpx.Headers(self._start["headers"]).get("content-length", "more")
            raise httpx.RemoteProtocolError(
                "peer closed connection without sending complete message body"
                f" (received {self._received} bytes, expected {announced})",
                request=self._request,
            )
        return None

    async def close(self) -> None:
        """Disconnect, like a client that does not read the rest."""
        self._closed.set()
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _fail(self) -> None:
        """Report why there is no response, unless a fault has cut the connection."""
        try:
            await self._task
        except _BrokenOff:
            pass
        except _TooLate:
            raise httpx.ReadTimeout("The read operation timed out", request=self._request) from None

    async def _run(self) -> None:
        url = self._request.url
        scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": self._request.method,
            "scheme": url.scheme,
            "path": url.path,
            "raw_path": url.raw_path.partition(b"?")[0],
            "query_string": url.query,
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in self._request.headers.raw],
            "server": (url.host, url.port or (443 if url.scheme == "https" else 80)),
            "client": ("127.0.0.1", 0),
            "extensions": {CONNECTION: self},
        }
        try:
            await self._emulator.app(scope, self._receive, self._send)
        finally:
            if not self._closed.is_set():
                await self._messages.put(None)

    async def _receive(self) -> Message:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": self._body, "more_body": False}
        await self._closed.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        self._waited = 0.0
        await self._messages.put(message)

    # The effects of faults on a connection.

    async def drop(self, receive: Receive) -> None:
        raise _BrokenOff

    async def hang_up(self, receive: Receive) -> None:
        raise _BrokenOff

    async def sleep(self, seconds: float) -> None:
        limit: float | None = self._request.extensions.get("timeout", {}).get("read")
        left = None if limit is None else limit - self._waited
        if left is not None and seconds > left:
            await self._emulator.clock.async_sleep(max(left, 0.0))
            raise _TooLate
        self._waited += seconds
        await self._emulator.clock.async_sleep(seconds)

    async def idle(self, seconds: float) -> None:
        # In emulated time, the log of a prebuild can be silent for longer than the client's timeout.
        await self._emulator.clock.async_sleep(seconds)


class _Loop:
    """An event loop in its own thread, so that callers inside another event loop can use it, too.

    The thread starts on first use.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run the coroutine in the loop, and return its result."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                # A daemon thread: an aborted test run must not wait for it.
                self._thread = threading.Thread(target=self._loop.run_forever, name="prebuilds-emulator", daemon=True)
                self._thread.start()
            return_value = asyncio.run_coroutine_threadsafe(work, self._loop)
        return return_value.result()

    def close(self) -> None:
        """End the thread and all running tasks in it."""
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is None or thread is None:
            return

        async def end() -> None:
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class _Transport(httpx.BaseTransport):
    def __init__(self, emulator: InProcessEmulator, loop: _Loop) -> None:
        self._emulator = emulator
        self._loop = loop

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        body = request.read()

        async def begin() -> tuple[int, list[tuple[bytes, bytes]], httpx.SyncByteStream]:
            exchange = _Exchange(self._emulator, request, body)
            status, headers = await exchange.answer()
            if all(name != b"content-length" for name, _ in headers):
                return status, headers, _Body(self._loop, exchange)
            # A response of finite length is read at once: each switch between the threads costs more than the response.
            return status, headers, await _Whole.of(exchange)

        status, headers, stream = self._loop.run(begin())
        return httpx.Response(status, headers=headers, stream=stream)


class _Body(httpx.SyncByteStream):
    """A body that is read chunk by chunk."""

    def __init__(self, loop: _Loop, exchange: _Exchange) -> None:
        self._loop = loop
        self._exchange = exchange

    def __iter__(self) -> Iterator[bytes]:
        while (part := self._loop.run(self._exchange.part())) is not None:
            yield part

    def close(self) -> None:
        self._loop.run(self._exchange.close())


class _Whole(httpx.SyncByteStream):
    """A body that was read at once, with the error at its end if there was one."""

    def __init__(self, parts: list[bytes], error: httpx.TransportError | None) -> None:
        self._parts = parts
        self._error = error

    @classmethod
    async def of(cls, exchange: _Exchange) -> Self:
        parts: list[bytes] = []
        try:
            while (part := await exchange.part()) is not None:
                parts.append(part)
        except httpx.TransportError as error:
            return cls(parts, error)
        return cls(parts, None)

    def __iter__(self) -> Iterator[bytes]:
        yield from self._parts
        if self._error is not None:
            raise self._error


class _AsyncTransport(httpx.AsyncBaseTransport):
    def __init__(self, emulator: InProcessEmulator) -> None:
        self._emulator = emulator

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        exchange = _Exchange(self._emulator, request, await request.aread())
        status, headers = await exchange.answer()
        return httpx.Response(status, headers=headers, stream=_AsyncBody(exchange))


class _AsyncBody(httpx.AsyncByteStream):
    def __init__(self, exchange: _Exchange) -> None:
        self._exchange = exchange

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (part := await self._exchange.part()) is not None:
            yield part

    async def aclose(self) -> None:
        await self._exchange.close()
