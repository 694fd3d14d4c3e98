"""Whether a failed call may be made again, and when."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from attrs import define

from prebuild_api.models import ConnectCode
from prebuild_api.operations import Idempotency

if TYPE_CHECKING:
    from prebuild_api.models import ConnectErrorDetail

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 8.0

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


def pause_before(attempt: int, hint: float | None, uniform: Callable[[float, float], float]) -> float:
    """How long to wait before another attempt, in seconds.

    What the server asks for is kept to, stretched by up to 5% so that not all clients come back at
    once. Without that, the pause is random between nothing and a limit that doubles each time.

    Args:
        attempt: how many attempts have failed so far, at least 1.
        hint: after how many seconds the server wants to be asked again.
        uniform: draws a number between two others.
    """
    if hint:
        return hint * uniform(1.0, 1.05)
    return uniform(0.0, min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(attempt - 1, 16)))


def retry_hint(
    headers: Mapping[str, str], details: Sequence[ConnectErrorDetail], now: Callable[[], float]
) -> float | None:
    """After how many seconds the server wants to be asked again; None if it does not say.

    The sources are, in this order: a `google.rpc.RetryInfo` among the details, the header
    `RateLimit-RetryAfter` (whole seconds), the header `Retry-After` (whole seconds, or an HTTP
    date). What cannot be read is passed over.

    Args:
        headers: the response headers, of whatever case.
        details: the details of the Connect error.
        now: the time in seconds since 1970.
    """
    for detail in details:
        if (detail.type or "").rpartition("/")[2] == "google.rpc.RetryInfo" and detail.value:
            delay = _retry_delay(detail.value)
            if delay is not None:
                return delay
    for name in ("ratelimit-retryafter", "retry-after"):
        text = headers.get(name, "").strip()
        if re.fullmatch("[0-9]{1,9}", text, re.ASCII):
            return float(text)
    try:
        return max(0.0, parsedate_to_datetime(headers.get("retry-after", "")).timestamp() - now())
    except (ValueError, OverflowError):
        return None


def _retry_delay(value: str) -> float | None:
    """The seconds of a `google.rpc.RetryInfo`, given in protobuf's binary form as base64."""
    try:
        message = base64.b64decode(value + "=" * (-len(value) % 4), validate=True)
        delay = dict(_protobuf_fields(message)).get(1, b"")
        if not isinstance(delay, bytes):
            return None
        duration = dict(_protobuf_fields(delay))
    except ValueError:
        return None
    seconds, nanos = duration.get(1, 0), duration.get(2, 0)
    if not isinstance(seconds, int) or not isinstance(nanos, int) or seconds >= 2**63:
        return None
    return seconds + nanos / 1e9 if nanos < 10**9 else None


def _protobuf_fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a protobuf message: their numbers, and a number or the bytes.

    Raises:
        ValueError: the message breaks off, or holds a wire type that no longer exists.
    """
    position = 0

    def varint() -> int:
        nonlocal position
        number = shift = 0
        while True:
            if position >= len(message) or shift > 63:
                raise ValueError("the message breaks off")
            byte = message[position]
            position += 1
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return number

    while position < len(message):
        key = varint()
        wire_type = key & 7
        if wire_type == 0:
            yield key >> 3, varint()
            continue
        sizes = {1: 8, 5: 4}
        size = varint() if wire_type == 2 else sizes.get(wire_type, -1)
        if size < 0 or position + size > len(message):
            raise ValueError("the message breaks off")
        yield key >> 3, message[position : position + size]
        position += size
