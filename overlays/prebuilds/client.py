"""The two clients."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self, Unpack

from attrs import evolve

from prebuild_api.operations import Attempt
from prebuild_api.resources import AsyncServices, Services
from prebuilds.calls import CallExecutor
from prebuilds.connections import AsyncConnections, Connections, async_engine_maker, closed_error, engine_maker
from prebuilds.engines.exchange import AsyncEngine, Engine
from prebuilds.flows.drivers import AsyncDriver, Driver
from prebuilds.flows.effects import Runtime
from prebuilds.logging import set_up_logging
from prebuilds.options import (
    DEFAULT_MAX_RESPONSE_BYTES,
    DEFAULT_RETRIES,
    DEFAULT_TIMEOUT,
    ClientOptions,
    EngineName,
    Options,
    Seconds,
    Token,
)
from prebuilds.resource import AsyncPrebuilds, BaseT, Prebuilds, async_resource, resource

if TYPE_CHECKING:
    import httpx


class _ClientBase:
    """The common base of both clients. Nothing is opened before the first call."""

    _executor: CallExecutor
    _connections: Any
    _closed = False

    def _set_up(self, runtime: Runtime | None, **arguments: Any) -> None:
        set_up_logging()
        self._executor = CallExecutor(options=Options.read(**arguments), runtime=runtime or Runtime())

    @property
    def base_url(self) -> str:
        """The address in front of the method paths."""
        return self._executor.options.base_url

    @property
    def is_closed(self) -> bool:
        """True if the client was closed. A closed client rejects calls."""
        return self._closed or self._connections.is_closed

    def __repr__(self) -> str:
        if not hasattr(self, "_connections"):
            return f"<{type(self).__name__}, not set up>"
        return f"<{type(self).__name__} for {self.base_url}{', closed' if self.is_closed else ''}>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} cannot be pickled or copied, because it has open connections: make a new one, "
            "or call with_options() for another one on the same connections"
        )

    def with_options(self, **options: Unpack[ClientOptions]) -> Self:
        """A client with other options, on the same connections and with the same retry budget.

        Other options stay as they are; `headers` are added to the headers of this client. The connections belong
        to this client: closing the other one leaves them open, closing this one closes them for both.

        Raises:
            ClientClosedError: this client has been closed.
            ConfigurationError: the token is not valid.
            TypeError: an option does not exist.
            ValueError: an option has an invalid value.
        """
        self._check_open()
        executor = self._executor
        other = object.__new__(type(self))
        other._executor = evolve(executor, options=executor.options.replace(options))
        other._connections = self._connections
        other._is_owner = False
        other._add_methods()
        return other

    _is_owner = True
    """True if the connections belong to this client rather than to the client that it copies."""

    def _add_methods(self) -> None:
        raise NotImplementedError

    def _check_open(self) -> None:
        if self.is_closed:
            raise closed_error(type(self).__name__)


class PrebuildClient(_ClientBase, Services):
    """A client of the PrebuildService.

    It may be shared by threads, and keeps its connections until `close` or the end of a `with` block. A forked process
    opens its own connections; connections of an `http_client` or a `transport` are the caller's responsibility.

        with PrebuildClient() as client:
            prebuild = client.prebuilds.create_and_wait(project_id=...)

    Args:
        bearer_token: The API token, or a function that is called for the token of each request. By default the first of
            the environment variables GITPOD_API_KEY, ONA_API_KEY and ONA_TOKEN that is set and not empty.
        base_url: The address in front of the method paths. By default the first of the environment variables
            GITPOD_BASE_URL and ONA_BASE_URL that is set and not empty, or else `https://app.gitpod.io/api`.
        timeout: The time for a call with all its attempts, in seconds or as a `timedelta`; None for no limit. Each
            method takes its own `timeout`, too. A read that gets no response is abandoned at half the time and retried.
        retries: The number of times that a failed call is repeated at most. Calls that would act twice are repeated
            only if they certainly did not reach the service. Each method takes its own `retries`, too.
        headers: Headers of every request.
        on_attempt: Called after each attempt of each call, possibly in another thread. An exception that it raises ends
            the call.
        max_response_bytes: The limit for the size of a response, after decompression.
        engine: The engine that sends the requests: `"httpx"`, or `"fast"` for less CPU time (the `fast` extra).
            Everything else is the same.
        ssl_context: Which servers to trust. By default those whose certificates the system trusts, or the environment
            variables SSL_CERT_FILE and SSL_CERT_DIR.
        http_client: An `httpx.Client` (or a client of httpx2) that sends the requests, for a proxy for example. It
            stays yours: `close` leaves it open.
        transport: An httpx transport to send the requests with. It is closed with the client.

    Attributes:
        prebuilds: the methods of the service.

    Raises:
        ConfigurationError: the token is missing, or a setting is invalid.
    """

    def __init__(
        self,
        bearer_token: Token | None = None,
        *,
        base_url: str | None = None,
        timeout: Seconds | None = DEFAULT_TIMEOUT,
        retries: int = DEFAULT_RETRIES,
        headers: Mapping[str, str] | None = None,
        on_attempt: Callable[[Attempt], object] | None = None,
        max_response_bytes: int = DEFAULT_MAX_RESPONSE_BYTES,
        engine: EngineName = "httpx",
        ssl_context: ssl.SSLContext | None = None,
        http_client: httpx.Client | None = None,
        transport: httpx.BaseTransport | None = None,
        _runtime: Runtime | None = None,
    ) -> None:
        self._set_up(
            _runtime,
            bearer_token=bearer_token,
            base_url=base_url,
            timeout=timeout,
            retries=retries,
            headers=headers,
            on_attempt=on_attempt,
            max_response_bytes=max_response_bytes,
        )
        self._connections = Connections(
            engine_maker(engine, ssl_context, http_client, transport),
            self._executor.budget,
            forwards=http_client is not None or transport is not None,
        )
        self._add_methods()

    def _add_methods(self) -> None:
        self._http: httpx.Client | None = None
        self._driver = Driver(self._engine, self._connections.limiter, self._executor.runtime)
        self.prebuilds = Prebuilds(self._executor, self._driver)

    def _resource(self, base: type[BaseT]) -> BaseT:
        return resource(base, self._executor, self._driver)

    def _engine(self) -> Engine:
        self._check_open()
        engine: Engine = self._connections.engine()
        return engine

    def get_httpx_client(self) -> httpx.Client:
        """An httpx client on the connections of this one, with base URL and credentials.

        With it, the functions of `prebuild_api.api` accept this client as their `client`. They do not retry, and raise
        exceptions of httpx.

        Raises:
            ClientClosedError: the client has been closed.
        """
        self._check_open()
        if self._http is None:
            from prebuilds.engines.httpx_adapter import client

            self._http = client(
                self._executor.options, self._engine, lambda effect: self._driver.perform(effect, set())
            )
        return self._http

    def close(self) -> None:
        """Close the connections, and reject further calls. Further calls have no effect.

        A call that another thread has in flight goes on until its response arrives.
        """
        self._closed = True
        if self._is_owner:
            self._connections.close()

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class AsyncPrebuildClient(_ClientBase, AsyncServices):
    """A client of the PrebuildService for asynchronous code, under asyncio and trio.

    The tasks of one event loop may share it. It keeps its connections until `aclose`, the end of an `async with` block,
    or the end of the event loop. In another event loop, of a second `asyncio.run` for example, it opens new ones.
    Arguments, attributes and errors match `PrebuildClient`; `http_client` is an `httpx.AsyncClient`, `transport` an
    `httpx.AsyncBaseTransport`, and callbacks may be asynchronous.
    """

    def __init__(
        self,
        bearer_token: Token | None = None,
        *,
        base_url: str | None = None,
        timeout: Seconds | None = DEFAULT_TIMEOUT,
        retries: int = DEFAULT_RETRIES,
        headers: Mapping[str, str] | None = None,
        on_attempt: Callable[[Attempt], object] | None = None,
        max_response_bytes: int = DEFAULT_MAX_RESPONSE_BYTES,
        engine: EngineName = "httpx",
        ssl_context: ssl.SSLContext | None = None,
        http_client: httpx.AsyncClient | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        _runtime: Runtime | None = None,
    ) -> None:
        self._set_up(
            _runtime,
            bearer_token=bearer_token,
            base_url=base_url,
            timeout=timeout,
            retries=retries,
            headers=headers,
            on_attempt=on_attempt,
            max_response_bytes=max_response_bytes,
        )
        self._connections = AsyncConnections(
            async_engine_maker(engine, ssl_context, http_client, transport),
            self._executor.budget,
            forwards=http_client is not None or transport is not None,
        )
        self._add_methods()

    def _add_methods(self) -> None:
        self._http: httpx.AsyncClient | None = None
        self._driver = AsyncDriver(self._engine, self._connections.limiter, self._executor.runtime)
        self.prebuilds = AsyncPrebuilds(self._executor, self._driver)

    def _resource(self, base: type[BaseT]) -> BaseT:
        return async_resource(base, self._executor, self._driver)

    async def _engine(self) -> AsyncEngine:
        self._check_open()
        engine: AsyncEngine = await self._connections.engine()
        return engine

    def get_async_httpx_client(self) -> httpx.AsyncClient:
        """An httpx client on the connections of this one; see `PrebuildClient.get_httpx_client`.

        Raises:
            ClientClosedError: the client has been closed.
        """
        self._check_open()
        if self._http is None:
            from prebuilds.engines.httpx_adapter import async_client

            driver = self._driver
            self._http = async_client(
                self._executor.options, self._engine, lambda effect: driver.perform(effect, set())
            )
        return self._http

    async def aclose(self) -> None:
        """Close the connections, and reject further calls. Further calls have no effect."""
        self._closed = True
        if self._is_owner:
            await self._connections.aclose()

    async def __aenter__(self) -> Self:
        self._check_open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()
