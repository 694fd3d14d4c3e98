"""The two drivers: they perform the effects of the client's logic, one for each client."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from prebuild_api.http import RawResponse
from prebuilds.engines.exchange import (
    MAX_CONNECTIONS,
    AsyncEngine,
    Deadline,
    Engine,
    ExchangeError,
    Request,
)
from prebuilds.flows.background import BackgroundThread, first_task, first_thread, spawn_task, spawn_thread
from prebuilds.flows.effects import (
    Callback,
    Close,
    Effect,
    Fork,
    Join,
    JoinAny,
    Open,
    Read,
    Runtime,
    Send,
    Sleep,
    Spawn,
    Steps,
    Stream,
)
from prebuilds.flows.interpreter import iterate, iterate_async, run, run_async

if TYPE_CHECKING:
    import anyio

T = TypeVar("T")


class Driver:
    """Performs effects in the thread of the caller.

    Args:
        engine: gives the engine, which is made when it is first needed.
        limiter: limits concurrent requests to the maximum number of connections.
        runtime: time and chance.
    """

    def __init__(
        self, engine: Callable[[], Engine], limiter: Callable[[], threading.Semaphore], runtime: Runtime
    ) -> None:
        self._engine = engine
        self._limiter = limiter
        self.runtime = runtime

    def run(self, steps: Steps[T]) -> T:
        """The result of `steps`."""
        held: set[Any] = set()
        try:
            return run(steps, lambda effect: self.perform(effect, held))
        finally:
            for each in held:
                each.close()

    def iterate(self, steps: Stream[T]) -> Iterator[T]:
        """The values that `steps` emits."""
        held: set[Any] = set()
        try:
            yield from iterate(steps, lambda effect: self.perform(effect, held))
        finally:
            for each in held:
                each.close()

    def perform(self, effect: Effect, held: set[Any], watch: Callable[[Deadline], None] | None = None) -> object:
        """Perform one effect.

        Args:
            effect: the effect to perform.
            held: receives the resources that the effect leaves open or running.
            watch: receives the deadline of a request, so that another thread can cancel it.
        """
        match effect:
            case Send():
                return self._send(effect, watch)
            case Sleep(seconds):
                self.runtime.sleep(seconds)
            case Callback(function, arguments):
                return _synchronous(function(*arguments))
            case Spawn(steps):
                return _held(spawn_thread(self._in_background, steps), held)
            case Join(handle):
                held.discard(handle)
                return handle.result()
            case JoinAny(handles, timeout):
                return first_thread(handles, timeout)
            case Open():
                return _held(self._engine().open(_opening(effect)), held)
            case Read(stream, timeout):
                return stream.read(timeout)
            case Close(stream):
                held.discard(stream)
                stream.close()
            case Fork():
                raise TypeError("only logic inside of `concurrently` can fork")
        return None

    def _send(self, effect: Send, watch: Callable[[Deadline], None] | None) -> RawResponse:
        engine = self._engine()
        request = _request(effect)
        if watch is not None:
            watch(request.deadline)
        limiter = self._limiter()
        if not limiter.acquire(timeout=request.deadline.limit()):
            raise _too_many()
        try:
            return engine.exchange(request)
        finally:
            limiter.release()

    def _in_background(self, effect: Effect, thread: BackgroundThread) -> object:
        return self.perform(effect, thread.held, thread.watch)


class AsyncDriver:
    """Like `Driver`, for an event loop of asyncio or trio. Under trio nothing runs in the background."""

    def __init__(
        self, engine: Callable[[], Awaitable[AsyncEngine]], limiter: Callable[[], anyio.Semaphore], runtime: Runtime
    ) -> None:
        self._engine = engine
        self._limiter = limiter
        self.runtime = runtime

    async def run(self, steps: Steps[T]) -> T:
        """The result of `steps`."""
        held: set[Any] = set()
        try:
            return await run_async(steps, lambda effect: self.perform(effect, held))
        finally:
            for each in held:
                await each.aclose()

    async def iterate(self, steps: Stream[T]) -> AsyncGenerator[T]:
        """The values that `steps` emits."""
        held: set[Any] = set()
        values = iterate_async(steps, lambda effect: self.perform(effect, held))
        try:
            async for value in values:
                yield value
        finally:
            await values.aclose()
            for each in held:
                await each.aclose()

    async def perform(self, effect: Effect, held: set[Any]) -> object:
        """As `Driver.perform`."""
        match effect:
            case Send():
                return await self._send(effect)
            case Sleep(seconds):
                await self.runtime.async_sleep(seconds)
            case Callback(function, arguments):
                outcome = function(*arguments)
                return await outcome if hasattr(outcome, "__await__") else outcome
            case Spawn(steps):
                return _held(spawn_task(self.run(steps)), held)
            case Join(handle):
                outcome = await handle.result()
                held.discard(handle)
                return outcome
            case JoinAny(handles, timeout):
                return await first_task(handles, timeout)
            case Open():
                engine = await self._engine()
                return _held(await engine.open(_opening(effect)), held)
            case Read(stream, timeout):
                return await stream.read(timeout)
            case Close(stream):
                held.discard(stream)
                await stream.aclose()
            case Fork():
                raise TypeError("only logic inside of `concurrently` can fork")
        return None

    async def _send(self, effect: Send) -> RawResponse:
        engine = await self._engine()
        request = _request(effect)
        limiter = self._limiter()
        try:
            limiter.acquire_nowait()
        except Exception:  # noqa: BLE001 - anyio.WouldBlock, without loading anyio for its name
            await _acquire(limiter, request.deadline)
        try:
            return await engine.exchange(request)
        finally:
            limiter.release()


def new_limiter() -> threading.Semaphore:
    """Limits the concurrent requests of a client to its maximum number of connections."""
    return threading.Semaphore(MAX_CONNECTIONS)


def new_async_limiter() -> anyio.Semaphore:
    """Like `new_limiter`, for the tasks of an event loop."""
    import anyio

    return anyio.Semaphore(MAX_CONNECTIONS)


async def _acquire(limiter: anyio.Semaphore, deadline: Deadline) -> None:
    import anyio

    try:
        with anyio.fail_after(deadline.limit()):
            await limiter.acquire()
    except TimeoutError:
        raise _too_many() from None


def _too_many() -> ExchangeError:
    return ExchangeError(
        f"{MAX_CONNECTIONS} calls of this client are in flight, and none of them ended in time",
        maybe_executed=False,
        timed_out=True,
    )


def _request(effect: Send) -> Request:
    return Request(
        method="POST",
        url=effect.url,
        headers=effect.headers,
        content=effect.content,
        deadline=Deadline(effect.timeout),
        max_bytes=effect.max_bytes,
    )


def _opening(effect: Open) -> Request:
    return Request(method="GET", url=effect.url, headers=effect.headers, deadline=Deadline(effect.timeout), max_bytes=0)


def _held(resource: T, held: set[Any]) -> T:
    held.add(resource)
    return resource


def _synchronous(outcome: object) -> object:
    """`outcome`, unless it should have been awaited."""
    if hasattr(outcome, "__await__"):
        close = getattr(outcome, "close", None)
        if close is not None:
            close()
        raise TypeError(
            "a callback of PrebuildClient is asynchronous: use AsyncPrebuildClient, or an ordinary function"
        )
    return outcome
