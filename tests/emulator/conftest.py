"""Emulators whose time stands still until a test moves it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from prebuilds.emulator import EmulatorServer, ManualClock, Options, Plan

from .driver import Driver


@pytest.fixture(scope="session")
def clean_up() -> Iterator[Callable[[ExitStack], None]]:
    """Closes what a test opened while the next one runs: a server takes a fifth of a second to stop."""
    closed: list[Future[None]] = []
    with ThreadPoolExecutor() as threads:
        yield lambda stack: closed.append(threads.submit(stack.close))
    for future in closed:
        future.result()


@pytest.fixture
def start(clean_up: Callable[[ExitStack], None]) -> Iterator[Callable[..., Driver]]:
    """Starts emulators that run until the test ends."""
    stack = ExitStack()

    def start(plan: Plan | None = None, **options: Any) -> Driver:
        clock = ManualClock()
        server = EmulatorServer(clock=clock, plan=plan, options=Options(**options))
        driver = Driver(stack.enter_context(server), clock)
        stack.callback(driver.close)
        return driver

    yield start
    clean_up(stack)


@pytest.fixture
def emulator(start: Callable[..., Driver]) -> Driver:
    return start()
