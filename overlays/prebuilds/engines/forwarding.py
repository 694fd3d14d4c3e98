"""Engines that send requests with an `http_client` or a `transport` of the caller.

Anything with the interface of an httpx client will do, such as a client of httpx2. One kind of report of such a client
is not trusted: public transports report a connection lost after sending as a failure to connect. So a request that
fails on a foreign transport may always have been carried out.
"""

from __future__ import annotations

import queue
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import copy_context
from types import ModuleType
from typing import Any, TypeVar

import httpx

from prebuild_api.http import Headers, RawResponse
from prebuilds.engines.body import Body, Pieces
from prebuilds.engines.exchange import CONNECT_TIMEOUT, Deadline, ExchangeError, Request, timed_out
from prebuilds.engines.failures import failure
from prebuilds.engines.network import start_thread
from prebuilds.errors import ClientClosedError

T = TypeVar("T")

_GRACE = 0.05
"""Seconds beyond the limit of each step, so that the client itself can say which step took too long."""

_QUEUED = 8
"""The number of pieces of a stream that are read ahead."""

_GONE = "the http_client that this client sends requests with has been closed"


def library_of(http: object) -> ModuleType:
    """The module of an HTTP client or transport: httpx, or a library with the same interface."""
    for kind in type(http).__mro__:
        module = sys.modules.get(kind.__module__.partition(".")[0])
        if module is not None and hasattr(module, "HTTPTransport") and hasattr(module, "Request"):
            return module
    return httpx


def is_trusted(http: Any) -> bool:
    """Return True if all transports of an HTTP client belong to its library.

    Such transports report reliably which requests were not sent.
    """
    library = library_of(http)
    own = (library.HTTPTransport, library.AsyncHTTPTransport)
    transports = [getattr(http, "_transport", None), *getattr(http, "_mounts", {}).values()]
    return all(transport is None or type(transport) in own for transport in transports) and transports[0] is not None


def client_of(transport: Any, kind: str) -> Any:
    """A client of the transport's library, `Client` or `AsyncClient`, that sends its requests with it."""
    return getattr(library_of(transport), kind)(transport=transport, trust_env=False)


class _Forwarding:
    """The common base of both engines."""

    def __init__(self, client: Any, *, owned: bool) -> None:
        self._client = client
        self._owned = owned
        self._library = library_of(client)
        self._trusted = is_trusted(client)

    def _request(self, request: Request) -> Any:
        if self._client.is_closed:
            raise ClientClosedError(_GONE)
        limit = request.deadline.limit()
        timeout = self._library.Timeout(limit, connect=request.deadline.limit(CONNECT_TIMEOUT))
        headers = {name: value for name, value in self._client.headers.items() if name != "cookie"}
        headers.update({name.lower(): value for name, value in request.headers.items()})
        return self._library.Request(
            request.method,
            request.url,
            headers=headers,
            content=request.content or None,
            extensions={"timeout": timeout.as_dict()},
        )

    def _forget_cookies(self, response: Any) -> None:
        """Drop the cookies that the response has set: the next request may have another token."""
        if "set-cookie" not in response.headers:
            return
        for cookie in response.cookies.jar:
            try:
                self._client.cookies.jar.clear(cookie.domain, cookie.path, cookie.name)
            except KeyError:  # another thread was faster
                continue

    def _failure(self, error: Exception) -> Exception:
        """The meaning of an exception of the client.

        Exceptions that the client does not raise itself pass unchanged.
        """
        library = self._library
        if isinstance(error, RuntimeError) and self._client.is_closed:
            return ClientClosedError(_GONE)
        if isinstance(error, library.RequestError):
            return failure(error, library, trusted=self._trusted)
        return error


class ForwardingEngine(_Forwarding):
    """Implements `Engine` with an httpx client, or a client with the same interface.

    Each request runs in its own thread: nothing else ends a read of a foreign socket in time.

    Args:
        client: The client that sends the requests.
        owned: whether it is closed with this engine.
    """

    def exchange(self, request: Request) -> RawResponse:
        """Send a request, and read the whole response."""
        return self._in_time(lambda: self._exchange(request), request.deadline)

    def open(self, request: Request) -> _Stream:
        """Send a request, and read the head of the response."""
        return _Stream(self._in_time(lambda: self._begin(request), request.deadline), self._failure)

    def close(self) -> None:
        """Close the client, if it belongs to this engine."""
        if self._owned:
            self._client.close()

    def _exchange(self, request: Request) -> RawResponse:
        response = self._begin(request)
        try:
            return _read(response, request, self._failure)
        finally:
            response.close()

    def _begin(self, request: Request) -> Any:
        sent = self._request(request)
        try:
            response = self._client.send(sent, stream=True, auth=None, follow_redirects=False)
        except Exception as error:
            raise self._failure(error) from error
        self._forget_cookies(response)
        return response

    def _in_time(self, work: Callable[[], T], deadline: Deadline) -> T:
        """Do some work in a thread, which is left behind when the deadline passes."""
        outcomes: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()
        context = copy_context()

        def run() -> None:
            try:
                outcomes.put((context.run(work), None))
            except BaseException as error:  # noqa: BLE001 - it is raised where the result is waited for
                outcomes.put((None, error))

        limit = deadline.limit()
        if limit is None or start_thread(run) is None:
            return work()
        try:
            result, error = outcomes.get(timeout=limit + _GRACE)
        except queue.Empty:
            raise timed_out() from None
        finally:
            deadline.cancelled = True
        if error is not None:
            raise error
        return result  # type: ignore[return-value]  # there is one where there is no error


