"""How requests reach a server: over HTTP on one connection, or straight into an ASGI application."""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
import time
import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes, urlsplit

from prebuilds.contract import http1
from prebuilds.contract.http1 import Connection, HttpError, NothingCameError
from prebuilds.contract.methods import CREATES
from prebuilds.contract.wire import Answer, Request

AsgiApp = Callable[
    [
        MutableMapping[str, Any],
        Callable[[], Awaitable[MutableMapping[str, Any]]],
        Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ],
    Awaitable[None],
]

# How many bytes of a stream are enough.
_ENOUGH = 4096

# A connection that was idle for longer may have been closed at the other end, without either of us knowing.
_IDLE = 1.0

# A request that creates a resource is never sent twice. It therefore uses a new connection until this many consecutive
# responses have shown that the server keeps connections open.
_PROVEN = 20


class TransportError(Exception):
    """There is no response, or the response is incomplete.

    Args:
        text: the error.
        sent: whether the request may have reached the server, so that its effect is unknown.
    """

    def __init__(self, text: str, *, sent: bool = True) -> None:
        super().__init__(text)
        self.sent = sent


class Transport(Protocol):
    """The way to a server. One request at a time."""

    base_url: str
    """Where the server is, without a slash at the end; "" if it has no address."""

    def send(self, request: Request) -> Answer:
        """Send a request and return its response.

        Raises:
            TransportError: there is no complete response.
        """
        ...

    def close(self) -> None:
        """Release all resources."""
        ...


