"""The two drivers: they carry out the effects of the client's logic, one for each kind of client."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from contextlib import suppress
from contextvars import copy_context
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, cast

import httpx

from prebuilds.effects import (
    Close,
    Effect,
    Join,
    Open,
    Read,
    Send,
    Sleep,
    Start,
    Steps,
    Stream,
    Tell,
    World,
    iterate,
    iterate_async,
    run,
    run_async,
)
from prebuilds.errors import ClientClosedError

if TYPE_CHECKING:
    import asyncio

    import anyio

T = TypeVar("T")

MOST_CONNECTIONS = 100
"""How many exchanges of a client go on at a time; more of them wait. The pool of httpx does not see to it: it loses a
connection for good when a call is cancelled, or times out, in the moment in which it is given one."""

_CONNECT_TIMEOUT = 10.0
"""The most seconds for one attempt to connect: a host that drops packets must not use up the deadline of a call that
another attempt might save."""

_ERROR_LIMIT = 1_048_576
"""How many bytes of an error are read. Nobody needs more of them, and an endless one must not fill the memory."""

_LEAST = 0.001
"""Seconds that are given at least: no time at all has a meaning of its own to a socket."""

_PIECE = 1024
"""How many bytes of an error are decompressed at a time."""


class Driver:
    """Carries out logic in the thread of the caller, with an HTTP client that is made when it is first needed."""

    def __init__(self, http: Callable[[], httpx.Client], world: World, gate: threading.Semaphore) -> None:
        self.http = http
        self.world = world
        self.gate = gate
        """Lets as many exchanges through at a time as there may be connections."""

    def run(self, steps: Steps[T]) -> T:
        """The result of `steps`."""
        held: set[_Thread | _OpenStream] = set()
        try:
            return run(steps, lambda effect: self.perform(effect, held))
        finally:
            for each in held:
                each.stop()

    def iterate(self, steps: Stream[T]) -> Iterator[T]:
        """The values that `steps` emits."""
        held: set[_Thread | _OpenStream] = set()
        try:
            yield from iterate(steps, lambda effect: self.perform(effect, held))
        finally:
            for each in held:
                each.stop()

    def perform(self, effect: Effect, held: set[_Thread | _OpenStream]) -> object:
        """Carry out one effect. What it leaves running is put into `held`."""
        match effect:
            case Send():
                return self._send(effect)
            case Sleep(seconds):
                self.world.sleep(seconds)
            case Tell(callback, value):
                return _not_awaitable(callback(value))
            case Start(steps):
                thread = _Thread(self, steps)
                held.add(thread)
                return thread
            case Join(handle):
                outcome = handle.result()
                held.discard(handle)
                return outcome
            case Open():
                response = self.http().send(_get(effect), stream=True, auth=None, follow_redirects=False)
                stream = _OpenStream(response, response.iter_bytes())
                held.add(stream)
                return stream
            case Read(stream):
                return next(stream.chunks, None)
            case Close(stream):
                held.discard(stream)
                stream.stop()
        return None

    def _send(self, effect: Send) -> httpx.Response:
        http = self.http()
        exchange = _Exchange(effect)
        if not self.gate.acquire(timeout=exchange.limit()):
            raise httpx.PoolTimeout(_TOO_MANY)
        try:
            return self._exchange(http, exchange)
        except RuntimeError as error:
            _check_open(http, error)
            raise
        finally:
            self.gate.release()

    def _exchange(self, http: httpx.Client, exchange: _Exchange) -> httpx.Response:
        response = http.send(exchange.request(http), stream=True)
        if response.is_stream_consumed:
            return response  # a transport or a hook of the caller has read it
        try:
            body = _Body(response)
            try:
                for chunk in response.iter_raw():
                    if not body.takes(chunk):
                        break
                    if exchange.remaining() <= 0:
                        body.ran_out()
                        break
            except httpx.TransportError as error:
                body.broke(error)
        finally:
            response.close()
        return body.complete(exchange)


class AsyncDriver:
    """As `Driver`, for asynchronous code: under asyncio, and under trio, where nothing is started ahead of time."""

    def __init__(
        self, http: Callable[[], httpx.AsyncClient], world: World, gate: Callable[[], anyio.Semaphore]
    ) -> None:
        self.http = http
        self.world = world
        self.gate = gate
        """As with `Driver`."""

    async def run(self, steps: Steps[T]) -> T:
        """The result of `steps`."""
        held: set[_Task | _Later | _AsyncOpenStream] = set()
        try:
            return await run_async(steps, lambda effect: self.perform(effect, held))
        finally:
            for each in held:
                await each.stop()

    async def iterate(self, steps: Stream[T]) -> AsyncGenerator[T]:
        """The values that `steps` emits."""
        held: set[_Task | _Later | _AsyncOpenStream] = set()
        values = iterate_async(steps, lambda effect: self.perform(effect, held))
        try:
            async for value in values:
                yield value
        finally:
            await values.aclose()
            for each in held:
                await each.stop()

    async def perform(self, effect: Effect, held: set[_Task | _Later | _AsyncOpenStream]) -> object:
        """Carry out one effect. What it leaves running is put into `held`."""
        match effect:
            case Send():
                return await self._send(effect)
            case Sleep(seconds):
                await self.world.async_sleep(seconds)
            case Tell(callback, value):
                outcome: Any = callback(value)
                return await outcome if hasattr(outcome, "__await__") else outcome
            case Start(steps):
                task = _started(self.run(steps))
                held.add(task)
                return task
            case Join(handle):
                outcome = await handle.result()
                held.discard(handle)
                return outcome
            case Open():
                response = await self.http().send(_get(effect), stream=True, auth=None, follow_redirects=False)
                stream = _AsyncOpenStream(response, response.aiter_bytes())
                held.add(stream)
                return stream
            case Read(stream):
                return await anext(stream.chunks, None)
            case Close(stream):
                held.discard(stream)
                await stream.stop()
        return None

    async def _send(self, effect: Send) -> httpx.Response:
        import anyio  # httpx brings it

        http = self.http()
        exchange = _Exchange(effect)
        gate = self.gate()
        try:
            with anyio.fail_after(exchange.limit()):
                await gate.acquire()
        except TimeoutError as error:
            raise httpx.PoolTimeout(_TOO_MANY) from error
        try:
            return await _unharmed(lambda: self._in_time(http, exchange))
        except RuntimeError as error:
            _check_open(http, error)
            raise
        finally:
            gate.release()

    async def _in_time(self, http: httpx.AsyncClient, exchange: _Exchange) -> httpx.Response:
        import anyio

        limit = exchange.limit()
        request = exchange.request(http)
        try:
            # What httpx is told is a limit for each step, this is one for all of them.
            with anyio.fail_after(None if limit is None else limit + _GRACE):
                return await self._exchange(http, exchange, request)
        except TimeoutError as error:
            raise httpx.ReadTimeout("the answer took too long", request=request) from error

    async def _exchange(self, http: httpx.AsyncClient, exchange: _Exchange, request: httpx.Request) -> httpx.Response:
        import anyio

        response = await http.send(request, stream=True)
        if response.is_stream_consumed:
            return response  # a transport or a hook of the caller has read it
        try:
            body = _Body(response)
            # Cancelled rather than left: the generators of httpx close only when an exception passes them.
            reading = anyio.CancelScope(deadline=anyio.current_time() + exchange.remaining())
            try:
                with reading:
                    async for chunk in response.aiter_raw():
                        if not body.takes(chunk):
                            reading.cancel()
            except httpx.TransportError as error:
                body.broke(error)
            if reading.cancelled_caught and not body.suffices:
                body.ran_out()
        finally:
            await response.aclose()
        return body.complete(exchange)


def gate() -> threading.Semaphore:
    """What lets as many exchanges through at a time as there may be connections."""
    return threading.Semaphore(MOST_CONNECTIONS)


def async_gate() -> Callable[[], anyio.Semaphore]:
    """As `gate`, made when it is first needed, so that anyio is loaded no sooner."""

    @cache
    def made() -> anyio.Semaphore:
        import anyio

        return anyio.Semaphore(MOST_CONNECTIONS)

    return made


_TOO_MANY = f"{MOST_CONNECTIONS} calls are under way, and this one's time was over before one of them had ended"

_GRACE = 0.05
"""Seconds that an exchange may take beyond what each of its steps may, so that the step that took too long is named."""


class _Exchange:
    """One request and its response, within one time limit: of real time, which is what a network takes."""

    def __init__(self, effect: Send) -> None:
        self._effect = effect
        self._begin = time.monotonic()

    def request(self, http: httpx.Client | httpx.AsyncClient) -> httpx.Request:
        effect = self._effect
        limit = self.limit()
        connect = _CONNECT_TIMEOUT if limit is None else min(limit, _CONNECT_TIMEOUT)
        return http.build_request(
            "POST",
            effect.path,
            headers=effect.headers,
            content=effect.content,
            timeout=httpx.Timeout(limit, connect=connect),
        )

    def limit(self) -> float | None:
        """How many seconds are left, more than 0; None if there is no end."""
        return None if math.isinf(self._effect.timeout) else max(self.remaining(), _LEAST)

    def elapsed(self) -> float:
        return time.monotonic() - self._begin

    def remaining(self) -> float:
        return self._effect.timeout - self.elapsed()


class _Body:
    """Collects the body of a response."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self._chunks: list[bytes] = []
        self._size = 0

    @property
    def suffices(self) -> bool:
        """Whether no more is wanted, though more may come."""
        return self._response.is_error and self._size >= _ERROR_LIMIT

    def takes(self, chunk: bytes) -> bool:
        """Add a chunk; whether more is wanted."""
        self._chunks.append(chunk)
        self._size += len(chunk)
        return not self.suffices

    def broke(self, error: httpx.TransportError) -> None:
        """The body broke off. An error is told by its status then; of anything else, the whole is needed."""
        if not self._response.is_error:
            raise error

    def ran_out(self) -> None:
        """The time is over."""
        self.broke(httpx.ReadTimeout("the answer took too long", request=self._response.request))

    def complete(self, exchange: _Exchange) -> httpx.Response:
        """The response with its body, decompressed."""
        content = b"".join(self._chunks)
        headers = self._response.headers
        if self._response.is_error:
            content = _beginning(content, headers)
            headers = headers.copy()
            headers.pop("content-encoding", None)
        response = httpx.Response(
            self._response.status_code, headers=headers, content=content, request=self._response.request
        )
        response.elapsed = timedelta(seconds=exchange.elapsed())
        return response


