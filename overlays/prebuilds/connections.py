"""The state that a client and its `with_options` copies share: the engine, and the limit of concurrent requests.

A process that is forked off gets new ones, and so does another event loop.
"""

from __future__ import annotations

import os
import ssl
import sys
import threading
import weakref
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Any

from prebuilds.engines.exchange import AsyncEngine, Engine
from prebuilds.errors import ClientClosedError, ConfigurationError
from prebuilds.flows.background import running_loop
from prebuilds.flows.drivers import new_async_limiter, new_limiter
from prebuilds.options import EngineName
from prebuilds.retries import RetryBudget

if TYPE_CHECKING:
    import anyio

ENGINES = ("httpx", "fast")


def engine_maker(
    engine: EngineName, ssl_context: ssl.SSLContext | None, http_client: Any, transport: Any
) -> Callable[[], Engine]:
    """Creates the engine of a synchronous client on first use.

    Raises:
        ConfigurationError: the arguments exclude one another, or an extra is not installed.
        TypeError: an argument belongs to the other client.
    """
    _check(engine, ssl_context, http_client, transport, "Client", "handle_request")
    if http_client is not None or transport is not None:
        from prebuilds.engines.forwarding import ForwardingEngine, client_of

        given = http_client if http_client is not None else client_of(transport, "Client")
        return lambda: ForwardingEngine(given, owned=http_client is None)
    if engine == "fast":
        from prebuilds.engines.fast_sync import FastEngine

        return lambda: FastEngine(ssl_context)

    def make() -> Engine:
        from prebuilds.engines.httpx_engine import HttpxEngine

        return HttpxEngine(ssl_context)

    return make


def async_engine_maker(
    engine: EngineName, ssl_context: ssl.SSLContext | None, http_client: Any, transport: Any
) -> Callable[[], AsyncEngine]:
    """Like `engine_maker`, for an asynchronous client."""
    _check(engine, ssl_context, http_client, transport, "AsyncClient", "handle_async_request")
    if http_client is not None or transport is not None:
        from prebuilds.engines.forwarding import AsyncForwardingEngine, client_of

        given = http_client if http_client is not None else client_of(transport, "AsyncClient")
        return lambda: AsyncForwardingEngine(given, owned=http_client is None)

    def make() -> AsyncEngine:
        # aiohttp runs under asyncio only.
        if engine == "fast" and running_loop() is not None:
            from prebuilds.engines.fast_async import AsyncFastEngine

            return AsyncFastEngine(ssl_context)
        from prebuilds.engines.httpx_engine import AsyncHttpxEngine

        return AsyncHttpxEngine(ssl_context)

    return make


def _check(engine: str, ssl_context: object, http_client: Any, transport: Any, kind: str, method: str) -> None:
    if engine not in ENGINES:
        raise ValueError(f"engine: expected one of {', '.join(map(repr, ENGINES))}, got {engine!r}")
    given = [name for name, value in (("http_client", http_client), ("transport", transport)) if value is not None]
    if len(given) == 2:
        raise ConfigurationError("http_client and transport exclude one another: an http_client has its own transport")
    if given and (engine == "fast" or ssl_context is not None):
        other = "engine='fast'" if engine == "fast" else "ssl_context"
        raise ConfigurationError(f"{given[0]} and {other} exclude one another: {given[0]} has its own connections")
    if http_client is not None and not _is_client(http_client, kind):
        raise TypeError(f"http_client: expected an httpx.{kind}, got {http_client!r}")
    if transport is not None and not hasattr(transport, method):
        raise TypeError(f"transport: expected one with {method}(), as httpx.{kind} takes it")
    if engine == "fast" and kind == "AsyncClient":
        try:
            import aiohttp  # noqa: F401  # pyright: ignore[reportUnusedImport]
        except ImportError:
            raise ConfigurationError("the fast engine needs the extra: pip install 'prebuilds[fast]'") from None


def _is_client(http_client: Any, kind: str) -> bool:
    """Return True if the object is a client of httpx, or of a library with the same interface, by its class's name."""
    names = {each.__name__ for each in type(http_client).__mro__}
    return kind in names and hasattr(http_client, "send") and hasattr(http_client, "is_closed")