class HttpTransport:
    """HTTP/1.1 on one persistent connection. It does not follow redirects, and uses no proxies.

    Args:
        base_url: the URL of the server, `http://127.0.0.1:8080` or `https://example.com/api`.
        timeout: the maximum time for a response, in seconds.

    Attributes:
        meanwhile: called while the server processes a request.
        connect_timeout: the maximum time to connect, in seconds, TLS included.

    Raises:
        ValueError: `base_url` is not a valid HTTP URL.
    """

    meanwhile: Callable[[], object] = staticmethod(lambda: None)
    connect_timeout: float = 10.0

    def __init__(self, base_url: str, timeout: float = 30.0) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{base_url!r} is no address of HTTP: it has to begin with http:// or https://")
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError("the address has to be a scheme, a host and a path, nothing else")
        if not (parts.path.isascii() and parts.path.isprintable() and " " not in parts.path):
            raise ValueError(f"the path of {base_url!r} has a character in it that has to be written with %")
        self.base_url = base_url.rstrip("/")
        self.timeout = timeout
        self._prefix = parts.path.rstrip("/")
        self._name = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            self._host = parts.netloc.encode("idna").decode() if not parts.netloc.isascii() else parts.netloc
        except UnicodeError:
            raise ValueError(f"{base_url!r} has a host that no name can be") from None
        self._context = ssl.create_default_context() if parts.scheme == "https" else None
        self._connection: Connection | None = None
        self._used = 0.0
        self._kept = 0
        """The number of consecutive responses on a connection that stayed open."""

    def send(self, request: Request) -> Answer:
        """Send a request and return its response.

        Raises:
            TransportError: there is no complete response, or HTTP cannot express the request.
        """
        try:
            message = http1.request(
                request.http_method, self._prefix + request.target, self._host, request.headers, request.body
            )
        except ValueError as error:
            raise TransportError(f"{request.method or request.target}: {error}", sent=False) from error
        begun = time.perf_counter()
        idle = begun - self._used > _IDLE
        if self._connection is not None and self._is_closed_there():
            self._kept = 0
            self.close()
        if idle or (request.method in CREATES and self._kept < _PROVEN):
            self.close()
        reused = self._connection is not None
        try:
            try:
                return self._exchange(request, message, begun)
            except (NothingCameError, ConnectionError):
                # The server may have closed the connection since the last response.
                if not reused:
                    raise
                self._kept = 0
                self.close()
                return self._exchange(request, message, begun)
        except (OSError, HttpError, zlib.error, EOFError) as error:
            self.close()
            raise TransportError(
                f"{request.method or request.target}: no answer from {self.base_url}: {type(error).__name__}: {error}"
            ) from error
        except BaseException:
            self.close()  # the rest of the response must not be read as the next one
            raise

    def clone(self) -> HttpTransport:
        """Another way to the same server, which can be used at the same time."""
        return HttpTransport(self.base_url, self.timeout)

    def abort(self) -> None:
        """Break the connection, from another thread: the response that is waited for does not come any more."""
        connection = self._connection
        if connection is not None:
            with suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    def _exchange(self, request: Request, message: bytes, begun: float) -> Answer:
        self._kept = self._kept + 1 if self._connection is not None else self._kept
        connection = self._connection or self._connect(request)
        response = connection.exchange(
            request.http_method,
            message,
            timeout=self.timeout,
            enough=_ENOUGH if request.stream else None,
            meanwhile=self.meanwhile,
        )
        if response.closes:
            self.close()
        self._used = time.perf_counter()
        body = _unpacked(response.body, response.headers)
        return Answer(response.status, response.headers, body, self._used - begun, request)

    def _is_closed_there(self) -> bool:
        """Whether the server has closed the connection since the last response: no other data is expected."""
        try:
            return self._connection is not None and bool(select.select([self._connection.sock], [], [], 0)[0])
        except ValueError:  # there are very many files open: nobody knows
            return False

    def _connect(self, request: Request) -> Connection:
        try:
            sock = socket.create_connection((self._name, self._port), min(self.timeout, self.connect_timeout))
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self._context is not None:
                    sock = self._context.wrap_socket(sock, server_hostname=self._name)
            except BaseException:
                sock.close()
                raise
        except OSError as error:
            if isinstance(error, ssl.SSLCertVerificationError):
                raise TransportError(
                    f"{self.base_url} has a certificate that nobody here vouches for ({error.verify_message}): "
                    "name a file with the right one in the environment variable SSL_CERT_FILE",
                    sent=False,
                ) from error
            hint = ""
            if self._context is not None and (isinstance(error, ssl.SSLError) or "handshake" in str(error)):
                hint = ". Does the server speak TLS there? If not, its address begins with http://"
            raise TransportError(
                f"{request.method or request.target}: no connection to {self.base_url}: {error}{hint}", sent=False
            ) from error
        self._connection = Connection(sock)
        return self._connection

    def close(self) -> None:
        """Close the connection. The next request opens another one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class AsgiTransport:
    """Calls an ASGI application directly, without a socket, in one event loop that lives as long as the transport.

    It cannot be used while another event loop runs in the same thread.

    Args:
        app: the application. Its lifespan starts with the first request and ends with `close`.
        base_url: the application's own address.
    """

    def __init__(self, app: AsgiApp, base_url: str = "http://contract.test") -> None:
        self.base_url = base_url.rstrip("/")
        parts = urlsplit(base_url)
        self._app = app
        self._prefix = parts.path.rstrip("/")
        self._scheme = parts.scheme or "http"
        self._host = parts.netloc
        self._server = (parts.hostname or "", parts.port or (443 if self._scheme == "https" else 80))
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lifespan: _Lifespan | None = None

    def send(self, request: Request) -> Answer:
        """Send a request and return its response.

        Raises:
            TransportError: there is no complete response.
        """
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._lifespan = _Lifespan(self._app)
            self._loop.run_until_complete(self._lifespan.start())
        begun = time.perf_counter()
        exchange = _Exchange(request.body or b"", stream=request.stream)
        target = (self._prefix + request.target).encode()
        path, _, query = target.partition(b"?")
        headers = [(b"host", self._host.encode())]
        if request.body is not None:
            headers.append((b"content-length", str(len(request.body)).encode()))
        headers += [(name.lower().encode(), value.encode("latin-1")) for name, value in request.headers]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": request.http_method,
            "scheme": self._scheme,
            "path": unquote_to_bytes(path).decode("utf-8", "replace"),
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": headers,
            "server": self._server,
            "client": ("127.0.0.1", 0),
            "extensions": {},
        }
        task = self._loop.create_task(exchange.run(self._app, scope))
        try:
            self._loop.run_until_complete(task)
        except KeyboardInterrupt:
            # Running tasks must not continue during the next request.
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                self._loop.run_until_complete(task)
            raise
        except Exception as error:
            # A server around the application would respond 500; without a server, this counts as a lost connection.
            raise TransportError(
                f"{request.method or request.target}: the application failed: {type(error).__name__}: {error}"
            ) from error
        if exchange.status == 0 or not (exchange.complete or request.stream):
            raise TransportError(f"{request.method or request.target}: the application sent no whole answer")
        try:
            body = _unpacked(bytes(exchange.content), exchange.headers)
        except (HttpError, zlib.error) as error:
            raise TransportError(f"{request.method or request.target}: {error}") from error
        return Answer(exchange.status, exchange.headers, body, time.perf_counter() - begun, request)

    def close(self) -> None:
        """End the application's lifespan, and the event loop."""
        loop, self._loop = self._loop, None
        if loop is None:
            return
        if self._lifespan is not None:
            loop.run_until_complete(self._lifespan.stop())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


