"""How the logic of the client meets the world.

What the client does beyond one HTTP exchange (repeating, paging, waiting, following a log) is written once, as plain
generators. A generator yields what it wants done, an `Effect`, and is sent the outcome, or is thrown the exception. The
drivers in `prebuilds.drivers` carry the effects out, so that the same logic serves both clients, and is tested without
a network or a clock.
"""

from __future__ import annotations

import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import aclosing
from typing import Any, Generic, TypeVar

from attrs import define, field

T = TypeVar("T")


@define(frozen=True, kw_only=True)
class Send:
    """Send a POST request; the outcome is the `httpx.Response` with its body, or an `httpx.RequestError`.

    Credentials are no part of it: the HTTP client adds them.
    """

    path: str
    """Where to, below the base URL."""
    headers: dict[str, str]
    content: bytes
    timeout: float
    """Seconds for the whole exchange; infinity is for ever."""


@define(frozen=True)
class Sleep:
    """Let time pass."""

    seconds: float


@define(frozen=True)
class Tell:
    """Call back with a value; the outcome is what that returns. The asynchronous driver awaits it if need be."""

    callback: Callable[[Any], object]
    value: object


@define(frozen=True)
class Emit(Generic[T]):
    """Hand a value to whoever iterates over the logic, and go on when they ask for the next one."""

    value: T


@define(frozen=True)
class Start:
    """Carry out `steps` beside what follows; the outcome is a handle for `Join`.

    It may be that nothing happens before `Join`. What has not been joined when the logic ends is stopped.
    """

    steps: Steps[Any]


@define(frozen=True)
class Join:
    """Wait for what was started, and take over its result or its exception."""

    handle: Any


@define(frozen=True, kw_only=True)
class Open:
    """Begin to GET a URL without any credentials but `headers`; the outcome is a stream.

    A stream has `response`, whose body is still to be read, and is closed when the logic ends at the latest.
    """

    url: str
    headers: dict[str, str]
    timeout: float
    """Seconds without a sign of life after which the connection counts as broken."""


@define(frozen=True)
class Read:
    """Read on in a stream; the outcome is some bytes, and None at its end."""

    stream: Any


@define(frozen=True)
class Close:
    """Close a stream."""

    stream: Any


Effect = Send | Sleep | Tell | Start | Join | Open | Read | Close
Steps = Generator[Effect, Any, T]
"""Logic that ends with a `T`."""
Stream = Generator[Effect | Emit[T], Any, None]
"""Logic that hands out values of type `T` on its way."""


def iterate(steps: Stream[T], perform: Callable[[Effect], object]) -> Generator[T, object]:
    """Carry out what `steps` asks for, and yield what it emits."""
    try:
        effect = next(steps)
        outcome: object
        while True:
            try:
                outcome = (yield effect.value) if isinstance(effect, Emit) else perform(effect)
            except Exception as error:  # noqa: BLE001 - the logic decides what it can handle
                effect = steps.throw(error)
            else:
                effect = steps.send(outcome)
    except StopIteration:
        return
    finally:
        steps.close()


async def iterate_async(steps: Stream[T], perform: Callable[[Effect], Awaitable[object]]) -> AsyncGenerator[T]:
    """As `iterate`, for effects that are awaited."""
    try:
        effect = next(steps)
        outcome: object
        while True:
            try:
                outcome = (yield effect.value) if isinstance(effect, Emit) else await perform(effect)
            except Exception as error:  # noqa: BLE001 - the logic decides what it can handle
                effect = steps.throw(error)
            else:
                effect = steps.send(outcome)
    except StopIteration:
        return
    finally:
        steps.close()


def run(steps: Steps[T], perform: Callable[[Effect], object]) -> T:
    """Carry out what `steps` asks for, and return what it returns."""
    values = iterate(_emitting(steps), perform)
    return next(values)


async def run_async(steps: Steps[T], perform: Callable[[Effect], Awaitable[object]]) -> T:
    """As `run`, for effects that are awaited."""
    async with aclosing(iterate_async(_emitting(steps), perform)) as values:
        return await anext(values)


def _emitting(steps: Steps[T]) -> Stream[T]:
    result = yield from steps
    yield Emit(result)


async def _async_sleep(seconds: float) -> None:
    import anyio  # httpx brings it; it sleeps under asyncio and trio alike

    await anyio.sleep(seconds)


@define(frozen=True, kw_only=True)
class World:
    """Time and chance, for tests to replace."""

    clock: Callable[[], float] = time.monotonic
    """Seconds that only ever go forward; deadlines are measured with it."""
    now: Callable[[], float] = time.time
    """Seconds since 1970; dates are compared with it."""
    uniform: Callable[[float, float], float] = field(default=random.uniform)
    """A random number between two others."""
    sleep: Callable[[float], None] = time.sleep
    async_sleep: Callable[[float], Awaitable[None]] = _async_sleep
