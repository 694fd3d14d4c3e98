"""The fast engine of the asynchronous client under asyncio: aiohttp."""

from __future__ import annotations

import asyncio
import ssl
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
from yarl import URL

from prebuild_api.http import Headers, RawResponse
from prebuilds.engines.body import Body, Pieces
from prebuilds.engines.environment import Proxies, tls_context
from prebuilds.engines.exchange import (
    CERTIFICATE_ADVICE,
    CONNECT_TIMEOUT,
    MAX_IDLE_SECONDS,
    NO_TLS_ADVICE,
    NO_TLS_REASONS,
    Deadline,
    ExchangeError,
    Request,
    proxy_error,
    timed_out,
)
from prebuilds.errors import ConfigurationError


class AsyncFastEngine:
    """Implements `AsyncEngine`.

    Args:
        context: whom to trust, the authorities of the system and of the environment by default.
    """

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._context = context
        self._session: aiohttp.ClientSession | None = None
        self._proxies = Proxies()

    async def exchange(self, request: Request) -> RawResponse:
        """Send a request, and read the whole response."""
        progress = SimpleNamespace(sent=False)
        await _notice_closed_connections()
        response: aiohttp.ClientResponse | None = None
        body: Body | None = None
        try:
            async with asyncio.timeout(request.deadline.limit()):
                response = await self._send(request, progress)
                body = Body(response.status, Headers.from_raw(response.raw_headers), request.max_bytes)
                await _read(response, body)
        except (aiohttp.ClientError, TimeoutError) as error:
            if response is not None:
                response.close()
            if body is None:
                raise _failure(error, sent=progress.sent) from error
            body.broke(_failure(error, sent=True))
        except BaseException:
            if response is not None:
                response.close()
            raise
        response = cast("aiohttp.ClientResponse", response)
        response.release()
        return body.response()

    async def open(self, request: Request) -> _Stream:
        """Send a request, and read the head of the response."""
        progress = SimpleNamespace(sent=False)
        await _notice_closed_connections()
        try:
            async with asyncio.timeout(request.deadline.limit()):
                response = await self._send(request, progress)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _failure(error, sent=progress.sent) from error
        return _Stream(response)

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    async def _send(self, request: Request, progress: SimpleNamespace) -> aiohttp.ClientResponse:
        arguments: dict[str, Any] = {}
        url = _url(request.url)
        proxy = self._proxies.get(url.scheme, url.host or "", url.explicit_port)
        if proxy is not None:
            if not proxy.startswith("http"):
                raise ConfigurationError(
                    "the fast engine cannot use a SOCKS proxy: use the default engine, "
                    "AsyncPrebuildClient(engine='httpx')"
                )
            arguments["proxy"] = URL(proxy)
        if url.scheme == "https":
            if self._context is None:
                self._context = tls_context()
            arguments["ssl"] = self._context
        return await self._opened().request(
            request.method,
            url,
            headers=request.headers,
            data=request.content or None,
            allow_redirects=False,
            trace_request_ctx=progress,
            timeout=aiohttp.ClientTimeout(total=None, connect=request.deadline.limit(CONNECT_TIMEOUT)),
            **arguments,
        )

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            trace = aiohttp.TraceConfig(trace_config_ctx_factory=cast("Any", _context))
            trace.on_request_headers_sent.append(_sent)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=MAX_IDLE_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent", "Content-Type"),
                auto_decompress=False,
                trust_env=False,
                trace_configs=[trace],
            )
        return self._session


@lru_cache(maxsize=256)
def _url(text: str) -> URL:
    return URL(text, encoded=True)


async def _notice_closed_connections() -> None:
    """Let the loop notice which idle connections the server has closed.

    A request on a closed connection would fail, and a create could not be repeated.
    """
    await asyncio.sleep(0)


async def _read(response: aiohttp.ClientResponse, body: Body) -> None:
    content = response.content
    while not content.at_eof():
        chunk = await content.readany()
        if chunk and not body.feed(chunk):
            response.close()
            return


def _context(trace_request_ctx: SimpleNamespace) -> SimpleNamespace:
    return trace_request_ctx


async def _sent(_session: object, progress: Any, _parameters: object) -> None:
    """Note that the request is on its way: from here on, a lost connection is not a failure to connect."""
    progress.sent = True


class _Stream:
    """Implements `AsyncStream`."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        headers = Headers.from_raw(response.raw_headers)
        self.response = RawResponse(response.status, headers)
        self._http = response
        self._pieces = Pieces(headers)

    async def read(self, timeout: float) -> bytes | None:
        deadline = Deadline(timeout)
        while not (piece := self._pieces.next()):
            try:
                async with asyncio.timeout(deadline.limit()):
                    chunk = await self._http.content.readany()
            except aiohttp.ClientError as error:
                raise ExchangeError(_said(error), maybe_executed=True) from error
            except TimeoutError as error:
                raise timed_out() from error
            if not chunk:
                return None
            self._pieces.feed(chunk)
        return piece

    async def aclose(self) -> None:
        self._http.close()


def _failure(error: Exception, *, sent: bool) -> ExchangeError:
    if isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ClientError):
        return timed_out(maybe_executed=sent)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return proxy_error(error.status, f"the proxy responded {error.status}")
    cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error.__cause__
    advice = ""
    if isinstance(cause, ssl.SSLCertVerificationError):
        advice = CERTIFICATE_ADVICE
    elif isinstance(cause, ssl.SSLError) and cause.reason in NO_TLS_REASONS:
        advice = NO_TLS_ADVICE
    return ExchangeError(
        _said(error),
        maybe_executed=sent,
        timed_out=isinstance(error, TimeoutError),
        lasting=bool(advice) or isinstance(error, aiohttp.InvalidURL),
        advice=advice,
    )


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__
