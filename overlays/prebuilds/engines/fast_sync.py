"""The fast engine of the synchronous client: sockets, and the HTTP parser of the standard library.

Of all measured parsers (see `make peers`), `http.client` is as fast as the compiled parsers. Unlike them, it releases
its resources on Ctrl-C and after a fork. It has no pool and no proxies, which are here.
"""

from __future__ import annotations

import base64
import io
import socket
import ssl
from functools import lru_cache
from http.client import HTTPException, HTTPResponse
from typing import Any, NamedTuple, cast
from urllib.parse import SplitResult, unquote, urlsplit

from prebuild_api.http import Headers, RawResponse
from prebuilds.engines import network
from prebuilds.engines.body import Body, Pieces
from prebuilds.engines.environment import Proxies, tls_context
from prebuilds.engines.exchange import (
    CHUNK,
    MAX_INTERIM_RESPONSES,
    Deadline,
    ExchangeError,
    Request,
    proxy_error,
)
from prebuilds.engines.idle import IdleStack
from prebuilds.errors import ConfigurationError


class FastEngine:
    """Implements `Engine`.

    Args:
        context: whom to trust, the authorities of the system and of the environment by default.
    """

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._context = context
        self._idle: IdleStack[_Connection] = IdleStack()
        self._proxies = Proxies()
        self._closed = False

    def exchange(self, request: Request) -> RawResponse:
        """Send a request, and read the whole response."""
        target = _target(request.url)
        route = self._route(target)
        connection = self._connected(route, target, request.deadline)
        try:
            response, headers = connection.begin(request, target)
            try:
                body = Body(response.status, headers, request.max_bytes)
                connection.read_body(response, body)
                received = body.response()
                reusable = connection.is_reusable(response)
            finally:
                response.close()
        except BaseException:
            connection.close()
            raise
        if reusable:
            self._keep(route, connection)
        else:
            connection.close()
        return received

    def open(self, request: Request) -> _Stream:
        """Send a request, and read the head of the response."""
        target = _target(request.url)
        connection = self._connect(self._route(target), target, request.deadline)
        try:
            return _Stream(connection, *connection.begin(request, target))
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        """Close all connections that are idle. A connection in use is closed when its request ends."""
        self._closed = True
        for connection in self._idle.clear():
            connection.close()

    def _route(self, target: _Target) -> _Route:
        return _Route(target.origin, self._proxies.get(*target.origin))

    def _connected(self, route: _Route, target: _Target, deadline: Deadline) -> _Connection:
        while (connection := self._idle.pop(route)) is not None:
            if connection.is_idle():
                return connection
            connection.close()
        return self._connect(route, target, deadline)

    def _connect(self, route: _Route, target: _Target, deadline: Deadline) -> _Connection:
        if target.scheme == "https" and self._context is None:
            self._context = tls_context()
        if route.proxy is None:
            connection = _Connection(network.connect(target.host, target.port, deadline))
        else:
            connection = _through_proxy(route.proxy, target, deadline)
        if target.scheme == "https" and self._context is not None:
            connection = _Connection(network.secure(connection.socket, self._context, target.host, deadline))
        return connection

    def _keep(self, route: _Route, connection: _Connection) -> None:
        surplus = [connection] if self._closed else self._idle.push(route, connection)
        for each in surplus:
            each.close()


class _Target(NamedTuple):
    """The parts of a URL."""

    scheme: str
    host: str
    port: int
    authority: str
    """Host and port as the Host header has them."""
    path: str

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port


class _Route(NamedTuple):
    """The target of a connection."""

    origin: tuple[str, str, int]
    proxy: str | None


@lru_cache(maxsize=256)
def _target(url: str) -> _Target:
    parts = urlsplit(url)
    host = _host(parts)
    authority = f"[{host}]" if ":" in host else host
    if parts.port is not None:
        authority = f"{authority}:{parts.port}"
    path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    return _Target(parts.scheme, host, parts.port or (443 if parts.scheme == "https" else 80), authority, path)


def _host(parts: SplitResult) -> str:
    host = parts.hostname or ""
    return host if host.isascii() else host.encode("idna").decode()


