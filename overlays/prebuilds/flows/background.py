"""Logic that runs in the background: in a thread for the synchronous driver, in a task for the asynchronous one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from prebuilds.engines.exchange import Deadline
from prebuilds.engines.network import start_thread
from prebuilds.flows.effects import Effect, Sleep, Steps
from prebuilds.flows.interpreter import run

if TYPE_CHECKING:
    import asyncio

Perform = Callable[[Effect, "BackgroundThread"], object]


class _Cancelled(BaseException):
    """No caller waits for the result any more."""


class BackgroundThread:
    """Logic in its own thread, or deferred until its result is needed if no thread can be started.

    It sleeps only once a caller waits for its result, so that an unused result costs no retries.

    Attributes:
        held: the resources that the logic has left open.
        future: gets the result.
    """

    def __init__(self, perform: Perform, steps: Steps[Any]) -> None:
        self.held: set[Any] = set()
        self._perform = perform
        self._steps = steps
        self._wanted = threading.Event()
        self._cancelled = False
        self._deadline: Deadline | None = None
        self.future: Future[Any] = Future()
        context = copy_context()
        self._thread = start_thread(lambda: context.run(self._run))

    def result(self) -> Any:
        """Wait for the result.

        Raises:
            BaseException: the exception of the logic.
        """
        self._wanted.set()
        if self.is_deferred:
            self._run()
        return self.future.result()

    @property
    def is_deferred(self) -> bool:
        """True if the logic runs only when its result is needed."""
        return self._thread is None

    def watch(self, deadline: Deadline) -> None:
        """Note the exchange that the thread is about to begin."""
        self._deadline = deadline
        deadline.cancelled = self._cancelled

    def close(self) -> None:
        """Cancel it, and leave the thread to end by itself: waiting for it would take as long as its exchange."""
        self._cancelled = True
        if self._deadline is not None:
            self._deadline.cancelled = True
        self._wanted.set()

    def _run(self) -> None:
        try:
            result = run(self._steps, self._performed)
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is waited for
            self.future.set_exception(error)
        else:
            self.future.set_result(result)
        finally:
            for each in self.held:
                each.close()

    def _performed(self, effect: Effect) -> object:
        if isinstance(effect, Sleep):
            self._wanted.wait()
        if self._cancelled:
            raise _Cancelled
        return self._perform(effect, self)


def spawn_thread(perform: Perform, steps: Steps[Any]) -> BackgroundThread:
    """Run logic in the background of the calling thread."""
    return BackgroundThread(perform, steps)


def first_thread(threads: tuple[BackgroundThread, ...], timeout: float | None) -> BackgroundThread | None:
    """The first of several that ends, or that is deferred; None after `timeout` seconds."""
    for thread in threads:
        if thread.is_deferred:
            return thread
    done, _ = wait([thread.future for thread in threads], timeout, FIRST_COMPLETED)
    return next((thread for thread in threads if thread.future in done), None)


class BackgroundTask:
    """Logic in its own task."""

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self.task = task

    async def result(self) -> Any:
        """Wait for the result."""
        return await self.task

    async def aclose(self) -> None:
        """Cancel the task."""
        import asyncio

        self.task.cancel()
        await asyncio.wait([self.task])
        if not self.task.cancelled():
            self.task.exception()  # retrieved, so that asyncio does not report it


class DeferredTask:
    """Logic that runs when its result is needed."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._coroutine = coroutine

    async def result(self) -> Any:
        """Run it."""
        return await self._coroutine

    async def aclose(self) -> None:
        """Forget it."""
        self._coroutine.close()


def spawn_task(coroutine: Coroutine[Any, Any, Any]) -> BackgroundTask | DeferredTask:
    """Run logic in the background of the running task. trio has no tasks without a scope of their own."""
    loop = running_loop()
    return DeferredTask(coroutine) if loop is None else BackgroundTask(loop.create_task(coroutine))


async def first_task(
    tasks: tuple[BackgroundTask | DeferredTask, ...], timeout: float | None
) -> BackgroundTask | DeferredTask | None:
    """The first of several that ends, or that is deferred; None after `timeout` seconds."""
    import asyncio

    running: dict[asyncio.Task[Any], BackgroundTask] = {}
    for each in tasks:
        if isinstance(each, DeferredTask):
            return each
        running[each.task] = each
    done, _ = await asyncio.wait(running, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    return running[done.pop()] if done else None


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The running event loop of asyncio, or None."""
    import asyncio

    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
