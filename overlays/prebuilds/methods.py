"""The methods of `client.prebuilds`: those of the schema, and those that people wrote on top of them.

The latter are logic (see `prebuilds.effects`) that both kinds of client carry out, each with its driver. Their
signatures and documentation are those of the logic.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import wraps
from importlib import import_module
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, Self, TypeVar, cast, overload

from prebuild_api.operations import CallOptions, Operation, PagedOperation
from prebuild_api.pages import AsyncListing, AsyncPage, Page
from prebuild_api.resources import AsyncPrebuildsResource, PrebuildsResource
from prebuild_api.types import Model
from prebuilds.calls import Caller, check_options
from prebuilds.drivers import AsyncDriver, Driver
from prebuilds.effects import Steps, Stream
from prebuilds.pagination import AsyncListingPager, Listing, ListingPager

if TYPE_CHECKING:
    from prebuilds import logs, upkeep, waiting
else:

    class _Later:
        """A module that is loaded when it is first used: programs that only make calls need not wait for it."""

        def __init__(self, name: str) -> None:
            self._name = name

        def __getattr__(self, name: str) -> Any:
            return getattr(import_module(self._name), name)

    logs, upkeep, waiting = (_Later(f"prebuilds.{name}") for name in ("logs", "upkeep", "waiting"))

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
RequestT = TypeVar("RequestT", bound=Model)
ResponseT = TypeVar("ResponseT", bound=Model)
ItemT = TypeVar("ItemT", bound=Model)
PageT = TypeVar("PageT", bound=Page[Any, Any])
AsyncPageT = TypeVar("AsyncPageT", bound=AsyncPage[Any, Any])


class _Typed(Protocol[P, T_co]):
    """How type checkers see a method that is made of logic."""

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> Callable[P, T_co]: ...


def _sync(logic: Callable[[], Callable[Concatenate[Caller, P], Steps[T]]]) -> _Typed[P, T]:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return self._driver.run(logic()(self._caller, *args, **kwargs))

    return cast("_Typed[P, T]", _Method(method, logic))


def _sync_stream(logic: Callable[[], Callable[Concatenate[Caller, P], Stream[T]]]) -> _Typed[P, Iterator[T]]:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return self._driver.iterate(logic()(self._caller, *args, **kwargs))

    return cast("_Typed[P, Iterator[T]]", _Method(method, logic))


def _async(logic: Callable[[], Callable[Concatenate[Caller, P], Steps[T]]]) -> _Typed[P, Coroutine[Any, Any, T]]:
    async def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return await self._driver.run(logic()(self._caller, *args, **kwargs))

    return cast("_Typed[P, Coroutine[Any, Any, T]]", _Method(method, logic))


def _async_stream(logic: Callable[[], Callable[Concatenate[Caller, P], Stream[T]]]) -> _Typed[P, AsyncIterator[T]]:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return self._driver.iterate(logic()(self._caller, *args, **kwargs))

    return cast("_Typed[P, AsyncIterator[T]]", _Method(method, logic))


class _Method:
    """A method that gets its name, documentation and parameters from its logic when it is first used."""

    def __init__(self, method: Callable[..., Any], logic: Callable[[], Callable[..., Any]]) -> None:
        self._method = method
        self._logic = logic

    def __set_name__(self, owner: type, name: str) -> None:
        self._owner, self._name = owner, name

    def __get__(self, instance: object, owner: type) -> Any:
        logic = self._logic()
        method = wraps(logic)(self._method)
        method.__qualname__ = f"{self._owner.__qualname__}.{self._name}"
        _, *parameters = inspect.signature(logic).parameters.values()
        itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        vars(method)["__signature__"] = inspect.Signature([itself, *parameters])
        setattr(self._owner, self._name, method)
        return getattr(owner if instance is None else instance, self._name)


class Prebuilds(PrebuildsResource):
    """The methods of the service, and more; `client.prebuilds` is one."""

    def __init__(self, caller: Caller, driver: Driver) -> None:
        self._caller = caller
        self._driver = driver

    wait = _sync(lambda: waiting.wait)
    wait_all = _sync(lambda: waiting.wait_all)
    wait_warm_pool = _sync(lambda: waiting.wait_warm_pool)
    create_and_wait = _sync(lambda: waiting.create_and_wait)
    watch = _sync_stream(lambda: waiting.watch)
    logs = _sync_stream(lambda: logs.logs)
    cancel_active = _sync(lambda: upkeep.cancel_active)
    ensure_warm_pool = _sync(lambda: upkeep.ensure_warm_pool)
    latest = _sync(lambda: upkeep.latest)
    prune = _sync(lambda: upkeep.prune)

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

    wait = _async(lambda: waiting.wait)
    wait_all = _async(lambda: waiting.wait_all)
    wait_warm_pool = _async(lambda: waiting.wait_warm_pool)
    create_and_wait = _async(lambda: waiting.create_and_wait)
    watch = _async_stream(lambda: waiting.watch)
    logs = _async_stream(lambda: logs.logs)
    cancel_active = _async(lambda: upkeep.cancel_active)
    ensure_warm_pool = _async(lambda: upkeep.ensure_warm_pool)
    latest = _async(lambda: upkeep.latest)
    prune = _async(lambda: upkeep.prune)

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
