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
    """When the next call may start. It may be shared by threads.

    Args:
        clock: seconds that only go forward.
        rate: calls per second.
    """

    def __init__(self, clock: Callable[[], float], rate: float = MAX_CALLS_PER_SECOND) -> None:
        self._clock = clock
        self._interval = 1 / rate
        self._next = clock()
        self._lock = threading.Lock()

    def remaining(self) -> float:
        """Seconds until the next call may start."""
        return self._next - self._clock()

    def take(self) -> None:
        """Start a call now."""
        self._next = max(self._next, self._clock()) + self._interval

    def hold(self, seconds: float) -> None:
        """Start no call for so many seconds."""
        self._next = max(self._next, self._clock() + seconds)

    def after_attempt(self, sleep: Callable[[float], None]) -> Callable[[Attempt], None]:
        """A callback that paces all calls of a synchronous client, retries included."""

        def wait(_attempt: Attempt) -> None:
            with self._lock:
                delay = self.remaining()
                self.take()
            if delay > 0:
                sleep(delay)

        return wait


class PacedCalls:
    """Makes asynchronous calls at a pace that all workers share.

    A response that asks for a pause (429) holds the calls of all workers. A failed call is repeated if that is safe.

    Args:
        runtime: time and chance.
        rate: calls per second.
    """

    def __init__(self, runtime: Runtime, rate: float = MAX_CALLS_PER_SECOND) -> None:
        self._runtime = runtime
        self._pace = Pace(runtime.clock, rate)
        self._turn = asyncio.Lock()

    async def __call__(self, send: Callable[[], Awaitable[T]]) -> T:
        """Make a call. `send` sends it once, without retries of its own.

        Raises:
            CallError: the call failed for good.
        """
        attempt = 0
        while True:
            attempt += 1
            await self._wait_for_turn()
            try:
                return await send()
            except CallError as error:
                delay = self._retry_in(error, attempt)
                if delay is None:
                    raise
            await self._runtime.async_sleep(delay)

    async def _wait_for_turn(self) -> None:
        async with self._turn:
            # Another worker may have been told to wait in the meantime.
            while (delay := self._pace.remaining()) > 0:
                await self._runtime.async_sleep(delay)
            self._pace.take()

    def _retry_in(self, error: CallError, attempt: int) -> float | None:
        retry_after = error.retry_after if isinstance(error, APIError) else None
        if retry_after is not None:
            self._pace.hold(retry_after)
        if not error.retryable or attempt >= MAX_ATTEMPTS:
            return None
        return retry_after or self._runtime.uniform(0.5, 1.0) * min(2.0**attempt, _MAX_BACKOFF)
