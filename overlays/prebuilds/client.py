"""The clients: `PrebuildClient`, and `AsyncPrebuildClient` for asynchronous code."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Mapping
from copy import copy
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

import httpx
from attrs import evolve

from prebuild_api.operations import Attempt
from prebuilds.calls import Caller
from prebuilds.credentials import BearerAuth
from prebuilds.debugging import set_up_logging
from prebuilds.drivers import MOST_CONNECTIONS, AsyncDriver, Driver, async_gate, gate, running_loop
from prebuilds.effects import World
from prebuilds.errors import ClientClosedError, ConfigurationError
from prebuilds.methods import AsyncPrebuilds, Prebuilds
from prebuilds.retries import RetryBudget
from prebuilds.settings import DEFAULT_RETRIES, DEFAULT_TIMEOUT, ClientOptions, Settings, Token, merged_headers

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")

_BOTH = "http_client and transport cannot both be given: an http_client has a transport of its own"


_GONE = "the HTTP client that sends the requests of this client has been closed"


class _ClientBase:
    """What both clients are made of. Nothing is opened before the first call."""

    def __init__(
        self,
        bearer_token: Token | None = None,
        *,
        base_url: str | None,
        timeout: float | None,
        retries: int,
        headers: Mapping[str, str] | None,
        on_attempt: Callable[[Attempt], object] | None,
        world: World | None,
    ) -> None:
        set_up_logging()
        settings = Settings.read(
            bearer_token=bearer_token,
            base_url=base_url,
            timeout=timeout,
            retries=retries,
            headers=headers,
            on_attempt=on_attempt,
        )
        self._caller = Caller(settings=settings, world=world or World(), budget=RetryBudget())
        self._lock = threading.Lock()
        self._closed = False

    @property
    def base_url(self) -> str:
        """The address in front of the method paths."""
        return self._caller.settings.base_url

    @property
    def is_closed(self) -> bool:
        """Whether the client has been closed, so that calls are refused."""
        return self._closed

    def __repr__(self) -> str:
        return f"<{type(self).__name__} for {self.base_url}{', closed' if self._closed else ''}>"

    def _check_open(self) -> None:
        if self._closed:
            raise ClientClosedError(f"this {type(self).__name__} has been closed: make a new one")

    def with_options(self, **options: Unpack[ClientOptions]) -> Self:
        """A client with other options, on the same connections and with the same retry budget.

        What is not given stays as it is; `headers` are added to those of this client. The connections belong to this
        client: closing the other one leaves them open, closing this one ends both.

        Raises:
            ClientClosedError: this client has been closed.
            ConfigurationError: the token cannot be one.
            TypeError: there is no such option.
            ValueError: an option has a value that cannot be right.
        """
        self._check_open()
        caller = self._caller
        other = copy(self)
        other._lock = threading.Lock()
        other._caller = evolve(caller, settings=caller.settings.but(options))
        other._share(self)
        return other

    def _share(self, owner: Any) -> None:
        """Use the connections of another client of the same class."""
        raise NotImplementedError

    def _http_arguments(self, given: httpx.Client | httpx.AsyncClient | None) -> dict[str, Any]:
        """What the HTTP client is made with, so that the endpoint functions can use it as it is."""
        settings = self._caller.settings
        return {
            "base_url": settings.base_url,
            "auth": BearerAuth(settings.token),
            "timeout": settings.timeout,
            "follow_redirects": False,  # wherever they lead, the token must not
            "limits": httpx.Limits(max_connections=None, max_keepalive_connections=MOST_CONNECTIONS),
            "headers": merged_headers(
                given.headers if given else {}, {"Connect-Protocol-Version": "1"}, settings.headers
            ),
        }


class PrebuildClient(_ClientBase):
    """A client of the PrebuildService.

    It may be shared by threads, and keeps its connections until `close` or the end of a `with`
    block. A process that is forked off opens connections of its own; those of an `http_client` or
    a `transport` that was handed in are up to the caller.

        with PrebuildClient() as client:
            prebuild = client.prebuilds.create_and_wait(project_id=...)

    Args:
        bearer_token: The API token, or a function that is asked for it each time that a request is
            sent. By default the first of the environment variables GITPOD_API_KEY, ONA_API_KEY and
            ONA_TOKEN that is set and not empty.
        base_url: The address in front of the method paths. By default the first of the environment
            variables GITPOD_BASE_URL and ONA_BASE_URL that is set and not empty, or else
            `https://app.gitpod.io/api`.
        timeout: How long a call may take with all its attempts, in seconds; None means for ever.
            Each method takes a `timeout` of its own, too. A read is asked again after half of it.
        retries: How often a call that failed in passing is tried again at most. Calls that would
            act twice are only repeated if they surely did not reach the service. Each method takes
            `retries` of its own, too.
        headers: Headers of every request.
        on_attempt: Called after each attempt of each call, maybe in another thread. What it raises
            ends the call.
        http_client: An HTTP client to send the requests with, one that knows a proxy or a
            certificate for example. It stays the caller's: `close` leaves it open.
        transport: What to send the requests with instead of the network. It is closed with the
            client.

    Attributes:
        prebuilds: the methods of the service.

    Raises:
        ConfigurationError: there is no token, or a setting that cannot be right.
    """

    def __init__(
        self,
        bearer_token: Token | None = None,
        *,
        base_url: str | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
        retries: int = DEFAULT_RETRIES,
        headers: Mapping[str, str] | None = None,
        on_attempt: Callable[[Attempt], object] | None = None,
        http_client: httpx.Client | None = None,
        transport: httpx.BaseTransport | None = None,
        _world: World | None = None,
    ) -> None:
        super().__init__(
            bearer_token,
            base_url=base_url,
            timeout=timeout,
            retries=retries,
            headers=headers,
            on_attempt=on_attempt,
            world=_world,
        )
        _check_given(http_client, httpx.Client, transport, "handle_request")
        self._given = http_client
        self._transport = transport if http_client is None else _Through(lambda: http_client)
        self._http: httpx.Client | None = None
        self._process = 0
        self._gate = gate()
        self._add_methods()

    def _share(self, owner: PrebuildClient) -> None:
        self._transport, self._http = _Through(owner.get_httpx_client), None
        self._add_methods()

    def _add_methods(self) -> None:
        driver = Driver(self.get_httpx_client, self._caller.world, self._gate)
        self.prebuilds = Prebuilds(self._caller, driver)

    def get_httpx_client(self) -> httpx.Client:
        """The HTTP client behind this one, with base URL and credentials.

        Through it the functions of `prebuild_api.api` take this client as their `client`. They do
        not repeat calls, and do not raise the errors of this package.

        Raises:
            ClientClosedError: the client has been closed.
        """
        with self._lock:
            self._check_open()
            # On a connection that two processes share, each would read answers that are for the other.
            if self._http is None or self._process != os.getpid():
                arguments = self._http_arguments(self._given)
                self._http = _made(lambda: httpx.Client(**arguments, transport=self._transport))
                self._process = os.getpid()
            return self._http

    def close(self) -> None:
        """Close the connections, and refuse further calls. A second time changes nothing.

        What other threads have under way should have ended: a call that is waiting for its answer goes on waiting.
        """
        with self._lock:
            http, self._http, self._closed = self._http, None, True
        if http is not None:
            http.close()

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


class AsyncPrebuildClient(_ClientBase):
    """A client of the PrebuildService for asynchronous code, under asyncio and trio.

    It may be shared by the tasks of one event loop, and keeps its connections until `aclose` or the
    end of an `async with` block. In another event loop, of a second `asyncio.run` for example, it
    opens new ones. Arguments, attributes and errors are those of `PrebuildClient`;
    `http_client` is an `httpx.AsyncClient`, `transport` an `httpx.AsyncBaseTransport`, and the
    functions that are called back may be asynchronous.
    """

    def __init__(
        self,
        bearer_token: Token | None = None,
        *,
        base_url: str | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
        retries: int = DEFAULT_RETRIES,
        headers: Mapping[str, str] | None = None,
        on_attempt: Callable[[Attempt], object] | None = None,
        http_client: httpx.AsyncClient | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        _world: World | None = None,
    ) -> None:
        super().__init__(
            bearer_token,
            base_url=base_url,
            timeout=timeout,
            retries=retries,
            headers=headers,
            on_attempt=on_attempt,
            world=_world,
        )
        _check_given(http_client, httpx.AsyncClient, transport, "handle_async_request")
        self._given = http_client
        self._transport = transport if http_client is None else _AsyncThrough(lambda: http_client)
        self._http: httpx.AsyncClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._gate = async_gate()
        self._add_methods()

    def _share(self, owner: AsyncPrebuildClient) -> None:
        self._transport, self._http = _AsyncThrough(owner.get_async_httpx_client), None
        self._add_methods()

    def _add_methods(self) -> None:
        driver = AsyncDriver(self.get_async_httpx_client, self._caller.world, self._gate)
        self.prebuilds = AsyncPrebuilds(self._caller, driver)

    def get_async_httpx_client(self) -> httpx.AsyncClient:
        """The HTTP client behind this one; see `PrebuildClient.get_httpx_client`.

        Raises:
            ClientClosedError: the client has been closed.
        """
        self._check_open()
        if self._http is None or self._is_elsewhere():
            arguments = self._http_arguments(self._given)
            self._http = _made(lambda: httpx.AsyncClient(**arguments, transport=self._transport))
        self._loop = running_loop() or self._loop
        return self._http

    def _is_elsewhere(self) -> bool:
        """Whether the connections belong to another event loop: they can neither be used here nor closed."""
        return running_loop() not in (self._loop, None) and self._loop is not None

    async def aclose(self) -> None:
        """Close the connections, and refuse further calls. A second time changes nothing."""
        http, self._http, self._closed = self._http, None, True
        if http is not None and not self._is_elsewhere():
            await http.aclose()

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


def _check_given(http_client: object, kind: type, transport: object, method: str) -> None:
    """Refuse what cannot send requests for this kind of client.

    Raises:
        ConfigurationError: both are given.
        TypeError: one of them is for the other kind of client.
    """
    if http_client is not None and transport is not None:
        raise ConfigurationError(_BOTH)
    if http_client is not None and not isinstance(http_client, kind):
        raise TypeError(f"http_client: expected an httpx.{kind.__name__}, got {http_client!r}")
    if transport is not None and not hasattr(transport, method):
        raise TypeError(f"transport: expected one that has {method}(), as httpx.{kind.__name__} takes it")


_VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""What httpx reads from the environment; those of proxies may be written small."""