def _beginning(content: bytes, headers: httpx.Headers) -> bytes:
    """The body of an error decompressed, as far as it can be and makes sense: a little may become very much."""
    pieces = (content[start : start + _PIECE] for start in range(0, len(content), _PIECE))
    found = bytearray()
    try:
        for part in httpx.Response(500, headers=headers, content=pieces).iter_bytes():
            found += part
            if len(found) >= _ERROR_LIMIT:
                break
    except httpx.DecodingError:
        return bytes(found) or content
    return bytes(found)


def _check_open(http: httpx.Client | httpx.AsyncClient, error: RuntimeError) -> None:
    """Of an HTTP client that has been closed, httpx raises a RuntimeError like any other."""
    if http.is_closed:
        raise ClientClosedError("the client has been closed: make a new one") from error


def _get(effect: Open) -> httpx.Request:
    timeout = httpx.Timeout(effect.timeout, connect=_CONNECT_TIMEOUT)
    return httpx.Request("GET", effect.url, headers=effect.headers, extensions={"timeout": timeout.as_dict()})


def _not_awaitable(outcome: object) -> object:
    if hasattr(outcome, "__await__"):
        close = getattr(outcome, "close", None)
        if close is not None:
            close()
        raise TypeError(
            "a callback of PrebuildClient is asynchronous: use AsyncPrebuildClient, or an ordinary function"
        )
    return outcome


