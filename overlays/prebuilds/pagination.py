"""Reading a list page by page.

The tokens travel in the body, which every server understands. One that ignores them there would
answer the first page for ever: a token that has been read before is an error.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Generic, TypeVar

from attrs import define

from prebuild_api.operations import CallOptions, PagedOperation
from prebuild_api.pages import AsyncPage, Page
from prebuild_api.types import Model
from prebuilds.calls import Caller
from prebuilds.effects import Steps
from prebuilds.errors import PaginationError

P = TypeVar("P")
RequestT = TypeVar("RequestT", bound=Model)
ResponseT = TypeVar("ResponseT", bound=Model)
ItemT = TypeVar("ItemT", bound=Model)


@define(frozen=True, kw_only=True)
class Listing(Generic[RequestT, ResponseT, ItemT]):
    """A list at one of its pages: how to read that page, and where the next one is."""

    caller: Caller
    operation: PagedOperation[RequestT, ResponseT, ItemT]
    request: RequestT
    """Asks for this page."""
    options: CallOptions
    seen: frozenset[str] = frozenset()
    """The tokens of this page and of those that led to it."""

    def read(self) -> Steps[tuple[ResponseT, list[ItemT], str | None]]:
        """Read this page: the response, its items, and the token of the next page.

        Raises:
            CallError: the call failed.
            PaginationError: the next page would be one that has been read before.
        """
        response = yield from self.caller.call(self.operation, self.request, self.options)
        token = self.operation.next_token(response)
        asked = self.operation.token(self.request)
        if token is not None and (token == asked or token in self.seen):
            raise PaginationError(
                f"prebuilds.{self.operation.client_method} would never end: the service named the page {token!r} twice",
                token=token,
            )
        return response, self.operation.items(response), token

    def after(self, token: str | None) -> Listing[RequestT, ResponseT, ItemT]:
        """The list at the page of `token`, which comes after this one.

        Raises:
            ValueError: there is no such page.
        """
        if token is None:
            raise ValueError("this is the last page; has_next_page() tells")
        return Listing(
            caller=self.caller,
            operation=self.operation,
            request=self.operation.with_token(self.request, token),
            options=self.options,
            seen=self.seen | {token},
        )


PageSteps = Steps[tuple[Any, list[Any], str | None]]


@define(frozen=True)
class ListingPager:
    """Fetches what follows the page of a listing; implements `prebuild_api.pages.Pager`."""

    listing: Listing[Any, Any, Any]
    page_type: type[Page[Any, Any]]
    run: Callable[[PageSteps], tuple[Any, list[Any], str | None]]

    def page(self) -> Any:
        """The page of the listing itself."""
        return self.page_type(*self.run(self.listing.read()), self)

    def next_page(self, page: P) -> P:
        """The page behind `page`."""
        current: Any = page
        listing = self.listing.after(current.next_token)
        following: P = ListingPager(listing, self.page_type, self.run).page()
        return following

    def pages(self, page: P) -> Iterator[P]:
        """`page` and all behind it."""
        current: Any = page
        yield current
        while current.has_next_page():
            current = current.get_next_page()
            yield current


@define(frozen=True)
class AsyncListingPager:
    """Fetches what follows the page of a listing; implements `prebuild_api.pages.AsyncPager`."""

    listing: Listing[Any, Any, Any]
    page_type: type[AsyncPage[Any, Any]]
    run: Callable[[PageSteps], Awaitable[tuple[Any, list[Any], str | None]]]

    async def page(self) -> Any:
        """The page of the listing itself."""
        return self.page_type(*await self.run(self.listing.read()), self)

    async def next_page(self, page: P) -> P:
        """The page behind `page`."""
        current: Any = page
        listing = self.listing.after(current.next_token)
        following: P = await AsyncListingPager(listing, self.page_type, self.run).page()
        return following

    async def pages(self, page: P) -> AsyncIterator[P]:
        """`page` and all behind it."""
        current: Any = page
        yield current
        while current.has_next_page():
            current = await current.get_next_page()
            yield current