class _Exchange:
    """One request and its response, as ASGI messages."""

    def __init__(self, body: bytes, *, stream: bool) -> None:
        self._body = body
        self._stream = stream
        self._asked = False
        self._over = asyncio.Event()
        self.status = 0
        self.headers: dict[str, str] = {}
        self.content = bytearray()
        self.complete = False

    async def run(self, app: AsgiApp, scope: MutableMapping[str, Any]) -> None:
        if not self._stream:
            await app(scope, self._receive, self._send)
            return
        # A log that is still being written does not end: the part received so far is enough.
        task = asyncio.ensure_future(app(scope, self._receive, self._send))
        over = asyncio.ensure_future(self._over.wait())
        await asyncio.wait({task, over}, return_when=asyncio.FIRST_COMPLETED)
        for each in (task, over):
            each.cancel()
            with suppress(asyncio.CancelledError):
                await each

    async def _receive(self) -> MutableMapping[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": self._body, "more_body": False}
        await self._over.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {
                name.decode("latin-1").lower(): value.decode("latin-1") for name, value in message.get("headers", ())
            }
        elif message["type"] == "http.response.body":
            self.content += message.get("body", b"")
            if len(self.content) > http1.MAX_BODY:
                raise HttpError(f"the answer has more than {http1.MAX_BODY} bytes")
            self.complete = not message.get("more_body", False)
            if self.complete or (self._stream and self.content):
                self._over.set()


class _Lifespan:
    """The startup and shutdown of an application, for applications that support the lifespan protocol."""

    def __init__(self, app: AsgiApp) -> None:
        self._app = app
        self._orders: asyncio.Queue[str] = asyncio.Queue()
        self._done: asyncio.Queue[str] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run())
        await self._order("startup")

    async def stop(self) -> None:
        if self._task is not None and not self._task.done():
            await self._order("shutdown")
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _order(self, name: str) -> None:
        await self._orders.put(name)
        problem = await self._done.get()
        if problem:
            raise TransportError(f"the application's {name} failed: {problem}")

    async def _run(self) -> None:
        async def receive() -> MutableMapping[str, Any]:
            return {"type": f"lifespan.{await self._orders.get()}"}

        async def send(message: MutableMapping[str, Any]) -> None:
            failed = message["type"].endswith(".failed")
            await self._done.put(str(message.get("message") or "no reason given") if failed else "")

        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
        with suppress(Exception):  # applications that know of no lifespan raise whatever they like
            await self._app(scope, receive, send)
        await self._done.put("")


def _unpacked(content: bytes, headers: MutableMapping[str, str]) -> bytes:
    """The decompressed body. Decompression stops at the size limit.

    Raises:
        HttpError: the body is too long, or incomplete.
        zlib.error: the body is not valid gzip.
    """
    if headers.get("content-encoding", "").lower() != "gzip" or not content:
        return content
    unpacker = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    body = unpacker.decompress(content, http1.MAX_BODY + 1)
    if len(body) > http1.MAX_BODY:
        raise HttpError(f"the answer unpacks to more than {http1.MAX_BODY} bytes")
    if not unpacker.eof:
        raise HttpError("the gzip of the answer breaks off")
    return body
