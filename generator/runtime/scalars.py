"""The scalar types of protobuf JSON that JSON itself lacks: what is valid, and what it means.

Each parser takes a value of the JSON document and returns what it means, or raises `ValueError` with a sentence
that says what is wrong.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from urllib.parse import urlsplit

INT32_RANGE: Final = (-(2**31), 2**31 - 1)
UINT32_RANGE: Final = (0, 2**32 - 1)
INT64_RANGE: Final = (-(2**63), 2**63 - 1)
UINT64_RANGE: Final = (0, 2**64 - 1)

# The largest float that 32 bits hold.
FLOAT32_LIMIT: Final = (2 - 2**-23) * 2.0**127

# google.protobuf.Duration: +-10000 years in seconds.
DURATION_LIMIT: Final = Decimal(315_576_000_000)

# What a UUID looks like: the 36 character form, any version. Of use to regular expressions elsewhere.
UUID_PATTERN: Final = "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?", re.ASCII)
_DURATION = re.compile(r"[+-]?[0-9]{1,12}(?:\.[0-9]{1,9})?s", re.ASCII)
_TIMESTAMP = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(Z|[+-][0-9]{2}:[0-9]{2})",
    re.ASCII,
)
_UUID = re.compile(UUID_PATTERN, re.ASCII)
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+", re.ASCII)
_BYTES = re.compile(r"(?:[A-Za-z0-9+/]*|[A-Za-z0-9_-]*)(={0,2})", re.ASCII)

# A number in text with more digits than this is out of every range, or zero in disguise.
_MOST_DIGITS = 400


def parse_integer(value: object, low: int, high: int) -> int:
    """A whole number from `low` to `high`: `5`, `5.0`, `"5"` or `"5e0"`."""
    number: int | None = None
    if isinstance(value, bool):
        pass
    elif isinstance(value, int):
        number = value
    elif isinstance(value, float) and value.is_integer():
        number = int(value)
    elif isinstance(value, str) and len(value) <= _MOST_DIGITS and _NUMBER.fullmatch(value):
        number = _whole(value)
    if number is None:
        raise ValueError("value must be a whole number")
    if not low <= number <= high:
        raise ValueError(f"value must be a whole number from {low} to {high}")
    return number


def parse_int64(value: object) -> int:
    """A whole number from -2^63 to 2^63-1, usually written as a string of digits."""
    return parse_integer(value, *INT64_RANGE)


def parse_uint64(value: object) -> int:
    """A whole number from 0 to 2^64-1, usually written as a string of digits."""
    return parse_integer(value, *UINT64_RANGE)


def parse_number(value: object, limit: float = math.inf) -> float:
    """A number of at most `limit` in size: `1`, `1.5`, `"1.5"`, or the strings NaN, Infinity, -Infinity."""
    if isinstance(value, str):
        if value in ("NaN", "Infinity", "-Infinity"):
            return float(value)
        if not _NUMBER.fullmatch(value):
            raise ValueError("value must be a number")
        number = float(value)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
    else:
        raise ValueError("value must be a number")
    if not math.isfinite(number) or abs(number) > limit:
        raise ValueError("value must be a number within the range of its type")
    return number


def parse_duration(text: object) -> Decimal:
    """Seconds, to the nanosecond: `3600s`, `1.5s`, `+9125115.360s`."""
    if not (isinstance(text, str) and _DURATION.fullmatch(text)):
        raise ValueError("value must be a duration in seconds with an s, such as 3600s or 1.5s")
    seconds = Decimal(text[:-1])
    if abs(seconds) > DURATION_LIMIT:
        raise ValueError("value must be a duration of at most 10000 years")
    return seconds


def parse_timestamp(text: object) -> tuple[datetime, int]:
    """A moment of RFC 3339 as a UTC datetime in whole seconds, and its nanoseconds."""
    match = _TIMESTAMP.fullmatch(text) if isinstance(text, str) else None
    if not match:
        raise ValueError("value must be a timestamp of RFC 3339, such as 2019-12-27T18:11:19.117Z")
    seconds, fraction, offset = match.groups()
    try:
        moment = datetime.fromisoformat(seconds + offset).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError("value must be a timestamp of the years 1 to 9999 that exists") from error
    return moment, int((fraction or "").ljust(9, "0"))


def parse_uuid(text: object) -> str:
    """A UUID in its 36 character form, of any version."""
    if not (isinstance(text, str) and _UUID.fullmatch(text)):
        raise ValueError("value must be a valid UUID")
    return text


def parse_uri(text: object) -> str:
    """An absolute URI."""
    if not (isinstance(text, str) and _URI.fullmatch(text)):
        raise ValueError("value must be a valid URI")
    try:
        urlsplit(text)
    except ValueError as error:
        raise ValueError("value must be a valid URI") from error
    return text


def parse_bytes(text: object) -> str:
    """Bytes as base64, of the standard or the URL alphabet, with or without padding."""
    match = _BYTES.fullmatch(text) if isinstance(text, str) else None
    if not match or not isinstance(text, str):
        raise ValueError("value must be base64")
    padding = len(match[1])
    digits = len(text) - padding
    if digits % 4 == 1 or (padding and (digits + padding) % 4):
        raise ValueError("value must be base64")
    return text


PARSERS: Final[dict[str, Callable[[object], Any]]] = {
    "int64": parse_int64,
    "uint64": parse_uint64,
    "date-time": parse_timestamp,
    "protobuf-duration": parse_duration,
    "uuid": parse_uuid,
    "uri": parse_uri,
    "byte": parse_bytes,
}
"""The parser of each format that is written as a string."""


@dataclass(frozen=True, slots=True)
class Format:
    """A string format: `base`, a key of `PARSERS`, and inclusive bounds in the notation of that base."""

    base: str
    minimum: str | None = None
    maximum: str | None = None

    def parse(self, value: object) -> Any:
        """What `value` means, in the type that the parser of the base returns.

        Raises:
            ValueError: the value is none of the format, or out of bounds.
        """
        parser = PARSERS[self.base]
        meaning = parser(value)
        if self.minimum is not None and meaning < parser(self.minimum):
            raise ValueError(f"value must be at least {self.minimum}")
        if self.maximum is not None and meaning > parser(self.maximum):
            raise ValueError(f"value must be at most {self.maximum}")
        return meaning


def is_zero_number(value: object) -> bool:
    """Whether `value` is zero in one of the forms that JSON has for a number: `0`, `0.0`, `"0"`."""
    if isinstance(value, str):
        return bool(_NUMBER.fullmatch(value)) and not value.lower().partition("e")[0].strip("-0.")
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == 0


def _whole(text: str) -> int | None:
    """The whole number that `text` writes, or None where it is none (or far beyond 64 bits)."""
    if text.lstrip("-").isdigit():
        return int(text)
    try:
        number = Decimal(text)
    except InvalidOperation:  # the exponent alone is beyond all bounds
        return None
    if number.adjusted() > _MOST_DIGITS or number != number.to_integral_value():
        return None
    return int(number)
