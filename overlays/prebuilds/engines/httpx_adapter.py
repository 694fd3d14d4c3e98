"""An httpx client on top of an engine, for the endpoint functions of `prebuild_api`."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import Any

import httpx

from prebuild_api.http import RawResponse
from prebuilds.credentials import bearer_token
from prebuilds.engines.exchange import AsyncEngine, Deadline, Engine, ExchangeError, Request
from prebuilds.flows.effects import Effect
from prebuilds.flows.interpreter import run, run_async
from prebuilds.options import Options

_CONNECTION_HEADERS = ("host", "content-length", "transfer-encoding", "connection", "cookie")
"""Headers of a request that the engine sets by itself, or that must not be sent."""

_BODY_HEADERS = ("content-encoding", "content-length", "transfer-encoding", "set-cookie")
"""Headers of a response that no longer describe its body, or that would be kept for the next request."""


def client(options: Options, engine: Callable[[], Engine], perform: Callable[[Effect], object]) -> httpx.Client:
    """An httpx client with base URL and credentials."""
    return httpx.Client(**_arguments(options, perform), transport=_Transport(engine, options.max_response_bytes))


def async_client(
    options: Options, engine: Callable[[], Awaitable[AsyncEngine]], perform: Callable[[Effect], Awaitable[object]]
) -> httpx.AsyncClient:
    """Like `client`, for asynchronous calls."""
    transport = _AsyncTransport(engine, options.max_response_bytes)
    return httpx.AsyncClient(**_arguments(options, perform), transport=transport)


def _arguments(options: Options, perform: Callable[[Effect], Any]) -> dict[str, Any]:
    return {
        "base_url": options.base_url,
        "auth": _BearerAuth(options, perform),
        "timeout": options.timeout,
        "headers": options.headers,
        "follow_redirects": False,
    }


class _BearerAuth(httpx.Auth):
    """Adds the token to each request."""

    def __init__(self, options: Options, perform: Callable[[Effect], Any]) -> None:
        self._options = options
        self._perform = perform

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        token = run(bearer_token(self._options.token), self._perform)
        request.headers["Authorization"] = f"Bearer {token}"
        yield request

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        token = await run_async(bearer_token(self._options.token), self._perform)
        request.headers["Authorization"] = f"Bearer {token}"
        yield request


class _Transport(httpx.BaseTransport):
    def __init__(self, engine: Callable[[], Engine], max_bytes: int) -> None:
        self._engine = engine
        self._max_bytes = max_bytes

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        content = request.read()
        try:
            return _response(self._engine().exchange(_request(request, content, self._max_bytes)))
        except ExchangeError as error:
            raise _httpx_error(error, request) from error


class _AsyncTransport(httpx.AsyncBaseTransport):
    def __init__(self, engine: Callable[[], Awaitable[AsyncEngine]], max_bytes: int) -> None:
        self._engine = engine
        self._max_bytes = max_bytes

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        content = await request.aread()
        engine = await self._engine()
        try:
            return _response(await engine.exchange(_request(request, content, self._max_bytes)))
        except ExchangeError as error:
            raise _httpx_error(error, request) from error


def _request(request: httpx.Request, content: bytes, max_bytes: int) -> Request:
    seconds: float | None = request.extensions.get("timeout", {}).get("read")
    return Request(
        method=request.method,
        url=str(request.url),
        headers={name: value for name, value in request.headers.items() if name not in _CONNECTION_HEADERS},
        content=content,
        deadline=Deadline(math.inf if seconds is None else seconds),
        max_bytes=max_bytes,
    )


def _response(received: RawResponse) -> httpx.Response:
    headers = {name: value for name, value in received.headers.items() if name not in _BODY_HEADERS}
    return httpx.Response(received.status_code, headers=headers, content=received.content)


def _httpx_error(error: ExchangeError, request: httpx.Request) -> httpx.TransportError:
    if error.maybe_executed:
        kind: type[httpx.TransportError] = httpx.ReadTimeout if error.timed_out else httpx.ReadError
    else:
        kind = httpx.ConnectTimeout if error.timed_out else httpx.ConnectError
    return kind(str(error), request=request)
