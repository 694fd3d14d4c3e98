"""The clients: `PrebuildClient`, and `AsyncPrebuildClient` for asynchronous code."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar

import httpx

from prebuild_api.models import Prebuild
from prebuild_api.operations import CallOptions, Operation, PagedOperation
from prebuild_api.pages import AsyncListing, AsyncPage, Page
from prebuild_api.resources import AsyncPrebuildsResource, PrebuildsResource
from prebuild_api.types import Model
from prebuilds.calls import Caller, check_options
from prebuilds.effects import Effect, Send, Sleep, Steps, Tell, World, run, run_async
from prebuilds.errors import ClientClosedError
from prebuilds.pagination import AsyncListingPager, Listing, ListingPager
from prebuilds.settings import DEFAULT_RETRIES, DEFAULT_TIMEOUT, Settings
from prebuilds.waiting import DEFAULT_POLL_INTERVAL
from prebuilds.waiting import DEFAULT_TIMEOUT as DEFAULT_WAIT
from prebuilds.waiting import wait as wait_steps

T = TypeVar("T")
RequestT = TypeVar("RequestT", bound=Model)
ResponseT = TypeVar("ResponseT", bound=Model)
ItemT = TypeVar("ItemT", bound=Model)
PageT = TypeVar("PageT", bound=Page[Any, Any])
AsyncPageT = TypeVar("AsyncPageT", bound=AsyncPage[Any, Any])


class _ClientBase:
    """What both clients are made of. Nothing is opened before the first call."""

    def __init__(
        self,
        bearer_token: str | None,
        *,
        base_url: str | None,
        timeout: float | None,
        retries: int,
        headers: Mapping[str, str] | None,
        world: World | None,
    ) -> None:
        self._settings = Settings.read(
            bearer_token=bearer_token,
            base_url=base_url,
            timeout=timeout,
            retries=retries,
            headers=headers,
        )
        self._world = world or World()
        self._caller = Caller(settings=self._settings, world=self._world)
        self._lock = threading.Lock()
        self._closed = False

    @property
    def base_url(self) -> str:
        """The address in front of the method paths."""
        return self._settings.base_url

    @property
    def is_closed(self) -> bool:
        """Whether the client has been closed, so that calls are refused."""
        return self._closed

    def __repr__(self) -> str:
        return f"<{type(self).__name__} for {self.base_url}{', closed' if self._closed else ''}>"

    def _check_open(self) -> None:
        if self._closed:
            raise ClientClosedError(f"this {type(self).__name__} has been closed: make a new one")

    def _http_arguments(self, given: httpx.Client | httpx.AsyncClient | None) -> dict[str, Any]:
        """What the HTTP client is made with, so that the endpoint functions can use it as it is."""
        return {
            "base_url": self._settings.base_url,
            "auth": _BearerAuth(self._settings.token),
            "timeout": self._settings.timeout,
            "follow_redirects": False,  # wherever they lead, the token must not
            "headers": {
                **(dict(given.headers) if given else {}),
                "Connect-Protocol-Version": "1",
                **self._settings.headers,
            },
        }


class PrebuildClient(_ClientBase):
    """A client of the PrebuildService.

    It may be shared by threads, and keeps its connections until `close` or the end of a `with`
    block.

        with PrebuildClient() as client:
            created = client.prebuilds.create(project_id=...)
            prebuild = client.prebuilds.wait(created.prebuild)

    Args:
        bearer_token: The API token. By default the first of the environment variables
            GITPOD_API_KEY, ONA_API_KEY and ONA_TOKEN that is set and not empty.
        base_url: The address in front of the method paths. By default the first of the environment
            variables GITPOD_BASE_URL and ONA_BASE_URL that is set and not empty, or else
            `https://app.gitpod.io/api`.
        timeout: How long a call may take with all its attempts, in seconds; None means for ever.
            Each method takes a `timeout` of its own, too.
        retries: How often a call that failed in passing is tried again at most. Calls that would
            act twice are only repeated if they surely did not reach the service. Each method takes
            `retries` of its own, too.
        headers: Headers of every request.
        http_client: An HTTP client to send the requests with, one that knows a proxy or a
            certificate for example. It stays the caller's: `close` leaves it open.

    Attributes:
        prebuilds: the methods of the service.

    Raises:
        ConfigurationError: there is no token, or a setting that cannot be right.
    """

    def __init__(
        self,
        bearer_token: str | None = None,
        *,
        base_url: str | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
        retries: int = DEFAULT_RETRIES,
        headers: Mapping[str, str] | None = None,
        http_client: httpx.Client | None = None,
        _world: World | None = None,
    ) -> None:
        super().__init__(
            bearer_token,
            base_url=base_url,
            timeout=timeout,
            retries=retries,
            headers=headers,
            world=_world,
        )
        self._given = http_client
        self._http: httpx.Client | None = None
        self.prebuilds = Prebuilds(self._caller, self._run)

    def get_httpx_client(self) -> httpx.Client:
        """The HTTP client behind this one, with base URL and credentials.

        Through it the functions of `prebuild_api.api` take this client as their `client`. They do
        not repeat calls, and do not raise the errors of this package.

        Raises:
            ClientClosedError: the client has been closed.
        """
        with self._lock:
            self._check_open()
            if self._http is None:
                through = _Through(self._given) if self._given else None
                self._http = httpx.Client(**self._http_arguments(self._given), transport=through)
            return self._http

    def get_async_httpx_client(self) -> NoReturn:
        """Refuse: this client is for synchronous code.

        Raises:
            TypeError: always.
        """
        raise TypeError("PrebuildClient makes synchronous calls: use AsyncPrebuildClient")

    def close(self) -> None:
        """Close the connections, and refuse further calls. A second time changes nothing."""
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

    def _run(self, steps: Steps[T]) -> T:
        return run(steps, self._perform)

    def _perform(self, effect: Effect) -> object:
        match effect:
            case Send():
                return self.get_httpx_client().request("POST", **_request(effect))
            case Sleep(seconds):
                return self._world.sleep(seconds)
            case Tell(callback, value):
                return callback(value)


class AsyncPrebuildClient(_ClientBase):
    """A client of the PrebuildService for asynchronous code, under asyncio and trio.

    It may be shared by the tasks of one event loop, and keeps its connections until `aclose` or the
    end of an `async with` block. Arguments, attributes and errors are those of `PrebuildClient`;
    `http_client` is an `httpx.AsyncClient`.
    """

    def __init__(
        self,
        bearer_token: str | None = None,
        *,
        base_url: str | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
        retries: int = DEFAULT_RETRIES,
        headers: Mapping[str, str] | None = None,
        http_client: httpx.AsyncClient | None = None,
        _world: World | None = None,
    ) -> None:
        super().__init__(
            bearer_token,
            base_url=base_url,
            timeout=timeout,
            retries=retries,
            headers=headers,
            world=_world,
        )
        self._given = http_client
        self._http: httpx.AsyncClient | None = None
        self.prebuilds = AsyncPrebuilds(self._caller, self._run)

    def get_httpx_client(self) -> NoReturn:
        """Refuse: this client is for asynchronous code.

        Raises:
            TypeError: always.
        """
        raise TypeError("AsyncPrebuildClient makes asynchronous calls: use PrebuildClient")

    def get_async_httpx_client(self) -> httpx.AsyncClient:
        """The HTTP client behind this one; see `PrebuildClient.get_httpx_client`.

        Raises:
            ClientClosedError: the client has been closed.
        """
        self._check_open()
        if self._http is None:
            through = _AsyncThrough(self._given) if self._given else None
            self._http = httpx.AsyncClient(**self._http_arguments(self._given), transport=through)
        return self._http

    async def aclose(self) -> None:
        """Close the connections, and refuse further calls. A second time changes nothing."""
        http, self._http, self._closed = self._http, None, True
        if http is not None:
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

    async def _run(self, steps: Steps[T]) -> T:
        return await run_async(steps, self._perform)

    async def _perform(self, effect: Effect) -> object:
        match effect:
            case Send():
                return await self.get_async_httpx_client().request("POST", **_request(effect))
            case Sleep(seconds):
                return await self._world.async_sleep(seconds)
            case Tell(callback, value):
                import inspect

                outcome = callback(value)
                return await outcome if inspect.isawaitable(outcome) else outcome
