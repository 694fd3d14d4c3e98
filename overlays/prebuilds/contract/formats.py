"""The string formats that JSON Schema does not have, as strategies for schemathesis.

The schema alone defines valid values: bounds come from the formats that `make gen` made of its `x-formats`.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib.resources import files
from typing import Any

import schemathesis
from hypothesis import strategies as st

from prebuild_wire.formats import FORMATS
from prebuild_wire.scalars import DURATION_LIMIT, INT64_RANGE, PARSERS, UINT64_RANGE, Format

_NANOS = 10**9
_FIRST = datetime(1, 1, 1, tzinfo=UTC)
_LAST = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)

# The formats of protobuf JSON that schemathesis does not know of itself.
_PLAIN = {name: Format(name) for name in ("int64", "uint64", "protobuf-duration")}


def register_formats() -> None:
    """Tell schemathesis how to generate every string format that the schema uses. A second time changes nothing."""
    for name, declared in {**_PLAIN, **FORMATS}.items():
        schemathesis.openapi.format(name, format_strategy(declared))


def schema_document() -> dict[str, Any]:
    """The schema as one OpenAPI document, a new copy each time."""
    text = files("prebuild_wire").joinpath("openapi.json").read_text(encoding="utf-8")
    document: dict[str, Any] = json.loads(text)
    return document


def format_strategy(declared: Format) -> st.SearchStrategy[str]:
    """Valid strings of a format, both of its bounds among them.

    Raises:
        ValueError: the base has no order, so that there is nothing to generate between bounds.
    """
    parser = PARSERS[declared.base]
    low = None if declared.minimum is None else parser(declared.minimum)
    high = None if declared.maximum is None else parser(declared.maximum)
    if declared.base in ("int64", "uint64"):
        least, most = INT64_RANGE if declared.base == "int64" else UINT64_RANGE
        return st.integers(least if low is None else low, most if high is None else high).map(str)
    if declared.base == "protobuf-duration":
        shortest, longest = (-DURATION_LIMIT if low is None else low), (DURATION_LIMIT if high is None else high)
        return st.integers(int(shortest * _NANOS), int(longest * _NANOS)).map(_duration)
    if declared.base == "date-time":
        first, last = (_FIRST if low is None else _moment(*low)), (_LAST if high is None else _moment(*high))
        moments = st.datetimes(first.replace(tzinfo=None), last.replace(tzinfo=None))
        return moments.map(lambda moment: f"{moment.isoformat()}Z")
    raise ValueError(f"a format based on {declared.base} cannot be generated between bounds")


def _duration(nanoseconds: int) -> str:
    seconds = Decimal(nanoseconds) / _NANOS
    return f"{seconds.normalize():f}s"


def _moment(whole: datetime, nanoseconds: int) -> datetime:
    return whole + timedelta(microseconds=nanoseconds // 1000)
