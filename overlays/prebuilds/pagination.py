"""Reading a list page by page, the next page while the caller is busy with this one.

The tokens travel in the body, which every server understands. A server that ignores them there would return the first
page forever, so a token that leads to an earlier page is an error.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Generic, NamedTuple, NoReturn, TypeVar, cast

from attrs import define, field

from prebuild_api.operations import CallOptions, PagedOperation
from prebuild_api.pages import AsyncPage, Page
from prebuild_api.types import Model
from prebuilds.calls import CallExecutor
from prebuilds.errors import PaginationError
from prebuilds.flows.drivers import AsyncDriver, Driver
from prebuilds.flows.effects import Emit, Join, Spawn, Steps, Stream

P = TypeVar("P")
RequestT = TypeVar("RequestT", bound=Model)
ResponseT = TypeVar("ResponseT", bound=Model)
ItemT = TypeVar("ItemT")
ModelT = TypeVar("ModelT", bound=Model)


class Answer(NamedTuple, Generic[ResponseT, ItemT]):
    """The service's response for a page."""

    response: ResponseT
    items: list[ItemT]
    next_token: str | None
    """The token of the next page; None at the end."""


@define(frozen=True, kw_only=True)
class Listing(Generic[RequestT, ResponseT, ItemT]):
    """A list at one of its pages: how to read that page, and where to find the next page."""

    executor: CallExecutor
    operation: PagedOperation[RequestT, ResponseT, Any]
    request: RequestT
    """Asks for this page."""
    options: CallOptions
    number: int = 1
    """1 for the requested page, 2 for the page after it."""
    led_to: dict[str, int] = field(factory=dict[str, int])
    """The tokens received so far, and the numbers of their pages; the pages of a list share this mapping."""

    def read(self) -> Steps[Answer[ResponseT, ItemT]]:
        """Read this page.

        Raises:
            CallError: the call failed.
            PaginationError: the next page would be a page that was read before.
        """
        response = yield from self.executor.call(self.operation, self.request, self.options)
        token = self.operation.next_token(response)
        following = self.number + 1
        if token is not None:
            asked = self.operation.token(self.request)
            if token == asked or self.led_to.setdefault(token, following) != following:
                raise PaginationError(
                    f"prebuilds.{self.operation.client_method} would never end: the service named the page {token!r} "
                    "twice",
                    token=token,
                )
        return Answer(response, self.operation.items(response), token)

    def after(self, token: str | None) -> Listing[RequestT, ResponseT, ItemT]:
        """The list at the page of `token`, which comes after this one.

        Raises:
            ValueError: `token` is None.
        """
        if token is None:
            raise ValueError("this is the last page; has_next_page() tells")
        return Listing(
            executor=self.executor,
            operation=self.operation,
            request=self.operation.with_token(self.request, token),
            options=self.options,
            number=self.number + 1,
            led_to=self.led_to,
        )

    def all(self) -> Steps[list[ItemT]]:
        """All items of this page and of those behind it."""
        found: list[ItemT] = []
        listing = self
        while True:
            answer = yield from listing.read()
            found += answer.items
            if answer.next_token is None:
                return found
            listing = listing.after(answer.next_token)


def stream_items(listing: Listing[Any, Any, ItemT], answer: Answer[Any, ItemT]) -> Stream[ItemT]:
    """The items of a page that has been read, and of all behind it.

    The second page is fetched only when the second item is requested: a caller that wants one item need not wait for
    more.
    """
    proven = False
    while True:
        _, items, token = answer
        following = listing.after(token) if token is not None else None
        ahead: object = None
        if following is not None and proven:
            ahead = yield Spawn(following.read())
        for position, item in enumerate(items):
            if position == 1 and following is not None and ahead is None:
                ahead = yield Spawn(following.read())
            yield Emit(item)
        if following is None:
            return
        answer = yield from (_joined(ahead) if ahead is not None else following.read())
        listing, proven = following, True


def stream_pages(
    listing: Listing[Any, Any, Any], page: P, token: str | None, make: Callable[[Listing[Any, Any, Any], Any], P]
) -> Stream[P]:
    """A page that has been read, and all behind it. `make` creates a page from a response."""
    while True:
        if token is None:
            yield Emit(page)
            return
        listing = listing.after(token)
        ahead = yield Spawn(listing.read())
        yield Emit(page)
        answer = yield Join(ahead)
        page, token = make(listing, answer), answer.next_token


def _joined(ahead: object) -> Steps[Any]:
    return (yield Join(ahead))


def cannot_be_copied() -> TypeError:
    """The error for pickling or copying a page, which fetches further pages with its client."""
    return TypeError(
        "a page cannot be pickled or copied, because it belongs to a client: take its items, or its `response`, instead"
    )


@define(frozen=True)
class ListingPager:
    """Fetches the pages after a page of a listing; implements `prebuild_api.pages.Pager`."""

    listing: Listing[Any, Any, Any]
    page_type: type[Page[Any, Any]]
    driver: Driver

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise cannot_be_copied()

    def page(self) -> Any:
        """The page of the listing itself."""
        return self._made(self.listing, self.driver.run(self.listing.read()))

    def next_page(self, page: P) -> P:
        """The page behind `page`."""
        listing = self.listing.after(cast("Page[Any, Any]", page).next_token)
        return cast("P", ListingPager(listing, self.page_type, self.driver).page())

    def pages(self, page: P) -> Iterator[P]:
        """`page` and all behind it."""
        token = cast("Page[Any, Any]", page).next_token
        return self.driver.iterate(stream_pages(self.listing, page, token, self._made))

    def items(self, page: Page[Any, ModelT]) -> Iterator[ModelT]:
        """The items of `page` and of all behind it."""
        answer = Answer(page.response, page.items, page.next_token)
        return self.driver.iterate(stream_items(self.listing, answer))

    def _made(self, listing: Listing[Any, Any, Any], answer: Answer[Any, Any]) -> Any:
        return self.page_type(*answer, ListingPager(listing, self.page_type, self.driver))


@define(frozen=True)
class AsyncListingPager:
    """Fetches the pages after a page of a listing; implements `prebuild_api.pages.AsyncPager`."""

    listing: Listing[Any, Any, Any]
    page_type: type[AsyncPage[Any, Any]]
    driver: AsyncDriver

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise cannot_be_copied()

    async def page(self) -> Any:
        """The page of the listing itself."""
        return self._made(self.listing, await self.driver.run(self.listing.read()))

    async def next_page(self, page: P) -> P:
        """The page behind `page`."""
        listing = self.listing.after(cast("AsyncPage[Any, Any]", page).next_token)
        return cast("P", await AsyncListingPager(listing, self.page_type, self.driver).page())

    def pages(self, page: P) -> AsyncIterator[P]:
        """`page` and all behind it."""
        token = cast("AsyncPage[Any, Any]", page).next_token
        return self.driver.iterate(stream_pages(self.listing, page, token, self._made))

    def items(self, page: AsyncPage[Any, ModelT]) -> AsyncIterator[ModelT]:
        """The items of `page` and of all behind it."""
        answer = Answer(page.response, page.items, page.next_token)
        return self.driver.iterate(stream_items(self.listing, answer))

    def _made(self, listing: Listing[Any, Any, Any], answer: Answer[Any, Any]) -> Any:
        return self.page_type(*answer, AsyncListingPager(listing, self.page_type, self.driver))
