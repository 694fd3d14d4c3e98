"""The clients: `PrebuildClient`, and `AsyncPrebuildClient` for asynchronous code."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, Self, TypeVar

import httpx

from prebuild_api.operations import CallOptions, Operation, PagedOperation
from prebuild_api.pages import AsyncListing, AsyncPage, Page
from prebuild_api.resources import AsyncPrebuildsResource, PrebuildsResource
from prebuild_api.types import Model
from prebuilds.calls import Caller, check_options
from prebuilds.effects import Effect, Send, Sleep, Steps, Tell, World, run, run_async
from prebuilds.errors import ClientClosedError
from prebuilds.pagination import AsyncListingPager, Listing, ListingPager
from prebuilds.settings import DEFAULT_RETRIES, DEFAULT_TIMEOUT, Settings
from prebuilds.waiting import DEFAULT_POLL_INTERVAL, DEFAULT_WAIT, wait

if TYPE_CHECKING:
    from prebuild_api.models import Prebuild

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
                self._world.sleep(seconds)
            case Tell(callback, value):
                callback(value)
        return None


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
                await self._world.async_sleep(seconds)
            case Tell(callback, value):
                import inspect

                outcome = callback(value)
                if inspect.isawaitable(outcome):
                    await outcome
        return None


class _Runner(Protocol):
    def __call__(self, steps: Steps[T]) -> T: ...


class _AsyncRunner(Protocol):
    async def __call__(self, steps: Steps[T]) -> T: ...


class Prebuilds(PrebuildsResource):
    """The methods of the service; `client.prebuilds` is one."""

    def __init__(self, caller: Caller, run: _Runner) -> None:
        self._caller = caller
        self._run = run

    def wait(
        self,
        prebuild_id: str | Prebuild,
        *,
        timeout: float | None = DEFAULT_WAIT,
        on_update: Callable[[Prebuild], object] | None = None,
        poll_interval: float = DEFAULT_POLL_INTERVAL,
    ) -> Prebuild:
        """Wait until a prebuild is COMPLETED.

        Failures in passing (of the network, or of the service) do not end it, unless not a single
        answer came in the first two minutes. A phase that this version does not know is waited
        through.

        A prebuild can complete with a warning: see `status.warning_message`.

        Args:
            prebuild_id: The id of the prebuild, or the prebuild itself.
            timeout: How long to wait, in seconds; None means for ever. By default a little longer
                than the two hours that a prebuild may take.
            on_update: Called with the prebuild as it is first seen, and after each change. What it
                raises ends the wait.
            poll_interval: The longest pause between two looks, in seconds. The first pauses are
                shorter; all vary by 10%.

        Raises:
            PrebuildFailedError: it failed.
            PrebuildCancelledError: it was cancelled.
            PrebuildDeletedError: it was deleted while it was waited for.
            WaitTimeoutError: it is still under way after `timeout`.
            NotFoundError: there is no such prebuild.
            CallError: the service cannot be asked, for lack of permission for instance.
        """
        return self._run(
            wait(
                self._caller,
                prebuild_id,
                timeout=timeout,
                on_update=on_update,
                poll_interval=poll_interval,
            )
        )

    def _call(self, operation: Operation[RequestT, ResponseT], request: RequestT, options: CallOptions) -> ResponseT:
        check_options(type(self), operation, options)
        return self._run(self._caller.call(operation, request, options))

    def _list(
        self,
        operation: PagedOperation[RequestT, ResponseT, ItemT],
        page_type: type[PageT],
        request: RequestT,
        options: CallOptions,
    ) -> PageT:
        check_options(type(self), operation, options)
        listing = Listing(caller=self._caller, operation=operation, request=request, options=options)
        page: PageT = ListingPager(listing, page_type, self._run).page()
        return page


class AsyncPrebuilds(AsyncPrebuildsResource):
    """The methods of the service for asynchronous code; `client.prebuilds` is one."""

    def __init__(self, caller: Caller, run: _AsyncRunner) -> None:
        self._caller = caller
        self._run = run

    async def wait(
        self,
        prebuild_id: str | Prebuild,
        *,
        timeout: float | None = DEFAULT_WAIT,  # noqa: ASYNC109 - it also bounds the last look
        on_update: Callable[[Prebuild], object] | None = None,
        poll_interval: float = DEFAULT_POLL_INTERVAL,
    ) -> Prebuild:
        """Wait until a prebuild is COMPLETED.

        Arguments and errors are those of `Prebuilds.wait`; `on_update` may be asynchronous.
        """
        return await self._run(
            wait(
                self._caller,
                prebuild_id,
                timeout=timeout,
                on_update=on_update,
                poll_interval=poll_interval,
            )
        )

    async def _call(
        self, operation: Operation[RequestT, ResponseT], request: RequestT, options: CallOptions
    ) -> ResponseT:
        check_options(type(self), operation, options)
        return await self._run(self._caller.call(operation, request, options))

    def _list(
        self,
        operation: PagedOperation[RequestT, ResponseT, ItemT],
        page_type: type[AsyncPageT],
        request: RequestT,
        options: CallOptions,
    ) -> AsyncListing[AsyncPageT, ItemT]:
        check_options(type(self), operation, options)
        listing = Listing(caller=self._caller, operation=operation, request=request, options=options)
        return AsyncListing(AsyncListingPager(listing, page_type, self._run).page)


def _request(effect: Send) -> dict[str, Any]:
    return {
        "url": effect.path,
        "headers": effect.headers,
        "content": effect.content,
        "timeout": effect.timeout,
    }


class _BearerAuth(httpx.Auth):
    """Adds the token to a request at the last moment, so that nothing else carries it about."""

    def __init__(self, token: str) -> None:
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request


class _Through(httpx.BaseTransport):
    """Sends requests with an HTTP client that belongs to someone else."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._client.send(request, stream=True, auth=None, follow_redirects=False)


class _AsyncThrough(httpx.AsyncBaseTransport):
    """Sends requests with an HTTP client that belongs to someone else."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._client.send(request, stream=True, auth=None, follow_redirects=False)
