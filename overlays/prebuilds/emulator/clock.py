"""The time that the emulated service lives in."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

FASTEST = 1_000_000.0
"""The greatest speed. Beyond it, the years of the calendar run out in a day."""


class Clock(Protocol):
    """Tells the emulated time, which never runs backwards."""

    def now(self) -> datetime:
        """The emulated time, in UTC."""
        ...


class ScaledClock:
    """Real time, sped up: one real second is `speed` emulated ones.

    It starts at `start`, which is the real time unless given. Changes of the system's clock do not reach it.

    Raises:
        ValueError: the speed is not above 0, or above `FASTEST`.
    """

    def __init__(self, speed: float, start: datetime | None = None) -> None:
        if not 0 < speed <= FASTEST:
            raise ValueError(f"the speed must be above 0 and at most {FASTEST:.0f}, and is {speed}")
        self._speed = speed
        self._start = datetime.now(UTC) if start is None else start
        self._origin = time.monotonic()

    def now(self) -> datetime:
        """The emulated time, in UTC."""
        return self._start + timedelta(seconds=(time.monotonic() - self._origin) * self._speed)


class ManualClock:
    """Time that stands still until it is moved. It starts at `start`, which is 2030-01-01 unless given."""

    def __init__(self, start: datetime = datetime(2030, 1, 1, tzinfo=UTC)) -> None:
        self._now = start

    def now(self) -> datetime:
        """The emulated time, in UTC."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move on by so many emulated seconds.

        Raises:
            ValueError: the seconds are negative.
        """
        if seconds < 0:
            raise ValueError(f"time does not run backwards: {seconds}")
        self._now += timedelta(seconds=seconds)
