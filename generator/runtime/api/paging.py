"""What pages of a list have in common: one response of the service, and the way to the next."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator
from typing import Any, Generic, Protocol, Self, TypeVar

from .types import Model

ResponseT = TypeVar("ResponseT", bound=Model)
ItemT = TypeVar("ItemT", bound=Model)
PageT = TypeVar("PageT", bound="AsyncPage[Any, Any]")
P = TypeVar("P")


class Pager(Protocol):
    """Fetches what follows a page."""

    def next_page(self, page: P) -> P:
        """The page behind `page`."""
        ...

    def pages(self, page: P) -> Iterator[P]:
        """`page` and all behind it."""
        ...

    def items(self, page: Page[Any, ItemT]) -> Iterator[ItemT]:
        """The items of `page` and of all behind it."""
        ...


class AsyncPager(Protocol):
    """Fetches what follows a page."""

    async def next_page(self, page: P) -> P:
        """The page behind `page`."""
        ...

    def pages(self, page: P) -> AsyncIterator[P]:
        """`page` and all behind it."""
        ...

    def items(self, page: AsyncPage[Any, ItemT]) -> AsyncIterator[ItemT]:
        """The items of `page` and of all behind it."""
        ...


class _Answer(Generic[ResponseT, ItemT]):
    """What both kinds of page hold."""

    def __init__(self, response: ResponseT, items: list[ItemT], next_token: str | None) -> None:
        self.response = response
        self.items = items
        self.next_token = next_token

    def has_next_page(self) -> bool:
        """Whether there is a page behind this one."""
        return self.next_token is not None

    def __len__(self) -> int:
        return len(self.items)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.items)} items, next_token={self.next_token!r})"


class Page(_Answer[ResponseT, ItemT]):
    """One page of a list. Iterating over it yields the items of this page and of all behind it.

    Attributes:
        response: the message that the service answered.
        items: the items of this page alone.
        next_token: what names the next page; None at the end.
    """

    def __init__(self, response: ResponseT, items: list[ItemT], next_token: str | None, pager: Pager) -> None:
        super().__init__(response, items, next_token)
        self._pager = pager

    def get_next_page(self) -> Self:
        """Fetch the page behind this one.

        Raises:
            ValueError: this is the last page; `has_next_page` tells.
            PrebuildsError: the call failed.
        """
        return self._pager.next_page(self)

    def iter_pages(self) -> Iterator[Self]:
        """This page and all behind it."""
        return self._pager.pages(self)

    def __iter__(self) -> Iterator[ItemT]:
        return self._pager.items(self)


class AsyncPage(_Answer[ResponseT, ItemT]):
    """One page of a list. Iterating over it yields the items of this page and of all behind it.

    Attributes:
        response: the message that the service answered.
        items: the items of this page alone.
        next_token: what names the next page; None at the end.
    """

    def __init__(self, response: ResponseT, items: list[ItemT], next_token: str | None, pager: AsyncPager) -> None:
        super().__init__(response, items, next_token)
        self._pager = pager

    async def get_next_page(self) -> Self:
        """Fetch the page behind this one.

        Raises:
            ValueError: this is the last page; `has_next_page` tells.
            PrebuildsError: the call failed.
        """
        return await self._pager.next_page(self)

    def iter_pages(self) -> AsyncIterator[Self]:
        """This page and all behind it."""
        return self._pager.pages(self)

    def __aiter__(self) -> AsyncIterator[ItemT]:
        return self._pager.items(self)


class AsyncListing(Coroutine[Any, Any, PageT], Generic[PageT, ItemT]):
    """A list that was asked for: `await` it for its first page, or iterate over its items with `async for`.

    Nothing is sent before one of the two.
    """

    def __init__(self, first_page: Callable[[], Awaitable[PageT]]) -> None:
        self._first_page = first_page
        self._awaiting: Generator[Any, None, PageT] | None = None

    def __await__(self) -> Generator[Any, None, PageT]:
        return self._first_page().__await__()

    # With these three it is a coroutine, as `asyncio.create_task` wants one.

    def send(self, value: Any, /) -> Any:
        """As of any coroutine."""
        if self._awaiting is None:
            self._awaiting = self.__await__()
        return self._awaiting.send(value)

    def throw(self, *error: Any) -> Any:
        """As of any coroutine."""
        if self._awaiting is None:
            self._awaiting = self.__await__()
        return self._awaiting.throw(*error)

    def close(self) -> None:
        """As of any coroutine."""
        if self._awaiting is not None:
            self._awaiting.close()

    async def iter_pages(self) -> AsyncIterator[PageT]:
        """All pages."""
        async for page in (await self._first_page()).iter_pages():
            yield page

    async def __aiter__(self) -> AsyncIterator[ItemT]:
        async for item in await self._first_page():
            yield item
