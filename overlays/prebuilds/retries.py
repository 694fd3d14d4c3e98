"""Decides whether and when a failed call is repeated."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from email.utils import parsedate_to_datetime

from attrs import define

from prebuild_api.models import ConnectCode
from prebuild_api.operations import Idempotency
from prebuilds.error_details import RetryInfo

_MIN_DELAY = 0.25
_MAX_DELAY = 5.0
_MAX_RETRY_AFTER = 86_400.0
"""Seconds, one day. If a server requests a longer delay, the same call is not repeated."""

_TRANSIENT_STATUSES = frozenset({502, 503, 504})
_TRANSIENT_CODES = frozenset({ConnectCode.UNAVAILABLE, ConnectCode.DEADLINE_EXCEEDED})

# Codes with which a server reports that it has not acted.
# ASSUMPTION: the service checks credentials, arguments, limits and state before it acts, and does not return one of
# these codes after it has acted; their definitions in the Connect protocol say so.
_REFUSALS = frozenset(
    {
        ConnectCode.INVALID_ARGUMENT,
        ConnectCode.NOT_FOUND,
        ConnectCode.ALREADY_EXISTS,
        ConnectCode.PERMISSION_DENIED,
        ConnectCode.RESOURCE_EXHAUSTED,
        ConnectCode.FAILED_PRECONDITION,
        ConnectCode.OUT_OF_RANGE,
        ConnectCode.UNIMPLEMENTED,
        ConnectCode.UNAUTHENTICATED,
    }
)

# Statuses below 500 for which HTTP does not promise that the request had no effect: a conflict or a timeout can be
# noticed midway, and a proxy uses 499 for a client that disconnected.
_DOUBTFUL_STATUSES = frozenset({408, 409, 499})


@define(frozen=True, kw_only=True)
class Assessment:
    """The known facts about a failed attempt."""

    maybe_executed: bool
    """True if the service may have executed the call."""
    transient: bool
    """True if the same call may succeed later."""

    def allows_retry(self, idempotency: Idempotency) -> bool:
        """True if a retry may succeed and cannot act twice."""
        return self.transient and (idempotency != "unsafe" or not self.maybe_executed)


def assess_response(status: int, code: ConnectCode, *, from_service: bool, retry_after: float | None) -> Assessment:
    """The facts that an error response gives about the call.

    Args:
        status: the HTTP status.
        code: the Connect code.
        from_service: whether the body was a Connect error. If not, it may come from a proxy, and only the status
            counts.
        retry_after: the seconds that the server requests before a retry, if any.
    """
    if from_service:
        executed = code not in _REFUSALS
    else:
        # 307 and 308 ask for the same request elsewhere; the other redirects may come afterwards.
        executed = status not in (307, 308) and (not 400 <= status < 500 or status in _DOUBTFUL_STATUSES)
    if status == 429 or code is ConnectCode.RESOURCE_EXHAUSTED:
        transient = retry_after is not None  # otherwise it is a quota, which waiting does not refill
    else:
        transient = status in _TRANSIENT_STATUSES or (from_service and code in _TRANSIENT_CODES)
    return Assessment(maybe_executed=executed, transient=transient)


def backoff_delay(
    attempt: int, retry_after: float | None, remaining: float, uniform: Callable[[float, float], float]
) -> float | None:
    """The seconds to wait before another attempt, or None if the server requests more than a day.

    The requested delay is kept, and stretched by up to 5% so that not all clients return at once. Otherwise the delay
    is random between nothing and a limit that doubles each time, and leaves at least half of the remaining time for the
    attempts that follow.

    Args:
        attempt: the number of attempts that have failed, at least 1.
        retry_after: the seconds that the server requests before a retry.
        remaining: the seconds that the call has left; infinity if it has no deadline.
        uniform: draws a number between two others.
    """
    if retry_after:
        return retry_after * uniform(1.0, 1.05) if retry_after <= _MAX_RETRY_AFTER else None
    return uniform(0.0, min(_MAX_DELAY, remaining / 2, _MIN_DELAY * 2.0 ** min(attempt - 1, 16)))


def retry_after_of(headers: Mapping[str, str], details: Sequence[object], now: Callable[[], float]) -> float | None:
    """The seconds that the server requests before a retry, or None.

    The sources, in this order: a `google.rpc.RetryInfo` among the details, the header `RateLimit-RetryAfter` (seconds),
    the header `Retry-After` (seconds, or an HTTP date). An unreadable one is skipped.

    Args:
        headers: the response headers, with any case.
        details: the details of the Connect error, decoded.
        now: the time in seconds since 1970.
    """
    for detail in details:
        if isinstance(detail, RetryInfo):
            return detail.retry_delay
    for name in ("ratelimit-retryafter", "retry-after"):
        text = headers.get(name, "").strip()
        if _SECONDS.fullmatch(text):
            return float(text)
    try:
        return max(0.0, parsedate_to_datetime(headers.get("retry-after", "")).timestamp() - now())
    except (ValueError, OverflowError):
        return None


_SECONDS = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,9})?")


class RetryBudget:
    """Keeps the clients of a service in trouble from making its trouble worse.

    Each retry takes a token. Each call that succeeds returns one token, and the tokens of its own retries. As long as
    most calls succeed in the end, a token is available. If all calls fail, the tokens soon run out, and calls are not
    repeated until a call succeeds. It may be shared by threads.

    Args:
        capacity: how many tokens there are at most, and at first.
    """

    def __init__(self, capacity: int = 100) -> None:
        self._capacity = self._left = capacity
        self._lock = threading.Lock()

    def renew(self) -> None:
        """Start afresh in a forked process, where a thread that does not exist may hold the lock."""
        self._left = self._capacity
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Return True if a call may be repeated now."""
        with self._lock:
            if self._left == 0:
                return False
            self._left -= 1
            return True

    def succeeded(self, repetitions: int) -> None:
        """A call succeeded, after so many repetitions."""
        with self._lock:
            self._left = min(self._capacity, self._left + repetitions + 1)
