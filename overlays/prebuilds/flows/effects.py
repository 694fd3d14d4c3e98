"""The effects that the client's logic yields, and the time and chance that it depends on."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Generator, Mapping
from typing import Any, Generic, TypeVar

from attrs import define, field

T = TypeVar("T")


@define(frozen=True, kw_only=True)
class Send:
    """Send a request. The outcome is a `RawResponse`, or an `ExchangeError`."""

    url: str
    headers: Mapping[str, str]
    """All headers, with the credentials."""
    content: bytes
    timeout: float
    """Seconds for the whole exchange; infinity for no limit."""
    max_bytes: int
    """The limit for the body of a successful response."""


@define(frozen=True)
class Sleep:
    """Let time pass."""

    seconds: float


@define(frozen=True)
class Callback:
    """Call a function of the user. The outcome is its result; the asynchronous driver awaits it if necessary."""

    function: Callable[..., Any]
    arguments: tuple[object, ...] = ()


@define(frozen=True)
class Emit(Generic[T]):
    """Hand a value to the code that iterates over the logic, and continue when it requests the next value."""

    value: T


@define(frozen=True)
class Spawn:
    """Run `steps` in the background. The outcome is a handle for `Join`.

    The logic may not start before `Join`. Spawned logic that was not joined is cancelled when the parent ends.
    """

    steps: Steps[Any]


@define(frozen=True)
class Join:
    """Wait for spawned logic, and take over its result or its exception."""

    handle: Any


@define(frozen=True)
class JoinAny:
    """Wait until one of several handles has ended. The outcome is that handle, or None after `timeout` seconds."""

    handles: tuple[Any, ...]
    timeout: float | None


@define(frozen=True)
class Fork:
    """Run `steps` side by side with the logic that yields this. Only logic inside of `concurrently` can yield it."""

    steps: Steps[None]


@define(frozen=True, kw_only=True)
class Open:
    """Send a GET request, and leave the body to be read. The outcome is a stream, or an `ExchangeError`.

    A stream has a `response`. It is closed no later than the end of the logic.
    """

    url: str
    headers: Mapping[str, str]
    """All headers, with the credentials."""
    timeout: float
    """Seconds until the head of the response must be there."""


@define(frozen=True)
class Read:
    """Read from a stream. The outcome is some bytes, None at its end, or an `ExchangeError`."""

    stream: Any
    timeout: float
    """Seconds to wait for the next bytes."""


@define(frozen=True)
class Close:
    """Close a stream."""

    stream: Any


Effect = Send | Sleep | Callback | Spawn | Join | JoinAny | Fork | Open | Read | Close
Steps = Generator[Effect, Any, T]
"""Logic that ends with a `T`."""
Stream = Generator[Effect | Emit[T], Any, None]
"""Logic that hands out values of type `T` on its way."""


async def _async_sleep(seconds: float) -> None:
    import anyio  # httpx brings it; it sleeps under asyncio and trio alike

    await anyio.sleep(seconds)


@define(frozen=True, kw_only=True)
class Runtime:
    """Time and chance. Tests replace them."""

    clock: Callable[[], float] = time.monotonic
    """Seconds that only go forward; deadlines are measured with it."""
    now: Callable[[], float] = time.time
    """Seconds since 1970; dates are compared with it."""
    uniform: Callable[[float, float], float] = field(default=random.uniform)
    """A random number between two others."""
    sleep: Callable[[float], None] = time.sleep
    async_sleep: Callable[[float], Awaitable[None]] = _async_sleep