class _Connection:
    """A connection with one exchange at a time. It keeps the deadline of the exchange."""

    def __init__(self, connection: socket.socket, *, absolute: bool = False, authorization: str = "") -> None:
        self.socket = connection
        self.deadline = Deadline(0)
        self._absolute = absolute
        self._authorization = authorization
        self._reader = _Reader(_Raw(self), CHUNK)

    def begin(self, request: Request, target: _Target) -> tuple[HTTPResponse, Headers]:
        """Send a request, and read the head of the response.

        Raises:
            ExchangeError: there is no response. The server may have carried out the request.
        """
        self.deadline = request.deadline
        where = f"http://{target.authority}{target.path}" if self._absolute else target.path
        lines = [f"{request.method} {where} HTTP/1.1", f"Host: {target.authority}"]
        lines += [f"{name}: {value}" for name, value in request.headers.items()]
        if self._authorization:
            lines.append(f"Proxy-Authorization: {self._authorization}")
        if request.method == "POST":
            lines.append(f"Content-Length: {len(request.content)}")
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        try:
            network.send(self.socket, head + request.content, self.deadline)
        except OSError as error:
            # The server may have responded before it hung up.
            return self._head(request.method, f"the connection was lost: {error}")
        return self._head(request.method)

    def _head(self, method: str, lost: str = "") -> tuple[HTTPResponse, Headers]:
        for _ in range(MAX_INTERIM_RESPONSES):
            # It needs only a file to read from as its argument.
            response = HTTPResponse(cast("socket.socket", self), method=method)
            try:
                response.begin()
            except (HTTPException, OSError, ValueError) as error:
                response.close()
                said = lost or _said(error)
                raise ExchangeError(said, maybe_executed=True) from error
            except BaseException:
                response.close()
                raise
            if not 100 <= response.status < 200 or response.status == 101:
                headers = Headers(response.getheaders())
                if _is_valid_length(headers):
                    return response, headers
                response.close()
                raise ExchangeError("the Content-Length of the response is invalid", maybe_executed=True)
            response.close()
        raise ExchangeError("the server sends one interim response after the other", maybe_executed=True)

    def read_body(self, response: HTTPResponse, body: Body) -> None:
        """Read the body as far as it is wanted."""
        try:
            while chunk := response.read1(CHUNK):
                if not body.feed(chunk):
                    return
            if response.length:
                body.broke(ExchangeError(f"the body is cut off: {response.length} bytes missing", maybe_executed=True))
        except ExchangeError as error:
            body.broke(error)
        except (HTTPException, OSError, ValueError) as error:
            body.broke(ExchangeError(_said(error), maybe_executed=True))

    def makefile(self, mode: str) -> io.BufferedReader:
        """The file that `HTTPResponse` reads from.

        It is the same for all responses, as it may hold the beginning of the next response.
        """
        return self._reader

    def is_reusable(self, response: HTTPResponse) -> bool:
        """Return True if the response was read to its end, and the server keeps the connection open."""
        return not response.will_close and (response.length == 0 or response.isclosed())

    def is_idle(self) -> bool:
        """Return True if the next request can be sent."""
        return network.is_idle(self.socket)

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()


class _Raw(io.RawIOBase):
    """Reads from the socket of a connection within its deadline."""

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        sock = self._connection.socket
        return network.receive(sock, lambda: sock.recv_into(buffer), self._connection.deadline)


class _Reader(io.BufferedReader):
    """A reader that outlives each response."""

    def close(self) -> None:
        """Do nothing: the connection closes its socket."""


class _Stream:
    """Implements `Stream`."""

    def __init__(self, connection: _Connection, response: HTTPResponse, headers: Headers) -> None:
        self.response = RawResponse(response.status, headers)
        self._connection = connection
        self._http = response
        self._pieces = Pieces(headers)

    def read(self, timeout: float) -> bytes | None:
        self._connection.deadline = Deadline(timeout)
        while not (piece := self._pieces.next()):
            try:
                chunk = self._http.read1(CHUNK)
            except (HTTPException, OSError, ValueError) as error:
                raise ExchangeError(_said(error), maybe_executed=True) from error
            if not chunk:
                if self._http.length:
                    raise ExchangeError("the body is cut off", maybe_executed=True)
                return None
            self._pieces.feed(chunk)
        return piece

    def close(self) -> None:
        self._http.close()
        self._connection.close()


def _through_proxy(proxy: str, target: _Target, deadline: Deadline) -> _Connection:
    """A connection to the target, or to a proxy that passes requests on.

    Raises:
        ConfigurationError: only the default engine speaks to such a proxy.
        ExchangeError: the proxy cannot be reached, or refuses.
    """
    parts = urlsplit(proxy)
    if parts.scheme != "http":
        raise ConfigurationError(
            f"the fast engine cannot use a proxy that speaks {parts.scheme}: use the default engine, "
            "PrebuildClient(engine='httpx')"
        )
    authorization = ""
    if parts.username:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = f"Basic {base64.b64encode(pair.encode()).decode()}"
    host, port = _host(parts), parts.port or 80
    connection = network.connect(host, port, deadline)
    if target.scheme == "http":
        return _Connection(connection, absolute=True, authorization=authorization)
    tunnel = _Connection(connection)
    address = f"{target.authority.removesuffix(f':{target.port}')}:{target.port}"
    headers = {"Proxy-Authorization": authorization} if authorization else {}
    request = Request(method="CONNECT", url="", headers=headers, deadline=deadline, max_bytes=0)
    try:
        response, _ = tunnel.begin(request, target._replace(authority=address, path=address))
    except ExchangeError as error:
        connection.close()
        raise ExchangeError(
            f"the proxy {host}:{port} does not connect: {error}", maybe_executed=False, timed_out=error.timed_out
        ) from error
    response.close()
    if response.status != 200:
        connection.close()
        raise proxy_error(response.status, f"the proxy {host}:{port} responded {response.status}")
    return tunnel


def _is_valid_length(headers: Headers) -> bool:
    """Return True if a response states its length once, or the same length several times.

    `http.client` accepts any usable value.
    """
    lengths = {length.strip() for length in headers.get("content-length", "0").split(",")}
    (length, *others) = lengths
    return not others and length.isascii() and length.isdigit()


def _said(error: Exception) -> str:
    """The exceptions of `http.client` have few words."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
