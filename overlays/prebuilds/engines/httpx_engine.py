"""The default engine: connections of httpx.

Each connection has its own httpx transport, which carries one request at a time, and idle connections wait in a stack.
The pool of httpx scans all of its connections for each request, which dominates the CPU time from about a hundred
connections on. It also loses connections whose request is cancelled.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any, Self, cast

import httpcore
import httpx

from prebuild_api.http import Headers, RawResponse
from prebuilds.engines import network
from prebuilds.engines.body import Body, Pieces
from prebuilds.engines.environment import Proxies, tls_context, unusable_proxy
from prebuilds.engines.exchange import (
    CONNECT_TIMEOUT,
    MAX_IDLE_SECONDS,
    Deadline,
    ExchangeError,
    Request,
    Stream,
    timed_out,
)
from prebuilds.engines.failures import failure
from prebuilds.engines.forwarding import ForwardingEngine
from prebuilds.engines.idle import IdleStack


class HttpxEngine:
    """Implements `Engine`.

    Args:
        context: whom to trust, the authorities of the system and of the environment by default.
    """

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._context = context
        self._idle: IdleStack[_Transport] = IdleStack()
        self._proxies = Proxies()
        self._forwarding: dict[str, ForwardingEngine] = {}
        self._closed = False

    def exchange(self, request: Request) -> RawResponse:
        """Send a request, and read the whole response."""
        url = _url(request.url)
        where, proxy = _route(url, self._proxies)
        if proxy is not None and not proxy.startswith("http:"):
            return self._forward(proxy).exchange(request)
        transport = self._idle.pop(where) or self._new(url, proxy)
        try:
            response, headers = transport.begin(request, url)
            body = Body(response.status_code, headers, request.max_bytes)
            try:
                _read(response, body)
            finally:
                response.close()
            received = body.response()
        except BaseException:
            transport.close()
            raise
        self._keep(where, transport)
        return received

    def open(self, request: Request) -> Stream:
        """Send a request, and read the head of the response."""
        url = _url(request.url)
        _, proxy = _route(url, self._proxies)
        if proxy is not None and not proxy.startswith("http:"):
            return self._forward(proxy).open(request)
        transport = self._new(url, proxy)
        try:
            return _Stream(transport, *transport.begin(request, url))
        except BaseException:
            transport.close()
            raise

    def close(self) -> None:
        """Close all connections that are idle. A connection in use is closed when its request ends."""
        self._closed = True
        for transport in self._idle.clear():
            transport.close()
        for engine in self._forwarding.values():
            engine.close()

    def _new(self, url: httpx.URL, proxy: str | None) -> _Transport:
        return _Transport(proxy, self._tls(url))

    def _tls(self, url: httpx.URL) -> ssl.SSLContext:
        if self._context is None:
            if url.scheme == "http":
                # httpx wants one in any case. Reading all authorities takes longer than a request.
                return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self._context = tls_context()
        return self._context

    def _keep(self, where: object, transport: _Transport) -> None:
        surplus = [transport] if self._closed else self._idle.push(where, transport)
        for each in surplus:
            each.close()

    def _forward(self, proxy: str) -> ForwardingEngine:
        """The transport for proxies with TLS or SOCKS, which httpx handles without our sockets."""
        if proxy not in self._forwarding:
            try:
                client = httpx.Client(proxy=proxy, trust_env=False, verify=self._tls(httpx.URL("https://")))
            except (ImportError, ValueError) as error:
                raise unusable_proxy(proxy, str(error)) from None
            self._forwarding[proxy] = ForwardingEngine(client, owned=True)
        return self._forwarding[proxy]


class _Transport(httpx.HTTPTransport):
    """A connection: an httpx transport whose socket keeps the deadline of the exchange."""

    def __init__(self, proxy: str | None, context: ssl.SSLContext) -> None:
        # httpx 0.27 and 0.28 have no public option for the network backend: HTTPTransport sends with `_pool`.
        self._sockets = _Sockets()
        arguments: Any = {
            "ssl_context": context,
            "max_connections": 1,
            "keepalive_expiry": MAX_IDLE_SECONDS,
            "network_backend": self._sockets,
        }
        if proxy is None:
            self._pool = httpcore.ConnectionPool(**arguments)
        else:
            known = httpx.Proxy(proxy)
            self._pool = httpcore.HTTPProxy(
                proxy_url=httpcore.URL(str(known.url)), proxy_auth=known.raw_auth, **arguments
            )

    def begin(self, request: Request, url: httpx.URL) -> tuple[httpx.Response, Headers]:
        """Send a request, and read the head of the response."""
        self.deadline = request.deadline
        try:
            response = self.handle_request(_request(request, url))
        except httpx.HTTPError as error:
            raise failure(error) from error
        return response, Headers.from_raw(response.headers.raw)

    @property
    def deadline(self) -> Deadline:
        """The deadline of the request that the connection carries."""
        return self._sockets.deadline

    @deadline.setter
    def deadline(self, deadline: Deadline) -> None:
        self._sockets.deadline = deadline


class _Sockets(httpcore.NetworkBackend):
    """Opens the socket of a connection."""

    deadline: Deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        return _Socket(network.connect(host, port, self.deadline), self)


class _Socket(httpcore.NetworkStream):
    """The socket of a connection. httpcore passes a timeout to each step, but the deadline decides."""

    def __init__(self, connection: socket.socket, sockets: _Sockets) -> None:
        self._connection = connection
        self._sockets = sockets

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        connection = self._connection
        try:
            return network.receive(connection, lambda: connection.recv(max_bytes), self._sockets.deadline)
        except OSError as error:
            raise httpcore.ReadError(str(error)) from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        try:
            network.send(self._connection, buffer, self._sockets.deadline)
        except OSError as error:
            # httpcore goes on to read the response, which may say why the server hung up.
            raise httpcore.WriteError(str(error)) from error

    def close(self) -> None:
        self._connection.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        deadline = self._sockets.deadline
        return _Socket(network.secure(self._connection, ssl_context, server_hostname or "", deadline), self._sockets)

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            return not network.is_idle(self._connection)
        return None


class _Stream:
    """Implements `Stream`."""

    def __init__(self, transport: _Transport, response: httpx.Response, headers: Headers) -> None:
        self.response = RawResponse(response.status_code, headers)
        self._transport = transport
        self._http = response
        self._chunks: Iterator[bytes] = iter(cast("Iterable[bytes]", response.stream))
        self._pieces = Pieces(headers)

    def read(self, timeout: float) -> bytes | None:
        self._transport.deadline = Deadline(timeout)
        while not (piece := self._pieces.next()):
            try:
                chunk = next(self._chunks, None)
            except httpx.HTTPError as error:
                raise failure(error) from error
            if chunk is None:
                return None
            self._pieces.feed(chunk)
        return piece

    def close(self) -> None:
        self._http.close()
        self._transport.close()


class AsyncHttpxEngine:
    """Implements `AsyncEngine`, under asyncio and trio."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._context = context
        self._idle: IdleStack[httpx.AsyncHTTPTransport] = IdleStack()
        self._proxies = Proxies()
        self._streams: set[_AsyncStream] = set()
        self._closed = False

    async def exchange(self, request: Request) -> RawResponse:
        """Send a request, and read the whole response."""
        import anyio  # httpx brings it

        url = _url(request.url)
        where, proxy = _route(url, self._proxies)
        transport = self._idle.pop(where) or self._new(url, proxy)
        try:
            with anyio.fail_after(_with_grace(request.deadline)):
                response, headers = await _begin(transport, request, url)
            body = Body(response.status_code, headers, request.max_bytes)
            await _read_async(response, body, request.deadline)
            await response.aclose()
            received = body.response()
        except BaseException as error:
            await _discard(transport)
            if isinstance(error, TimeoutError):
                raise timed_out() from error
            raise
        surplus = [transport] if self._closed else self._idle.push(where, transport)
        for each in surplus:
            await _discard(each)
        return received

    async def open(self, request: Request) -> _AsyncStream:
        """Send a request, and read the head of the response."""
        import anyio

        url = _url(request.url)
        transport = self._new(url, _route(url, self._proxies)[1])
        try:
            with anyio.fail_after(_with_grace(request.deadline)):
                stream = _AsyncStream(transport, *await _begin(transport, request, url), self._streams.discard)
            self._streams.add(stream)
            return stream
        except BaseException as error:
            await _discard(transport)
            if isinstance(error, TimeoutError):
                raise timed_out() from error
            raise

    async def aclose(self) -> None:
        """Close all idle connections and all streams. A connection that carries a call is closed when the call ends."""
        self._closed = True
        for transport in self._idle.clear():
            await _discard(transport)
        # An asynchronous generator that was left halfway closes its stream late, maybe too late for the event loop.
        for stream in list(self._streams):
            await stream.aclose()

    def _new(self, url: httpx.URL, proxy: str | None) -> httpx.AsyncHTTPTransport:
        if self._context is None:
            plain = url.scheme == "http" and not (proxy or "").startswith("https:")
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if plain else tls_context()
            self._context = None if plain else context
        else:
            context = self._context
        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=MAX_IDLE_SECONDS)
        try:
            return httpx.AsyncHTTPTransport(verify=context, limits=limits, proxy=proxy, trust_env=False)
        except (ImportError, RuntimeError, ValueError) as error:
            raise unusable_proxy(proxy or "", str(error)) from None


