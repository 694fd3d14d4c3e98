"""How fast requests are sent: within the rate of the run, and more slowly where the server limits it."""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, cast

from prebuilds.contract.wire import Answer, at

# The pause between requests after the first 429, its growth with each further 429, and its maximum, in seconds.
_SLOWER = 0.01
_SLOWER_BY = 1.25
_SLOWEST = 0.2


class Pacer:
    """Gives each request its turn, whichever lane sends it.

    Args:
        rate: how many requests a second to send at most; 0 for no limit.
        sleep: how to let time pass.
        clock: the seconds that have passed, from any beginning.
    """

    def __init__(self, rate: float, sleep: Callable[[float], None], clock: Callable[[], float]) -> None:
        self._least = 1 / rate if rate > 0 else 0.0
        self._sleep = sleep
        self._clock = clock
        self._pace = 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    @property
    def is_limited(self) -> bool:
        """Whether a request may need to wait."""
        return max(self._least, self._pace) > 0

    def wait_for_turn(self) -> None:
        """Wait until the next request may be sent."""
        interval = max(self._least, self._pace)
        if not interval:
            return
        with self._lock:
            now = self._clock()
            turn = max(now, self._next)
            self._next = turn + interval
        if turn > now:
            self._sleep(turn - now)

    def slow_down(self) -> None:
        """Send fewer requests from now on: the server has refused one as too many."""
        self._pace = min(max(_SLOWER, self._pace * _SLOWER_BY), _SLOWEST)


def pause_asked(answer: Answer) -> float | None:
    """The Retry-After time of the response in seconds, if present."""
    details: object = answer.json.get("details")
    for item in cast("Sequence[Any]", details) if isinstance(details, list) else ():
        if str(at(item, "type")).endswith("google.rpc.RetryInfo"):
            with suppress(ValueError, IndexError):
                return _retry_delay(base64.b64decode(str(at(item, "value")) + "==="))
    for name in ("ratelimit-retryafter", "retry-after"):
        value = answer.headers.get(name, "").strip()
        if re.fullmatch(r"[0-9]{1,9}", value):
            return float(value)
        with suppress(ValueError):
            moment = parsedate_to_datetime(value)
            return max(0.0, (moment - datetime.now(tz=UTC)).total_seconds()) if moment.tzinfo else None
    return None


def _retry_delay(message: bytes) -> float:
    """The seconds in a `google.rpc.RetryInfo`: its field 1 is a Duration of seconds, 1, and nanoseconds, 2."""
    if message[0] != 0x0A:
        raise ValueError("it does not say when")
    parts = {1: 0, 2: 0}
    rest = iter(message[2 : 2 + message[1]])
    for key in rest:
        number = shift = 0
        for byte in rest:
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        parts[key >> 3] = number
    return parts[1] + parts[2] / 1e9