class Connections:
    """The state that the copies of a synchronous client share. It may be shared by threads."""

    def __init__(self, make: Callable[[], Engine], budget: RetryBudget, *, forwards: bool) -> None:
        self._make = make
        self._budget = budget
        self._forwards = forwards
        self._engine: Engine | None = None
        self.is_closed = False
        self._renew_locks()
        _all.add(self)

    def engine(self) -> Engine:
        """The engine.

        Raises:
            ClientClosedError: the client has been closed.
        """
        engine = self._engine
        if engine is None or self.is_closed:
            with self._lock:
                if self.is_closed:
                    raise closed_error()
                engine = self._engine = self._engine or self._make()
        return engine

    def limiter(self) -> threading.Semaphore:
        """Limits concurrent requests to the maximum number of connections."""
        return self._limiter

    def close(self) -> None:
        """Close the connections. Further calls have no effect."""
        with self._lock:
            engine, self._engine, self.is_closed = self._engine, None, True
        if engine is not None:
            engine.close()

    def renew(self) -> None:
        """Start afresh in a forked process. A lock that a thread of the parent held is never released here."""
        if not self._forwards:
            _inherited.append(self._engine)
            self._engine = None
        self._renew_locks()
        self._budget.renew()

    def _renew_locks(self) -> None:
        self._lock = threading.Lock()
        self._limiter = new_limiter()


class AsyncConnections:
    """The state that the copies of an asynchronous client share, for one event loop at a time."""

    def __init__(self, make: Callable[[], AsyncEngine], budget: RetryBudget, *, forwards: bool) -> None:
        self._make = make
        self._budget = budget
        self._forwards = forwards
        self._engine: AsyncEngine | None = None
        self._loop: object = None
        self._limiter: anyio.Semaphore | None = None
        self._keeper: AsyncGenerator[None] | None = None
        self.is_closed = False
        _all.add(self)

    async def engine(self) -> AsyncEngine:
        """The engine of this event loop.

        Raises:
            ClientClosedError: the client has been closed.
        """
        if self.is_closed:
            raise closed_error()
        loop = _current_loop()
        engine = self._engine
        if engine is None or loop is not self._loop:
            if engine is None or not self._forwards:
                engine = self._make()
            self._engine, self._loop, self._limiter = engine, loop, None
            if not self._forwards:
                # An event loop closes its asynchronous generators when it ends.
                self._keeper = _closed_with_the_loop(engine)
                await anext(self._keeper)
        return engine

    def limiter(self) -> anyio.Semaphore:
        """Limits concurrent requests to the maximum number of connections."""
        if self._limiter is None:
            self._limiter = new_async_limiter()
        return self._limiter

    async def aclose(self) -> None:
        """Close the connections. Further calls have no effect."""
        engine, self._engine, self.is_closed = self._engine, None, True
        keeper, self._keeper = self._keeper, None
        if engine is None or (not self._forwards and _current_loop() is not self._loop):
            return  # the loop of these connections has closed them
        await engine.aclose()
        if keeper is not None:
            await keeper.aclose()

    def renew(self) -> None:
        """As `Connections.renew`."""
        if not self._forwards:
            _inherited.append((self._engine, self._keeper))
            self._engine = self._keeper = None
        self._loop = self._limiter = None
        self._budget.renew()


async def _closed_with_the_loop(engine: AsyncEngine) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        await engine.aclose()


def closed_error(client: str = "client") -> ClientClosedError:
    """The error for a call of a client that was closed."""
    return ClientClosedError(f"this {client} has been closed: make a new one")


def _current_loop() -> object:
    """An object that identifies the running event loop, or None."""
    loop = running_loop()
    if loop is None and "trio" in sys.modules:
        import trio

        try:
            return trio.lowlevel.current_trio_token()
        except RuntimeError:
            return None
    return loop


_all: weakref.WeakSet[Connections | AsyncConnections] = weakref.WeakSet()
_inherited: list[object] = []
"""The connections of the parent process. Closing them here could say goodbye in its name."""


def _renew_all() -> None:
    for each in list(_all):
        each.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