def _made(make: Callable[[], T]) -> T:
    """An HTTP client that looks at the environment.

    Raises:
        ConfigurationError: what the environment says cannot be right.
    """
    try:
        return make()
    except (ImportError, OSError, ValueError, httpx.InvalidURL) as error:
        found = [name for each in _VARIABLES for name in (each, each.lower()) if os.environ.get(name)]
        advice = f" [It was set up by the environment: look at {', '.join(found)}.]" if found else ""
        said = re.sub("//[^/@]*@", "//[credentials]@", str(error))  # of a proxy
        raise ConfigurationError(f"the HTTP client cannot be set up: {said}{advice}") from None


class _Through(httpx.BaseTransport):
    """Sends requests with an HTTP client that belongs to someone else."""

    def __init__(self, client: Callable[[], httpx.Client]) -> None:
        self._client = client

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        client = self._client()
        if client.is_closed:
            raise ClientClosedError(_GONE)
        return client.send(request, stream=True, auth=None, follow_redirects=False)


class _AsyncThrough(httpx.AsyncBaseTransport):
    """Sends requests with an HTTP client that belongs to someone else."""

    def __init__(self, client: Callable[[], httpx.AsyncClient]) -> None:
        self._client = client

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        client = self._client()
        if client.is_closed:
            raise ClientClosedError(_GONE)
        return await client.send(request, stream=True, auth=None, follow_redirects=False)
