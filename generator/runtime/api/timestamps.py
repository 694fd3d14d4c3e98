"""Moments as `datetime`, and as protobuf JSON writes them: RFC 3339 with up to nine digits of a second."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

_RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.([0-9]{1,9}))?(?:Z|[+-][0-9]{2}:[0-9]{2})"
)


class Timestamp(datetime):
    """A moment with more than microseconds: a `datetime` (cut off, not rounded) with the `nanosecond` behind it.

    Decoding gives a plain `datetime` unless the document has digits that one cannot hold.
    """

    nanosecond: int = 0
    """The last three of nine digits, 0 to 999."""

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        return parse_timestamp, (str(encode_timestamp(self)),)


def encode_timestamp(moment: datetime) -> str:
    """`moment` in RFC 3339, in UTC, with 0, 3, 6 or 9 digits.

    Raises:
        ValueError: `moment` has no time zone.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone: use datetime.now(UTC) or replace(tzinfo=...)")
    digits = f"{moment.microsecond:06}{getattr(moment, 'nanosecond', 0):03}"
    while digits.endswith("000"):
        digits = digits[:-3]
    whole = moment.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat()
    return f"{whole}.{digits}Z" if digits else f"{whole}Z"


def parse_timestamp(text: str) -> datetime:
    """The moment that `text` stands for.

    Raises:
        ValueError, OverflowError: `text` is not a timestamp of RFC 3339 in the years 1 to 9999.
    """
    match = _RFC_3339.fullmatch(text)
    if not match:
        raise ValueError(f"{text!r} is not a timestamp as in RFC 3339")
    moment = datetime.fromisoformat(text)
    moment.astimezone(UTC)  # refuses what lies outside of the years 1 to 9999 there
    nanosecond = int((match[1] or "").ljust(9, "0")[6:])
    if not nanosecond:
        return moment
    exact = Timestamp.fromisoformat(text)
    exact.nanosecond = nanosecond
    return exact
