"""Pacing of calls: a command about many projects sends a limited number of them per second."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeVar

from prebuilds.errors import APIError, CallError

if TYPE_CHECKING:
    from prebuild_api.operations import Attempt
    from prebuilds.flows.effects import Runtime

T = TypeVar("T")

MAX_CALLS_PER_SECOND: Final = 8.0
"""With this spacing, no second sees more than ten calls, even if the network delays some of them."""

MAX_ATTEMPTS: Final = 10
_MAX_BACKOFF: Final = 60.0


class Pace:
    """When the next call may start.

    Args:
        runtime: time and chance.
        rate: calls per second.
    """

    def __init__(self, runtime: Runtime, rate: float = MAX_CALLS_PER_SECOND) -> None:
        self._runtime = runtime
        self._interval = 1 / rate
        self._next = runtime.clock()
        self._turn = asyncio.Lock()
        self._lock = threading.Lock()

    async def turn(self) -> None:
        """Wait until a call may start, and count it. Callers get their turns in the order in which they ask."""
        async with self._turn:
            # A rate limit may have postponed all calls in the meantime.
            while (delay := self._next - self._runtime.clock()) > 0:
                await self._runtime.async_sleep(delay)
            self._count()

    def hold(self, seconds: float) -> None:
        """Start no call for so many seconds."""
        self._next = max(self._next, self._runtime.clock() + seconds)

    def after_attempt(self, _attempt: Attempt) -> None:
        """Pace all calls of a synchronous client, retries included: pass this as its `on_attempt`."""
        with self._lock:
            delay = self._next - self._runtime.clock()
            self._count()
        if delay > 0:
            self._runtime.sleep(delay)

    def _count(self) -> None:
        self._next = max(self._next, self._runtime.clock()) + self._interval


class PacedCalls:
    """Makes asynchronous calls at a pace that all workers share.

    A response that requests a delay (429) holds the calls of all workers. A failed call is repeated if that is safe.

    Args:
        runtime: time and chance.
        paces: each call waits for its turn in all of them. The last pace applies to all calls.
    """

    def __init__(self, runtime: Runtime, *paces: Pace) -> None:
        self._runtime = runtime
        self._paces = paces

    async def __call__(self, send: Callable[[], Awaitable[T]]) -> T:
        """Make a call. `send` sends it once, without its own retries.

        Raises:
            CallError: the call failed for good.
        """
        attempt = 0
        while True:
            attempt += 1
            for pace in self._paces:
                await pace.turn()
            try:
                return await send()
            except CallError as error:
                delay = self._retry_in(error, attempt)
                if delay is None:
                    raise
            await self._runtime.async_sleep(delay)

    def _retry_in(self, error: CallError, attempt: int) -> float | None:
        """The seconds until the next attempt, or None if the call is not repeated."""
        retry_after = error.retry_after if isinstance(error, APIError) else None
        if retry_after is not None:
            self._paces[-1].hold(retry_after)
        if not error.retryable or attempt >= MAX_ATTEMPTS:
            return None
        return retry_after or self._runtime.uniform(0.5, 1.0) * min(2.0**attempt, _MAX_BACKOFF)