class _OpenStream:
    def __init__(self, response: httpx.Response, chunks: Iterator[bytes]) -> None:
        self.response = response
        self.chunks = chunks

    def stop(self) -> None:
        self.response.close()


class _AsyncOpenStream:
    def __init__(self, response: httpx.Response, chunks: AsyncIterator[bytes]) -> None:
        self.response = response
        self.chunks = chunks

    async def stop(self) -> None:
        await self.response.aclose()


class _Stopped(BaseException):
    """Nobody waits for the result any more."""


class _Thread:
    """Logic in a thread of its own. It pauses only once somebody waits for it, so that it can be stopped at once."""

    def __init__(self, driver: Driver, steps: Steps[Any]) -> None:
        self._driver = driver
        self._wanted = threading.Event()
        self._stopped = False
        self._outcome: list[Any] = []
        self._error: BaseException | None = None
        context = copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._run, steps), name="prebuilds", daemon=True)
        self._thread.start()

    def result(self) -> Any:
        self._wanted.set()
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._outcome[0]

    def stop(self) -> None:
        self._stopped = True
        self._wanted.set()
        # The collection of garbage may happen anywhere, in this very thread too.
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self, steps: Steps[Any]) -> None:
        try:
            self._outcome.append(run(steps, self._perform))
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
            self._error = error

    def _perform(self, effect: Effect) -> object:
        if isinstance(effect, Sleep):
            self._wanted.wait()
        if self._stopped:
            raise _Stopped
        return self._driver.perform(effect, set())


class _Task:
    """Logic in a task of its own."""

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self.task = task

    async def result(self) -> Any:
        return await self.task

    async def stop(self) -> None:
        import asyncio

        self.task.cancel()
        await asyncio.wait([self.task])
        if not self.task.cancelled():
            self.task.exception()  # seen, so that nobody complains that it was not


class _Later:
    """Logic that is carried out when its result is asked for."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self.coroutine = coroutine

    async def result(self) -> Any:
        return await self.coroutine

    async def stop(self) -> None:
        self.coroutine.close()


async def _unharmed(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Do some work of httpx so that it can be cancelled at any moment.

    Where httpx must not be disturbed, when it gives a connection back for example, it asks anyio to hold off. That
    holds off what anyio cancels, but not `asyncio.Task.cancel`, which would leave a connection open and out of reach.
    So the work is done in a task that nobody but anyio cancels.
    """
    import anyio

    if running_loop() is None:
        return await work()
    import asyncio

    scope = anyio.CancelScope()

    async def cancellable() -> T | None:
        with scope:
            return await work()
        return None

    task = asyncio.create_task(cancellable())
    try:
        return cast("T", await asyncio.shield(task))
    except asyncio.CancelledError:
        scope.cancel()
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # seen, so that nobody complains that it was not
        raise


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop of asyncio in which this is called; None if there is none."""
    import asyncio

    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _started(coroutine: Coroutine[Any, Any, Any]) -> _Task | _Later:
    import asyncio

    return _Task(asyncio.create_task(coroutine)) if running_loop() else _Later(coroutine)