class _AsyncStream:
    """Implements `AsyncStream`."""

    def __init__(
        self,
        transport: httpx.AsyncHTTPTransport,
        response: httpx.Response,
        headers: Headers,
        on_close: Callable[[_AsyncStream], object],
    ) -> None:
        self._on_close = on_close
        self.response = RawResponse(response.status_code, headers)
        self._transport = transport
        self._http = response
        self._chunks: AsyncIterator[bytes] = aiter(cast("Any", response.stream))
        self._pieces = Pieces(headers)

    async def read(self, timeout: float) -> bytes | None:
        import anyio

        deadline = Deadline(timeout)
        while not (piece := self._pieces.next()):
            try:
                with anyio.fail_after(deadline.limit()):
                    chunk = await anext(self._chunks, None)
            except httpx.HTTPError as error:
                raise failure(error) from error
            except TimeoutError as error:
                raise timed_out() from error
            if chunk is None:
                return None
            self._pieces.feed(chunk)
        return piece

    async def aclose(self) -> None:
        self._on_close(self)
        await _discard(self._transport, self._http)


async def _discard(transport: httpx.AsyncHTTPTransport, response: httpx.Response | None = None) -> None:
    """Close a connection, though the task may have been cancelled."""
    import anyio

    with anyio.CancelScope(shield=True):
        if response is not None:
            await response.aclose()
        await transport.aclose()


