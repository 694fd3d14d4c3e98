"""Either client, on the time of an emulator on a real socket: a pause of the client moves it on."""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Self

from prebuilds import AsyncPrebuildClient, PrebuildClient
from prebuilds.emulator import EmulatorControl, EmulatorServer, ManualClock, Plan
from prebuilds.flows.effects import Runtime

from .both import TOKEN

PROJECT = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"
CLASS = "d2c94c27-3b76-4a42-b88c-95a85e392c68"


_idle: list[tuple[EmulatorServer, ManualClock]] = []
"""Emulators that wait for their next test: to start and stop one takes longer than most tests."""


@contextmanager
def emulator(plan: Plan | None = None) -> Iterator[tuple[str, ManualClock]]:
    """An emulator as new: its address, and its time, which stands still."""
    if _idle:
        server, clock = _idle.pop()
    else:
        clock = ManualClock()
        server = EmulatorServer(clock=clock).__enter__()
    with ExitStack() as stack:
        stack.push(server)
        with EmulatorControl(server.url) as control:
            control.reset()
            if plan is not None:
                control.put_plan(plan)
        yield server.url, clock
        # One whose test has failed is stopped.
        stack.pop_all()
        _idle.append((server, clock))


def stop_emulators() -> None:
    """Stop those that no test will use any more."""
    while _idle:
        _idle.pop()[0].__exit__(None, None, None)


class Played:
    """Carries out the methods of either client, for tests that need not know which."""

    def __init__(self, kind: str, url: str, runtime: Runtime | None = None, **options: Any) -> None:
        self.kind = kind
        self.calls: Counter[str] = Counter()
        self._stack = ExitStack()
        options.setdefault("on_attempt", self._count)
        if kind == "sync":
            self.client: Any = self._stack.enter_context(
                PrebuildClient(TOKEN, base_url=url, _runtime=runtime, **options)
            )
        else:
            self._runner = self._stack.enter_context(asyncio.Runner())
            self.client = AsyncPrebuildClient(TOKEN, base_url=url, _runtime=runtime, **options)
            self._stack.callback(lambda: self._runner.run(self.client.aclose()))

    def _count(self, attempt: Any) -> None:
        self.calls[attempt.operation.removeprefix("prebuilds.")] += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __call__(self, method: str, /, *args: Any, **arguments: Any) -> Any:
        outcome = getattr(self.client.prebuilds, method)(*args, **arguments)
        return outcome if self.kind == "sync" else self._runner.run(outcome)

    def stream(self, method: str, /, *args: Any, **arguments: Any) -> Iterator[Any]:
        """What the method yields; closing it closes the client's iterator."""
        values = getattr(self.client.prebuilds, method)(*args, **arguments)
        return values if self.kind == "sync" else self._drawn(values)

    def _drawn(self, values: Any) -> Iterator[Any]:
        try:
            while True:
                try:
                    value = self._runner.run(anext(values))
                except StopAsyncIteration:
                    return
                yield value
        finally:
            self._runner.run(values.aclose())


class Emulated(Played):
    def __init__(self, kind: str, plan: Plan | None = None, *, seed: int = 1) -> None:
        with ExitStack() as stack:
            self.url, self.clock = stack.enter_context(emulator(plan))
            self._begin = self.clock.now()
            super().__init__(kind, self.url, self.runtime(seed))
            self._servers = stack.pop_all()

    def runtime(self, seed: int) -> Runtime:
        def sleep(seconds: float) -> None:
            # The clock counts microseconds: a shorter pause would be none.
            self.clock.advance(math.ceil(seconds * 1e6) / 1e6)

        async def async_sleep(seconds: float) -> None:
            sleep(seconds)

        return Runtime(
            clock=lambda: self.time,
            now=lambda: self.clock.now().timestamp(),
            uniform=random.Random(seed).uniform,
            sleep=sleep,
            async_sleep=async_sleep,
        )

    @property
    def time(self) -> float:
        return (self.clock.now() - self._begin).total_seconds()

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._servers.__exit__(*error)

    def create(self, **arguments: Any) -> Any:
        return self("create", **{"project_id": PROJECT, "environment_class_id": CLASS, **arguments}).prebuild
