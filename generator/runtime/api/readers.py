"""What a field keeps of a JSON value: one reader for each kind of scalar, in every form that protobuf JSON allows.

A reader takes a JSON value and returns what a model keeps of it, or raises `FormError`. Decoders call one only where a
value is not plainly right.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any, cast

from .timestamps import parse_timestamp

INEXACT_FLOAT = 2.0**53
"""From this size on, a whole number that is a float may have been rounded to it."""


class FormError(ValueError):
    """A JSON value has none of the forms that a reader accepts.

    Attributes:
        expected: the forms that it accepts.
        rounded: the value would do, but the JSON parser may have rounded it.
    """

    def __init__(self, expected: str, *, rounded: bool = False) -> None:
        super().__init__(expected)
        self.expected = expected
        self.rounded = rounded


def string(value: object) -> str:
    """A string."""
    if not isinstance(value, str):
        raise FormError("a string")
    return value


def boolean(value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise FormError("a boolean")
    return value


def integer(value: object, low: int, high: int, expected: str) -> int:
    """A whole number from `low` to `high`: `7`, `7.0`, `"7"` or `"7e0"`."""
    from generator.runtime.scalars import parse_integer  # few documents need it

    if isinstance(value, float) and abs(value) >= INEXACT_FLOAT:
        raise FormError(expected, rounded=True)
    try:
        return parse_integer(value, low, high)
    except ValueError:
        raise FormError(expected) from None


def int32(value: object) -> int:
    """A whole number of 32 bits."""
    return integer(value, -(2**31), 2**31 - 1, "a whole number from -2147483648 to 2147483647")


def uint32(value: object) -> int:
    """A whole number of 32 bits that is not negative."""
    return integer(value, 0, 2**32 - 1, "a whole number from 0 to 4294967295")


def int64(value: object) -> str:
    """A whole number of 64 bits, in decimal digits. A string stays as it is."""
    expected = "a string, or a whole number from -9223372036854775808 to 9223372036854775807"
    return value if isinstance(value, str) else str(integer(value, -(2**63), 2**63 - 1, expected))


def uint64(value: object) -> str:
    """A whole number of 64 bits that is not negative, in decimal digits. A string stays as it is."""
    expected = "a string, or a whole number from 0 to 18446744073709551615"
    return value if isinstance(value, str) else str(integer(value, 0, 2**64 - 1, expected))


def double(value: object) -> float:
    """A number: `7`, `7.5`, `"7.5"`, `"NaN"`, `"Infinity"` or `"-Infinity"`."""
    return _number(value, math.inf, "a number")


def float32(value: object) -> float:
    """A number within the range of a float of 32 bits."""
    from generator.runtime.scalars import FLOAT32_LIMIT

    return _number(value, FLOAT32_LIMIT, "a number within the range of a 32-bit float")


def timestamp(value: object) -> datetime:
    """A moment, with up to nine digits of a second and any offset."""
    try:
        return parse_timestamp(string(value))
    except (ValueError, OverflowError):
        raise FormError("a timestamp as in RFC 3339") from None


def json_object(value: object) -> dict[str, Any]:
    """An object."""
    if not isinstance(value, dict):
        raise FormError("an object")
    return cast("dict[str, Any]", value)


def json_value(value: Any) -> Any:
    """Any JSON value."""
    return value


def _number(value: object, limit: float, expected: str) -> float:
    from generator.runtime.scalars import parse_number

    if isinstance(value, float) and not math.isfinite(value):
        return value  # from Python code: JSON has these as strings only
    try:
        return parse_number(value, limit)
    except ValueError:
        raise FormError(expected) from None