async def _begin(
    transport: httpx.AsyncHTTPTransport, request: Request, url: httpx.URL
) -> tuple[httpx.Response, Headers]:
    try:
        response = await transport.handle_async_request(_request(request, url))
    except httpx.HTTPError as error:
        raise failure(error) from error
    return response, Headers.from_raw(response.headers.raw)


def _with_grace(deadline: Deadline) -> float | None:
    """The time that is left, and a little more, so that httpx can say which step took too long."""
    limit = deadline.limit()
    return None if limit is None else limit + _GRACE


_GRACE = 0.05


def _read(response: httpx.Response, body: Body) -> None:
    try:
        for chunk in cast("Iterable[bytes]", response.stream):
            if not body.feed(chunk):
                break
    except httpx.HTTPError as error:
        body.broke(failure(error))
    except ExchangeError as error:
        body.broke(error)


async def _read_async(response: httpx.Response, body: Body, deadline: Deadline) -> None:
    import anyio

    with anyio.move_on_after(deadline.limit()) as scope:
        try:
            async for chunk in cast("Any", response.stream):
                if not body.feed(chunk):
                    # Cancelled rather than left: the generators of httpx close only when an exception passes them.
                    scope.cancel()
        except httpx.HTTPError as error:
            body.broke(failure(error))
    if scope.cancelled_caught and body.wants_more:
        body.broke(timed_out())


def _request(request: Request, url: httpx.URL) -> httpx.Request:
    limit = request.deadline.limit()
    timeout = httpx.Timeout(limit, connect=request.deadline.limit(CONNECT_TIMEOUT))
    headers = [("Host", url.netloc.decode("ascii")), *request.headers.items()]
    if request.method == "POST":
        headers.append(("Content-Length", str(len(request.content))))
    return httpx.Request(
        request.method,
        url,
        headers=headers,
        stream=_Content(request.content),
        extensions={"timeout": timeout.as_dict()},
    )


class _Content(httpx.SyncByteStream, httpx.AsyncByteStream):
    """The body of a request. The iterator of httpx is a generator, which trio does not want to be left unfinished."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._sent = not content

    def __iter__(self) -> Iterator[bytes]:
        return iter((self._content,) if self._content else ())

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._sent:
            raise StopAsyncIteration
        self._sent = True
        return self._content


@lru_cache(maxsize=256)
def _url(text: str) -> httpx.URL:
    return httpx.URL(text)


def _route(url: httpx.URL, proxies: Proxies) -> tuple[tuple[str, str, int | None, str | None], str | None]:
    """The target of a connection for the URL, and the proxy in between."""
    proxy = proxies.get(url.scheme, url.host, url.port)
    return (url.scheme, url.host, url.port, proxy), proxy
