"""The two drivers: they carry out the effects of the client's logic, one for each kind of client."""

from __future__ import annotations

import math
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from contextvars import copy_context
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

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

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")

_CONNECT_TIMEOUT = 10.0
"""The most seconds for one attempt to connect: a host that drops packets must not use up the deadline of a call that
another attempt might save."""

_ERROR_LIMIT = 1_048_576
"""How many bytes of an error are read. Nobody needs more of them, and an endless one must not fill the memory."""


class Driver:
    """Carries out logic in the thread of the caller, with an HTTP client that is made when it is first needed."""

    def __init__(self, http: Callable[[], httpx.Client], world: World) -> None:
        self.http = http
        self.world = world

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
        exchange = _Exchange(effect, self.world)
        response = http.send(exchange.request(http), stream=True)
        try:
            body = exchange.body_of(response)
            try:
                for chunk in response.iter_raw():
                    if not body.takes(chunk):
                        break
            except httpx.TransportError as error:
                body.broke(error)
        finally:
            response.close()
        return body.complete()


class AsyncDriver:
    """As `Driver`, for asynchronous code: under asyncio, and under trio, where nothing is started ahead of time."""

    def __init__(self, http: Callable[[], httpx.AsyncClient], world: World) -> None:
        self.http = http
        self.world = world

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
        exchange = _Exchange(effect, self.world)
        request = exchange.request(http)
        try:
            # What httpx is told is a limit for each step, this is one for all of them.
            with anyio.fail_after(None if math.isinf(effect.timeout) else effect.timeout + _GRACE):
                response = await http.send(request, stream=True)
                try:
                    body = exchange.body_of(response)
                    try:
                        async for chunk in response.aiter_raw():
                            if not body.takes(chunk):
                                break
                    except httpx.TransportError as error:
                        body.broke(error)
                finally:
                    await response.aclose()
        except TimeoutError as error:
            raise httpx.ReadTimeout("the answer took too long", request=request) from error
        return body.complete()


_GRACE = 0.05
"""Seconds that an exchange may take beyond what each of its steps may, so that the step that took too long is named."""


class _Exchange:
    """One request and its response, within one time limit."""

    def __init__(self, effect: Send, world: World) -> None:
        self._effect = effect
        self._clock = world.clock
        self._begin = world.clock()

    def request(self, http: httpx.Client | httpx.AsyncClient) -> httpx.Request:
        effect = self._effect
        limit = None if math.isinf(effect.timeout) else effect.timeout
        connect = min(effect.timeout, _CONNECT_TIMEOUT)
        return http.build_request(
            "POST",
            effect.path,
            headers=effect.headers,
            content=effect.content,
            timeout=httpx.Timeout(limit, connect=connect),
        )

    def body_of(self, response: httpx.Response) -> _Body:
        return _Body(response, self._clock, self._begin, self._effect.timeout)


class _Body:
    """Collects the body of a response."""

    def __init__(self, response: httpx.Response, clock: Callable[[], float], begin: float, timeout: float) -> None:
        self._response = response
        self._clock = clock
        self._begin = begin
        self._deadline = begin + timeout
        self._chunks: list[bytes] = []
        self._size = 0

    def takes(self, chunk: bytes) -> bool:
        """Add a chunk; whether more is wanted."""
        self._chunks.append(chunk)
        self._size += len(chunk)
        if self._clock() > self._deadline:
            raise httpx.ReadTimeout("the answer took too long", request=self._response.request)
        return not (self._response.is_error and self._size >= _ERROR_LIMIT)

    def broke(self, error: httpx.TransportError) -> None:
        """The body broke off. An error is told by its status then; of anything else, the whole is needed."""
        if not self._response.is_error:
            raise error

    def complete(self) -> httpx.Response:
        """The response with its body, decompressed."""
        content = b"".join(self._chunks)
        try:
            response = self._with(content, self._response.headers)
        except httpx.DecodingError:
            if not self._response.is_error:
                raise
            headers = self._response.headers.copy()
            headers.pop("content-encoding", None)
            response = self._with(content, headers)
        response.elapsed = timedelta(seconds=self._clock() - self._begin)
        return response

    def _with(self, content: bytes, headers: httpx.Headers) -> httpx.Response:
        return httpx.Response(
            self._response.status_code, headers=headers, content=content, request=self._response.request
        )


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


def _started(coroutine: Coroutine[Any, Any, Any]) -> _Task | _Later:
    import asyncio

    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return _Later(coroutine)
    return _Task(loop.create_task(coroutine))
