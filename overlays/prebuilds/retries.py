"""Whether a failed call may be made again, and when."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from email.utils import parsedate_to_datetime

from attrs import define

from prebuild_api.models import ConnectCode
from prebuild_api.operations import Idempotency
from prebuilds.details import RetryInfo

_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 5.0

_TRANSIENT_STATUSES = frozenset({502, 503, 504})
_TRANSIENT_CODES = frozenset({ConnectCode.UNAVAILABLE, ConnectCode.DEADLINE_EXCEEDED})

# Codes with which a server says that it has not acted.
# ASSUMPTION: the service checks credentials, arguments, limits and state before it acts, and does
# not answer one of these codes after it has; their definitions in the Connect protocol say so.
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

# Statuses below 500 of which HTTP does not promise that the request was left alone: a conflict or
# a timeout can be noticed midway, and 499 is a proxy's word for a caller that hung up.
_DOUBTFUL_STATUSES = frozenset({408, 409, 499})


@define(frozen=True, kw_only=True)
class Verdict:
    """What is known of a failed attempt."""

    maybe_executed: bool
    """Whether the service may have carried it out."""
    transient: bool
    """Whether the same call may succeed later."""

    def allows_retry(self, idempotency: Idempotency) -> bool:
        """Whether the call can be repeated with a prospect of success, and without acting twice."""
        return self.transient and (idempotency != "unsafe" or not self.maybe_executed)


def judge_answer(status: int, code: ConnectCode, *, from_service: bool, hint: float | None) -> Verdict:
    """What an error answer tells.

    Args:
        status: the HTTP status.
        code: the Connect code.
        from_service: whether the body was a Connect error. If not, a proxy may have answered, and
            only the status counts.
        hint: after how many seconds to ask again, if the answer says so.
    """
    if from_service and code in _REFUSALS:
        executed = False
    elif from_service:
        executed = True
    else:
        # 307 and 308 ask for the same request elsewhere; the other redirects may come afterwards.
        executed = status not in (307, 308) and (not 400 <= status < 500 or status in _DOUBTFUL_STATUSES)
    if status == 429 or code is ConnectCode.RESOURCE_EXHAUSTED:
        transient = hint is not None  # without a hint it is a quota, which waiting does not refill
    else:
        transient = status in _TRANSIENT_STATUSES or (from_service and code in _TRANSIENT_CODES)
    return Verdict(maybe_executed=executed, transient=transient)


def pause_before(attempt: int, hint: float | None, remaining: float, uniform: Callable[[float, float], float]) -> float:
    """How long to wait before another attempt, in seconds.

    What the server asks for is kept to, stretched by up to 5% so that not all clients come back at
    once. Without that, the pause is random between nothing and a limit that doubles each time, and
    leaves at least half of the time for the attempts that follow.

    Args:
        attempt: how many attempts have failed so far, at least 1.
        hint: after how many seconds the server wants to be asked again.
        remaining: how many seconds the call has left; infinity is for ever.
        uniform: draws a number between two others.
    """
    if hint:
        return hint * uniform(1.0, 1.05)
    return uniform(0.0, min(_LONGEST_PAUSE, remaining / 2, _FIRST_PAUSE * 2.0 ** min(attempt - 1, 16)))


def retry_hint(headers: Mapping[str, str], details: Sequence[object], now: Callable[[], float]) -> float | None:
    """After how many seconds the server wants to be asked again; None if it does not say.

    The sources are, in this order: a `google.rpc.RetryInfo` among the details, the header
    `RateLimit-RetryAfter` (whole seconds), the header `Retry-After` (whole seconds, or an HTTP
    date). What cannot be read is passed over.

    Args:
        headers: the response headers, of whatever case.
        details: the details of the Connect error, decoded.
        now: the time in seconds since 1970.
    """
    for detail in details:
        if isinstance(detail, RetryInfo):
            return detail.retry_delay
    for name in ("ratelimit-retryafter", "retry-after"):
        text = headers.get(name, "").strip()
        if re.fullmatch("[0-9]{1,9}", text, re.ASCII):
            return float(text)
    try:
        return max(0.0, parsedate_to_datetime(headers.get("retry-after", "")).timestamp() - now())
    except (ValueError, OverflowError):
        return None


class RetryBudget:
    """Keeps the clients of a service in trouble from making its trouble worse.

    Each repetition takes a token, each call that succeeds returns one, and those that its own repetitions took. As long
    as most calls succeed in the end, there is always a token; when nothing does, there are soon none left, and calls
    are not repeated until one succeeds. It may be shared by threads.

    Args:
        capacity: how many tokens there are at most, and at first.
    """

    def __init__(self, capacity: int = 100) -> None:
        self._capacity = self._left = capacity
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Whether a call may be repeated now."""
        with self._lock:
            if self._left == 0:
                return False
            self._left -= 1
            return True

    def succeeded(self, repetitions: int) -> None:
        """A call succeeded, after so many repetitions."""
        with self._lock:
            self._left = min(self._capacity, self._left + repetitions + 1)
