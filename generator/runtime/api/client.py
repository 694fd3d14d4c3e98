"""The plain HTTP client of the endpoint functions: base URL, headers, and nothing clever."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol, Self

import httpx
from attrs import define, field


class HttpxProvider(Protocol):
    """What `sync` and `sync_detailed` ask of a client."""

    def get_httpx_client(self) -> httpx.Client:
        """An `httpx` client with base URL and credentials."""
        ...


class AsyncHttpxProvider(Protocol):
    """What `asyncio` and `asyncio_detailed` ask of a client."""

    def get_async_httpx_client(self) -> httpx.AsyncClient:
        """An `httpx` client with base URL and credentials."""
        ...


@define(kw_only=True)
class Client:
    """Where the endpoint functions send their requests.

    The `httpx` clients are made on first use and keep their connections until `close` or the end of a `with` block.
    """

    base_url: str
    """The address in front of the method paths, for example "https://app.gitpod.io/api"."""
    headers: Mapping[str, str] = field(factory=dict[str, str])
    """Headers of every request."""
    timeout: httpx.Timeout | float | None = 60.0
    """How long a request may take, in seconds; None means for ever."""
    httpx_args: Mapping[str, Any] = field(factory=dict[str, Any])
    """Further arguments of `httpx.Client` and `httpx.AsyncClient`."""
    _client: httpx.Client | None = field(default=None, init=False, repr=False)
    _async_client: httpx.AsyncClient | None = field(default=None, init=False, repr=False)

    def get_httpx_client(self) -> httpx.Client:
        """The `httpx` client for synchronous calls."""
        if self._client is None:
            self._client = httpx.Client(**self._arguments())
        return self._client

    def get_async_httpx_client(self) -> httpx.AsyncClient:
        """The `httpx` client for asynchronous calls."""
        if self._async_client is None:
            self._async_client = httpx.AsyncClient(**self._arguments())
        return self._async_client

    def close(self) -> None:
        """Close the connections of synchronous calls. A later call opens new ones."""
        if self._client is not None:
            self._client.close()
            self._client = None

    async def aclose(self) -> None:
        """Close the connections of asynchronous calls. A later call opens new ones."""
        if self._async_client is not None:
            await self._async_client.aclose()
            self._async_client = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def _arguments(self) -> dict[str, Any]:
        return {
            "base_url": self.base_url,
            "headers": self._all_headers(),
            "timeout": self.timeout,
            **self.httpx_args,
        }

    def _all_headers(self) -> dict[str, str]:
        return {"Connect-Protocol-Version": "1", **self.headers}


@define(kw_only=True)
class AuthenticatedClient(Client):
    """A `Client` that sends a bearer token."""

    token: str = field(repr=False)
    """The API token."""

    def _all_headers(self) -> dict[str, str]:
        return {**super()._all_headers(), "Authorization": f"Bearer {self.token}"}
