"""The methods of `client.prebuilds`: those of the schema, and those that people wrote on top of them.

The latter are logic (see `prebuilds.effects`) that both kinds of client carry out, each with its driver. Their
signatures and documentation are those of the logic.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, Self, TypeVar, cast, overload

from prebuild_api.operations import CallOptions, Operation, PagedOperation
from prebuild_api.pages import AsyncListing, AsyncPage, Page
from prebuild_api.resources import AsyncPrebuildsResource, PrebuildsResource
from prebuild_api.types import Model
from prebuilds import logs, upkeep, waiting
from prebuilds.calls import Caller, check_options
from prebuilds.drivers import AsyncDriver, Driver
from prebuilds.effects import Steps, Stream
from prebuilds.pagination import AsyncListingPager, Listing, ListingPager

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
RequestT = TypeVar("RequestT", bound=Model)
ResponseT = TypeVar("ResponseT", bound=Model)
ItemT = TypeVar("ItemT", bound=Model)
PageT = TypeVar("PageT", bound=Page[Any, Any])
AsyncPageT = TypeVar("AsyncPageT", bound=AsyncPage[Any, Any])


class _Method(Protocol[P, T_co]):
    """How type checkers see a method that was made of logic."""

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> Callable[P, T_co]: ...


def _sync(logic: Callable[Concatenate[Caller, P], Steps[T]]) -> _Method[P, T]:
    def method(self: Any, *args: P.args, **kwargs: P.kwargs) -> T:
        result: T = self._driver.run(logic(self._caller, *args, **kwargs))
        return result

    dressed: _Method[P, T] = _dressed(method, logic)
    return dressed


def _sync_stream(logic: Callable[Concatenate[Caller, P], Stream[T]]) -> _Method[P, Iterator[T]]:
    def method(self: Any, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        values: Iterator[T] = self._driver.iterate(logic(self._caller, *args, **kwargs))
        return values

    dressed: _Method[P, Iterator[T]] = _dressed(method, logic)
    return dressed


def _async(logic: Callable[Concatenate[Caller, P], Steps[T]]) -> _Method[P, Coroutine[Any, Any, T]]:
    async def method(self: Any, *args: P.args, **kwargs: P.kwargs) -> T:
        result: T = await self._driver.run(logic(self._caller, *args, **kwargs))
        return result

    dressed: _Method[P, Coroutine[Any, Any, T]] = _dressed(method, logic)
    return dressed


def _async_stream(logic: Callable[Concatenate[Caller, P], Stream[T]]) -> _Method[P, AsyncIterator[T]]:
    def method(self: Any, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        values: AsyncIterator[T] = self._driver.iterate(logic(self._caller, *args, **kwargs))
        return values

    dressed: _Method[P, AsyncIterator[T]] = _dressed(method, logic)
    return dressed


def _dressed(method: Callable[..., Any], logic: Callable[..., Any]) -> Any:
    """`method` with the name, the documentation and the parameters of `logic`."""
    wraps(logic)(method)
    _, *parameters = inspect.signature(logic).parameters.values()
    itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    vars(method)["__signature__"] = inspect.Signature([itself, *parameters])
    return method


class Prebuilds(PrebuildsResource):
    """The methods of the service, and more; `client.prebuilds` is one."""

    def __init__(self, caller: Caller, driver: Driver) -> None:
        self._caller = caller
        self._driver = driver

    wait = _sync(waiting.wait)
    wait_all = _sync(waiting.wait_all)
    wait_warm_pool = _sync(waiting.wait_warm_pool)
    create_and_wait = _sync(waiting.create_and_wait)
    watch = _sync_stream(waiting.watch)
    logs = _sync_stream(logs.logs)
    cancel_active = _sync(upkeep.cancel_active)
    ensure_warm_pool = _sync(upkeep.ensure_warm_pool)
    latest = _sync(upkeep.latest)
    prune = _sync(upkeep.prune)

    def _call(self, operation: Operation[RequestT, ResponseT], request: RequestT, options: CallOptions) -> ResponseT:
        check_options(type(self), operation, options)
        return self._driver.run(self._caller.call(operation, request, options))

    def _list(
        self,
        operation: PagedOperation[RequestT, ResponseT, ItemT],
        page_type: type[PageT],
        request: RequestT,
        options: CallOptions,
    ) -> PageT:
        check_options(type(self), operation, options)
        listing = Listing[Any, Any, Any](caller=self._caller, operation=operation, request=request, options=options)
        return cast("PageT", ListingPager(listing, page_type, self._driver).page())


class AsyncPrebuilds(AsyncPrebuildsResource):
    """The methods of the service, and more, for asynchronous code; `client.prebuilds` is one."""

    def __init__(self, caller: Caller, driver: AsyncDriver) -> None:
        self._caller = caller
        self._driver = driver

    wait = _async(waiting.wait)
    wait_all = _async(waiting.wait_all)
    wait_warm_pool = _async(waiting.wait_warm_pool)
    create_and_wait = _async(waiting.create_and_wait)
    watch = _async_stream(waiting.watch)
    logs = _async_stream(logs.logs)
    cancel_active = _async(upkeep.cancel_active)
    ensure_warm_pool = _async(upkeep.ensure_warm_pool)
    latest = _async(upkeep.latest)
    prune = _async(upkeep.prune)

    async def _call(
        self, operation: Operation[RequestT, ResponseT], request: RequestT, options: CallOptions
    ) -> ResponseT:
        check_options(type(self), operation, options)
        return await self._driver.run(self._caller.call(operation, request, options))

    def _list(
        self,
        operation: PagedOperation[RequestT, ResponseT, ItemT],
        page_type: type[AsyncPageT],
        request: RequestT,
        options: CallOptions,
    ) -> AsyncListing[AsyncPageT, ItemT]:
        check_options(type(self), operation, options)
        listing = Listing[Any, Any, Any](caller=self._caller, operation=operation, request=request, options=options)
        return AsyncListing(AsyncListingPager(listing, page_type, self._driver).page)
