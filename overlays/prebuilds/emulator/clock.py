"""The emulated time of the service."""

from __future__ import annotations

import math
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Final

FASTEST: Final = 1_000_000.0
"""The maximum speed. A higher speed would reach the end of the calendar within a day."""

DEFAULT_SPEED: Final = 60.0
"""The speed of a resumed clock that has never had a speed."""

END_OF_TIME: Final = datetime(9900, 1, 1, tzinfo=UTC)
"""The maximum time: the calendar of Python and of protobuf ends with the year 9999."""


class Clock:
    """The emulated time. It runs at a speed, or is frozen until it is advanced, and never runs backwards.

    The class is thread-safe. Changes of the system's clock do not affect it.

    Args:
        start: the emulated time at which the clock starts; by default the real time.
        speed: how many emulated seconds pass per real second; None for a frozen clock.

    Raises:
        ValueError: the speed is not above 0, or above `FASTEST`.
    """

    def __init__(self, start: datetime | None = None, speed: float | None = DEFAULT_SPEED) -> None:
        self._first = start
        self._first_speed = speed
        self._lock = threading.Lock()
        self.changes: int = 0
        """A counter of the times that the clock was advanced, frozen or resumed."""
        self._speed = DEFAULT_SPEED if speed is None else _checked_speed(speed)
        self._begin(datetime.now(UTC) if start is None else start, frozen=speed is None)

    @property
    def speed(self) -> float:
        """How many emulated seconds pass per real second while the clock runs."""
        return self._speed

    @property
    def frozen(self) -> bool:
        """Whether the clock is frozen."""
        return self._origin is None

    def now(self) -> datetime:
        """The emulated time, in UTC."""
        with self._lock:
            return self._now()

    def advance(self, seconds: float) -> None:
        """Advance the clock by this many emulated seconds. A running clock keeps running.

        Raises:
            ValueError: the seconds are negative, or lead beyond `END_OF_TIME`.
        """
        if not seconds >= 0:
            raise ValueError(f"time does not run backwards: {seconds}")
        with self._lock:
            now = self._now()
            # Compared before the addition: the sum may exceed the maximum of a datetime.
            if not seconds <= (END_OF_TIME - now).total_seconds():
                raise ValueError(f"{seconds:g} seconds lead beyond the year {END_OF_TIME.year}")
            self._begin(now + timedelta(seconds=seconds), frozen=self.frozen)

    def move_to(self, moment: datetime) -> None:
        """Advance the clock to a time that is not before now. A running clock keeps running.

        Raises:
            ValueError: the time is in the past, beyond `END_OF_TIME`, or has no time zone.
        """
        if moment.tzinfo is None:
            raise ValueError("the moment has to have a time zone")
        with self._lock:
            now = self._now()
            if moment < now:
                raise ValueError(f"time does not run backwards: it is {now.isoformat()} already")
            if moment > END_OF_TIME:
                raise ValueError(f"the moment lies beyond the year {END_OF_TIME.year}")
            self._begin(moment.astimezone(UTC), frozen=self.frozen)

    def reach(self, moment: datetime) -> None:
        """Advance the clock to a time, unless that has passed already."""
        with self._lock:
            if self._now() < min(moment, END_OF_TIME):
                self._begin(min(moment, END_OF_TIME), frozen=self.frozen)

    def freeze(self) -> None:
        """Freeze the clock."""
        with self._lock:
            self._begin(self._now(), frozen=True)

    def resume(self, speed: float | None = None) -> None:
        """Resume the clock, by default at its previous speed.

        Raises:
            ValueError: the speed is not above 0, or above `FASTEST`.
        """
        wanted = self._speed if speed is None else _checked_speed(speed)
        with self._lock:
            now = self._now()
            self._speed = wanted
            self._begin(now, frozen=False)

    def sleep(self, seconds: float) -> None:
        """Let emulated seconds pass. A frozen clock advances at once; a running clock really waits, at its speed."""
        if self.frozen:
            self.reach(self.now() + _at_least(seconds))
        else:
            time.sleep(seconds / self.speed)

    async def async_sleep(self, seconds: float) -> None:
        """Like `sleep`, in asynchronous code. Tasks that sleep at the same time sleep concurrently."""
        import anyio  # httpx and starlette bring it; it sleeps under asyncio and trio alike
        from anyio.lowlevel import checkpoint

        if not self.frozen:
            await anyio.sleep(seconds / self.speed)
            return
        end = self.now() + _at_least(seconds)
        await checkpoint()  # others that are about to sleep as well do not sleep after this one
        self.reach(end)
        await checkpoint()

    def reset(self) -> None:
        """Reset the clock to its initial state. Only `reset` and `restore` may set the clock back."""
        speed = self._first_speed
        start = datetime.now(UTC) if self._first is None else self._first
        self.restore(start, speed=self._speed if speed is None else speed, frozen=speed is None)

    def restore(self, now: datetime, *, speed: float, frozen: bool) -> None:
        """Set the state of another clock, even if it is in the past."""
        with self._lock:
            self._speed = _checked_speed(speed)
            self._begin(now, frozen=frozen)

    def _now(self) -> datetime:
        if self._origin is None:
            return self._start
        seconds = (time.monotonic() - self._origin) * self._speed
        # A clock that has run so far stands still there, rather than beyond what a datetime can hold.
        return self._start + timedelta(seconds=min(seconds, self._left))

    def _begin(self, start: datetime, *, frozen: bool) -> None:
        self._start = start
        self._left = (END_OF_TIME - start).total_seconds()
        self._origin = None if frozen else time.monotonic()
        self.changes += 1


class ScaledClock(Clock):
    """Accelerated real time: `speed` emulated seconds pass per real second.

    The clock starts at `start`, by default the real time.

    Raises:
        ValueError: the speed is not above 0, or above `FASTEST`.
    """

    def __init__(self, speed: float, start: datetime | None = None) -> None:
        super().__init__(start, speed)


class ManualClock(Clock):
    """A frozen clock that is advanced manually. It starts at `start`, by default 2030-01-01."""

    def __init__(self, start: datetime = datetime(2030, 1, 1, tzinfo=UTC)) -> None:
        super().__init__(start, None)


def _checked_speed(speed: float) -> float:
    if not 0 < speed <= FASTEST or math.isnan(speed):
        raise ValueError(f"the speed must be above 0 and at most {FASTEST:.0f}, and is {speed}")
    return speed


def _at_least(seconds: float) -> timedelta:
    """Return a duration of whole microseconds, rounded up: a sleep until a time must not end before it."""
    return timedelta(microseconds=math.ceil(seconds * 1_000_000))
