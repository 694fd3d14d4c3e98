"""Runs several pieces of logic side by side: while one sleeps or waits for a response, the others go on."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable
from itertools import count
from typing import Any

from prebuilds.flows.effects import Effect, Fork, Join, JoinAny, Send, Sleep, Spawn, Steps

MAX_CONCURRENT = 8
"""The number of requests that are in flight at a time."""


def concurrently(all_steps: Iterable[Steps[None]], clock: Callable[[], float]) -> Steps[None]:
    """Run several pieces of logic side by side until all of them have ended.

    If a piece raises an exception, the others end.
    """
    scheduler = _Scheduler(clock)
    for steps in all_steps:
        scheduler.add(steps)
    try:
        while scheduler.is_busy:
            yield from scheduler.advance()
    finally:
        scheduler.close()


class _Scheduler:
    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._alive: set[Steps[None]] = set()
        self._ready: deque[tuple[Steps[None], Callable[[Any], Any], Any]] = deque()
        self._sleeping: list[tuple[float, int, Steps[None]]] = []
        self._in_flight: dict[Any, Steps[None]] = {}
        self._numbers = count()

    @property
    def is_busy(self) -> bool:
        return bool(self._alive)

    def add(self, steps: Steps[None]) -> None:
        self._alive.add(steps)
        self._ready.append((steps, steps.send, None))

    def close(self) -> None:
        for steps in self._alive:
            steps.close()

    def advance(self) -> Steps[None]:
        """Perform the pending work, or wait for the next event."""
        while self._ready and len(self._in_flight) < MAX_CONCURRENT:
            steps, resume, value = self._ready.popleft()
            yield from self._resume(steps, resume, value)
        self._wake()
        if self._ready and len(self._in_flight) < MAX_CONCURRENT:
            return
        pause = max(0.0, self._sleeping[0][0] - self._clock()) if self._sleeping and not self._ready else None
        if self._in_flight:
            yield from self._await_response(pause)
        elif pause is not None:
            yield Sleep(pause)

    def _resume(self, steps: Steps[None], resume: Callable[[Any], Any], value: Any) -> Steps[None]:
        """Run one piece up to its next pause or request, or to its end."""
        while True:
            try:
                effect = resume(value)
            except StopIteration:
                self._alive.discard(steps)
                return
            if isinstance(effect, Sleep):
                heapq.heappush(self._sleeping, (self._clock() + effect.seconds, next(self._numbers), steps))
                return
            if isinstance(effect, Send):
                self._in_flight[(yield Spawn(_single(effect)))] = steps
                return
            resume, value = steps.send, None
            if isinstance(effect, Fork):
                self.add(effect.steps)
                continue
            try:
                value = yield effect
            except Exception as error:  # noqa: BLE001 - the logic decides what it can handle
                resume, value = steps.throw, error

    def _wake(self) -> None:
        while self._sleeping and self._sleeping[0][0] <= self._clock():
            _, _, steps = heapq.heappop(self._sleeping)
            self._ready.append((steps, steps.send, None))

    def _await_response(self, timeout: float | None) -> Steps[None]:
        handle = yield JoinAny(tuple(self._in_flight), timeout)
        if handle is None:
            return
        steps = self._in_flight.pop(handle)
        try:
            self._ready.append((steps, steps.send, (yield Join(handle))))
        except Exception as error:  # noqa: BLE001 - the logic decides what it can handle
            self._ready.append((steps, steps.throw, error))


def _single(effect: Effect) -> Steps[Any]:
    return (yield effect)
