"""How the logic of the client meets the world.

What the client does beyond one HTTP exchange (repeating, paging, waiting) is written once, as plain
generators. A generator yields what it wants done, an `Effect`, and is sent the outcome, or is
thrown the exception. `run` and `run_async` carry the effects out, so that the same logic serves both
clients, and is tested without a network or a clock.
"""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar

import httpx
from attrs import define, field

T = TypeVar("T")


@define(frozen=True, kw_only=True)
class Send:
    """Send a POST request; the outcome is the `httpx.Response`, or an `httpx.RequestError`.

    Credentials are no part of it: the HTTP client adds them.
    """

    path: str
    """Where to, below the base URL."""
    headers: dict[str, str]
    content: bytes
    timeout: httpx.Timeout


@define(frozen=True)
class Sleep:
    """Let time pass."""

    seconds: float


@define(frozen=True)
class Tell:
    """Call back with a value. The asynchronous driver awaits what the callback returns."""

    callback: Callable[[Any], object]
    value: object


Effect = Send | Sleep | Tell
Steps = Generator[Effect, Any, T]
"""Logic that ends with a `T`."""


def run(steps: Steps[T], perform: Callable[[Effect], object]) -> T:
    """Carry out what `steps` asks for, and return what it returns."""
    try:
        effect = next(steps)
        while True:
            try:
                outcome = perform(effect)
            except Exception as error:  # noqa: BLE001 - the logic decides what it can handle
                effect = steps.throw(error)
            else:
                effect = steps.send(outcome)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        steps.close()


async def run_async(steps: Steps[T], perform: Callable[[Effect], Awaitable[object]]) -> T:
    """As `run`, for effects that are awaited."""
    try:
        effect = next(steps)
        while True:
            try:
                outcome = await perform(effect)
            except Exception as error:  # noqa: BLE001 - the logic decides what it can handle
                effect = steps.throw(error)
            else:
                effect = steps.send(outcome)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        steps.close()


async def _async_sleep(seconds: float) -> None:
    import anyio  # httpx brings it; it sleeps under asyncio and trio alike

    await anyio.sleep(seconds)


@define(frozen=True, kw_only=True)
class World:
    """Time and chance, for tests to replace."""

    clock: Callable[[], float] = time.monotonic
    """Seconds that only ever go forward; deadlines are measured with it."""
    now: Callable[[], float] = time.time
    """Seconds since 1970; HTTP dates are compared with it."""
    uniform: Callable[[float, float], float] = field(default=random.uniform)
    """A random number between two others."""
    sleep: Callable[[float], None] = time.sleep
    async_sleep: Callable[[float], Awaitable[None]] = _async_sleep
