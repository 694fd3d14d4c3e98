"""Comparing how long things take, on a machine that does other things as well."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Row:
    """One line of the table: how many times as long as its yardstick something takes."""

    what: str
    seconds: float
    yardstick: str
    yardstick_seconds: float
    target: float | None = None
    """The most that the ratio may be; None for what is shown for comparison only."""
    note: str = ""

    @property
    def ratio(self) -> float:
        return self.seconds / self.yardstick_seconds

    @property
    def met(self) -> bool:
        return self.target is None or self.ratio <= self.target


def medians(*sides: Callable[[], float], rounds: int, warm_up: int) -> list[float]:
    """The median of what each side returns, in seconds, over `rounds` rounds in which every side has a turn.

    A busy moment of the machine hits all sides of a round alike. The order changes from round to round, as the first
    may find the processor asleep and the next its caches full of the one before.
    """
    found: list[list[float]] = [[] for _ in sides]
    for turn in range(warm_up + rounds):
        for step in range(len(sides)):
            side = (turn + step) % len(sides)
            seconds = sides[side]()
            if turn >= warm_up:
                found[side].append(seconds)
    return [median(times) for times in found]


def timed(call: Callable[[], object], repeat: int = 1) -> Callable[[], float]:
    """A side that returns how long one `call` takes, of `repeat` in a row. Garbage is collected as ever."""

    def side() -> float:
        start = time.perf_counter()
        for _ in range(repeat):
            call()
        return (time.perf_counter() - start) / repeat

    return side