class _Stream:
    """Implements `Stream`: a thread reads ahead, so that waiting for the next piece can end at any time."""

    def __init__(self, response: Any, failure: Callable[[Exception], Exception]) -> None:
        headers = Headers.from_raw(response.headers.raw)
        self.response = RawResponse(response.status_code, headers)
        self._http = response
        self._failure = failure
        self._pieces = Pieces(headers)
        self._chunks: queue.Queue[bytes | Exception | None] = queue.Queue(_QUEUED)
        self._closed = False
        if start_thread(self._run) is None:
            raise ExchangeError("no thread can be started to read the stream", maybe_executed=False)

    def read(self, timeout: float) -> bytes | None:
        deadline = Deadline(timeout)
        while not (piece := self._pieces.next()):
            try:
                chunk = self._chunks.get(timeout=deadline.limit())
            except queue.Empty:
                raise timed_out() from None
            if isinstance(chunk, Exception):
                raise chunk
            if chunk is None:
                return None
            self._pieces.feed(chunk)
        return piece

    def close(self) -> None:
        self._closed = True

    def _run(self) -> None:
        last: Exception | None = None
        try:
            for chunk in _raw(self._http):
                self._put(chunk)
                if self._closed:
                    break
        except Exception as error:  # noqa: BLE001 - it is raised where the stream is read
            last = self._failure(error)
        self._http.close()
        self._put(last)

    def _put(self, item: bytes | Exception | None) -> None:
        while not self._closed:
            try:
                self._chunks.put(item, timeout=0.1)
                return
            except queue.Full:
                continue


class AsyncForwardingEngine(_Forwarding):
    """Implements `AsyncEngine` with an asynchronous httpx client, or a client with the same interface."""

    async def exchange(self, request: Request) -> RawResponse:
        """Send a request, and read the whole response."""
        response = await self._begin(request)
        try:
            return await self._read(response, request)
        finally:
            await _close(response)

    async def open(self, request: Request) -> _AsyncStream:
        """Send a request, and read the head of the response."""
        return _AsyncStream(await self._begin(request), self._failure)

    async def aclose(self) -> None:
        """Close the client, if it belongs to this engine."""
        if self._owned:
            await self._client.aclose()

    async def _begin(self, request: Request) -> Any:
        import anyio  # httpx brings it

        sent = self._request(request)
        limit = request.deadline.limit()
        try:
            with anyio.fail_after(None if limit is None else limit + _GRACE):
                response = await self._client.send(sent, stream=True, auth=None, follow_redirects=False)
        except TimeoutError as error:
            raise timed_out() from error
        except Exception as error:
            raise self._failure(error) from error
        self._forget_cookies(response)
        return response

    async def _read(self, response: Any, request: Request) -> RawResponse:
        import anyio

        headers, content = _consumed(response)
        body = Body(response.status_code, headers, request.max_bytes)
        if content is not None:
            body.feed(content)
            return body.response()
        with anyio.move_on_after(request.deadline.limit()) as scope:
            try:
                async for chunk in response.aiter_raw():
                    if not body.feed(chunk):
                        break
            except self._library.RequestError as error:
                body.broke(failure(error, self._library, trusted=self._trusted))
        if scope.cancelled_caught:
            body.broke(timed_out())
        return body.response()


class _AsyncStream:
    """Implements `AsyncStream`."""

    def __init__(self, response: Any, failure: Callable[[Exception], Exception]) -> None:
        headers = Headers.from_raw(response.headers.raw)
        self.response = RawResponse(response.status_code, headers)
        self._http = response
        self._failure = failure
        self._pieces = Pieces(headers)
        self._chunks: AsyncIterator[bytes] = response.aiter_raw()

    async def read(self, timeout: float) -> bytes | None:
        import anyio

        deadline = Deadline(timeout)
        while not (piece := self._pieces.next()):
            try:
                with anyio.fail_after(deadline.limit()):
                    chunk = await anext(self._chunks, None)
            except TimeoutError as error:
                raise timed_out() from error
            except Exception as error:
                raise self._failure(error) from error
            if chunk is None:
                return None
            self._pieces.feed(chunk)
        return piece

    async def aclose(self) -> None:
        await _close(self._http)


async def _close(response: Any) -> None:
    """Close a response, though the task may have been cancelled."""
    import anyio

    with anyio.CancelScope(shield=True):
        await response.aclose()


def _read(response: Any, request: Request, failure: Callable[[Exception], Exception]) -> RawResponse:
    headers, content = _consumed(response)
    body = Body(response.status_code, headers, request.max_bytes)
    if content is not None:
        body.feed(content)
        return body.response()
    try:
        for chunk in response.iter_raw():
            request.deadline.check()
            if not body.feed(chunk):
                break
    except Exception as error:
        found = failure(error)
        if not isinstance(found, ExchangeError):
            raise
        body.broke(found)
    return body.response()


def _consumed(response: Any) -> tuple[Headers, bytes | None]:
    """The headers, and the body if a transport or a hook of the caller has read it, and with that decompressed it."""
    pairs = response.headers.raw
    if not response.is_stream_consumed:
        return Headers.from_raw(pairs), None
    content: bytes = response.content
    return Headers.from_raw(pair for pair in pairs if pair[0].lower() != b"content-encoding"), content


def _raw(response: Any) -> Iterator[bytes]:
    """The body as it came over the wire."""
    chunks: Iterator[bytes] = response.iter_raw()
    return chunks
