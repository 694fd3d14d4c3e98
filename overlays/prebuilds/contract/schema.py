"""Checks responses against their schema by the rules of protobuf JSON, and derives the bounds of requests.

The OpenAPI document in `prebuild_wire` is the only source. Unknown fields and unknown enum members are allowed. Absent,
null and zero values are not checked further, unless they are required.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, Final, cast

from prebuild_wire import OPERATIONS
from prebuild_wire.formats import FORMATS
from prebuild_wire.scalars import INT32_RANGE, PARSERS, UINT32_RANGE, Format

_Problems = Sequence[tuple[str, str]]
"""The path of a problem within a value, `a.b[0]` or "", and its description."""

_Check = Callable[[Any], _Problems]

# The formats that protobuf writes, which are narrower than the formats that it reads.
_TIMESTAMP = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.(?:[0-9]{3}){1,3})?Z", re.ASCII)
_DURATION = re.compile(r"-?[0-9]{1,12}(?:\.[0-9]{1,9})?s", re.ASCII)
_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]*)", re.ASCII)

# The maximum number of problems to report for one response.
_MOST = 5


def problems(method: str, content: Any) -> list[str]:
    """The problems in the content of a successful response of the method; empty if there are none."""
    if not isinstance(content, dict):
        return [f"the answer has to be a JSON object, and is {_kind(content)}"]
    found = _message(OPERATIONS[method].response_name)(cast("Any", content))
    return [f"{path} {what}" for path, what in found[:_MOST]]


@cache
def document() -> dict[str, Any]:
    """The OpenAPI document of the service. It is shared: do not change it."""
    text = files("prebuild_wire").joinpath("openapi.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def component(name: str) -> dict[str, Any]:
    """One of the document's schemas."""
    found: dict[str, Any] = document()["components"]["schemas"][name]
    return found


def _minimal(message: dict[str, Any]) -> dict[str, Any]:
    return {name: _sample(message["properties"][name]) for name in message.get("required", ())}


_VALUES: Final[dict[str, Any]] = {
    "uuid": "00000000-0000-4000-8000-000000000000",
    "uri": "https://example.com/",
    "date-time": "2020-01-01T00:00:00Z",
    "protobuf-duration": "60s",
    "int64": "1",
    "uint64": "1",
    "byte": "AQ==",
}


def _sample(field: dict[str, Any]) -> Any:
    """A value other than zero, within the bounds of the field."""
    if "$ref" in field:
        inner = component(field["$ref"].rpartition("/")[2])
        return inner["enum"][-1] if "enum" in inner else _minimal(inner)
    kind, name = field.get("type"), str(field.get("format"))
    if kind == "array":
        return [_sample(field["items"])] * max(1, field.get("minItems", 1))
    if kind == "object":
        return {
            f"key{number}": _sample(field["additionalProperties"])
            for number in range(max(1, field.get("minProperties", 1)))
        }
    if kind in ("integer", "number"):
        return max(field.get("minimum", 1), min(1, field.get("maximum", 1)))
    if kind == "boolean":
        return True
    declared = FORMATS.get(name)
    if declared is not None:
        return declared.minimum or declared.maximum or _VALUES.get(declared.base, "")
    return _VALUES.get(name, "x" * max(1, field.get("minLength", 1)))


@dataclass(frozen=True, slots=True)
class Bound:
    """A field of a request that has bounds.

    Attributes:
        method: whose request it is.
        path: where the field is, `a.b.c`.
        inside: values on the inner sides of the bounds.
        outside: values just beyond them.
    """

    method: str
    path: str
    inside: tuple[Any, ...]
    outside: tuple[Any, ...]


@cache
def bounds(method: str) -> tuple[Bound, ...]:
    """Every field with bounds in the request of a method: numbers, durations, and the lengths of lists.

    Of a list, `inside` and `outside` are the lengths.
    """
    return tuple(_bounds(method, OPERATIONS[method].request_name, "", ()))


def fields(schema_name: str) -> dict[str, dict[str, Any]]:
    """The fields of a message."""
    found: dict[str, dict[str, Any]] = component(schema_name).get("properties", {})
    return found


@dataclass(frozen=True, slots=True)
class Leaf:
    """A field of a request that holds values, not other fields.

    Attributes:
        path: the path of the field, `a.b.c`.
        declared: the schema of the field, or of the items of a list.
        is_list: whether the field is a list.
        max_items: the maximum number of items in a list, None if there is no limit.
    """

    path: str
    declared: dict[str, Any]
    is_list: bool
    max_items: int | None = None

    @property
    def is_id(self) -> bool:
        """Whether it holds UUIDs."""
        return self.declared.get("format") == "uuid"

    @property
    def enum(self) -> str | None:
        """The name of the enum that it holds members of, None if it holds something else."""
        name = referred(self.declared)
        return name if name is not None and "enum" in component(name) else None

    def value(self, single: Any) -> Any:
        """A value as the field takes it: of a list, a list."""
        return [single] if self.is_list else single

    def wrong_type(self) -> Any:
        """A value of a JSON type that the field cannot mean."""
        return {"a": 1} if self.is_list else ["x"]


@cache
def leaves(method: str) -> tuple[Leaf, ...]:
    """The fields of a method's request that hold values, including fields of nested messages."""
    return tuple(_leaves(OPERATIONS[method].request_name, "", ()))


def _leaves(schema_name: str, prefix: str, within: tuple[str, ...]) -> Iterator[Leaf]:
    for name, field in fields(schema_name).items():
        path = f"{prefix}{name}"
        inner = referred(field)
        if inner is not None and "enum" not in component(inner):
            if inner not in within:
                yield from _leaves(inner, f"{path}.", (*within, inner))
        elif field.get("type") == "array":
            of_item = referred(field["items"])
            if of_item is None or "enum" in component(of_item):
                yield Leaf(path, field["items"], is_list=True, max_items=field.get("maxItems"))
        else:
            yield Leaf(path, field, is_list=False)


def leaf(method: str, path: str) -> Leaf | None:
    """A field of a method's request, None if the schema does not have it."""
    return next((found for found in leaves(method) if found.path == path), None)


def required(method: str) -> tuple[str, ...]:
    """The fields that a request of the method must have."""
    return tuple(component(OPERATIONS[method].request_name).get("required", ()))


def example(method: str, new_id: Callable[[], str]) -> dict[str, Any]:
    """A request with the required fields only, which nothing is wrong with.

    Args:
        method: the method.
        new_id: makes an id.
    """
    of = fields(OPERATIONS[method].request_name)
    found = {name: _sample(of[name]) for name in required(method)}
    found |= {name: new_id() for name in found if of[name].get("format") == "uuid"}
    return found


def with_value(request: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of a request with a value at `a.b.c`."""
    name, _, rest = path.partition(".")
    return {**request, name: with_value(request.get(name) or {}, rest, value) if rest else value}


def max_items(method: str, path: str) -> int:
    """The most items that a list of a request may have; a large number if the schema sets no limit."""
    found = leaf(method, path)
    return 1000 if found is None or found.max_items is None else found.max_items


@dataclass(frozen=True, slots=True)
class PoolSizes:
    """The sizes that a warm pool may have.

    Attributes:
        min_low: the smallest `minSize`.
        max_low: the smallest `maxSize`.
        top: the largest size that is good for both.
        desired: the smallest and the largest `desiredSize`, None if the schema has no such field.
    """

    min_low: int
    max_low: int
    top: int
    desired: tuple[int, int] | None

    def near(self, size: int) -> int:
        """The size, or the nearest size that is valid for both fields."""
        return max(self.max_low, self.min_low, min(size, self.top))

    @property
    def least(self) -> dict[str, int]:
        """The fields of the smallest pool."""
        return {"minSize": self.min_low, "maxSize": max(self.max_low, self.min_low)}


@cache
def pool_sizes() -> PoolSizes:
    """The sizes that a new warm pool may have."""
    of = fields("CreateWarmPoolRequest")
    low, high, wanted = of["minSize"], of["maxSize"], of.get("desiredSize")
    top = min(low.get("maximum", INT32_RANGE[1]), high.get("maximum", INT32_RANGE[1]))
    desired = None if wanted is None else (wanted.get("minimum", 1) or 1, wanted.get("maximum", top))
    return PoolSizes(low.get("minimum", 0), high.get("minimum", 1), top, desired)


@cache
def timeouts() -> tuple[str, str, str]:
    """The shortest and the longest timeout of a prebuild, and one between them that is not a whole second."""
    declared = FORMATS[fields("PrebuildSpec")["timeout"]["format"]]
    low, high = (int((bound or "3600s").removesuffix("s")) for bound in (declared.minimum, declared.maximum))
    middle = f"{low + (high - low) // 4}.500s" if high - low > 1 else f"{low}s"
    return f"{low}s", f"{high}s", middle


@cache
def max_page_size() -> int:
    """The maximum page size."""
    size: int = fields("PaginationRequest")["pageSize"].get("maximum", 100)
    return size


def default_page_size() -> int:
    """The most items of a page whose size was not named: 25 by the documentation, within the limit of the schema."""
    return min(25, max_page_size())


@cache
def members(enum: str) -> tuple[str, ...]:
    """The members of an enum, without the unspecified member."""
    numbers: dict[str, int] = component(enum)["x-enum-numbers"]
    return tuple(name for name, number in numbers.items() if number)


@cache
def undefined_number(enum: str) -> int:
    """A number that no member of the enum has."""
    numbers: dict[str, int] = component(enum)["x-enum-numbers"]
    return max(9999, *(number + 1 for number in numbers.values()))


def referred(field: dict[str, Any]) -> str | None:
    """The name of the schema that a field is of, None for a scalar or a list."""
    reference = field.get("$ref")
    return reference.rpartition("/")[2] if isinstance(reference, str) else None


def _bounds(method: str, schema_name: str, prefix: str, within: tuple[str, ...]) -> Iterator[Bound]:
    for name, field in fields(schema_name).items():
        path = f"{prefix}{name}"
        inner = referred(field)
        if inner is not None:
            if "properties" in component(inner) and inner not in within:
                yield from _bounds(method, inner, f"{path}.", (*within, inner))
        elif field.get("type") == "array":
            most = field.get("maxItems")
            if most is not None:
                yield Bound(method, path, (0, most), (most + 1,))
        elif "minimum" in field or "maximum" in field:
            low, high = field.get("minimum"), field.get("maximum")
            outside: list[Any] = [high + 1] if high is not None else []
            # Where zero equals absent, the value below a minimum of 1 is no violation.
            if low is not None:
                outside.insert(0, -1 if field.get("x-ignore-zero") and low == 1 else low - 1)
            yield Bound(method, path, tuple(value for value in (low, high) if value is not None), tuple(outside))
        elif field.get("format") in FORMATS and FORMATS[field["format"]].base == "protobuf-duration":
            declared = FORMATS[field["format"]]
            yield Bound(method, path, *_duration_bounds(declared))


def _duration_bounds(declared: Format) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Whole seconds and nanoseconds on either side."""
    inside: list[str] = []
    outside: list[str] = []
    if declared.minimum is not None:
        low = int(declared.minimum.removesuffix("s"))
        inside += [f"{low}s"]
        outside += [f"{low - 1}s", f"{low - 1}.999999999s", "0s"]
    if declared.maximum is not None:
        high = int(declared.maximum.removesuffix("s"))
        inside += [f"{high}s"]
        outside += [f"{high + 1}s", f"{high}.000000001s"]
    return tuple(inside), tuple(outside)


@cache
def _message(name: str) -> _Check:
    """The check of a message."""
    declared = component(name)
    required = set(declared.get("required", ()))
    checks: list[tuple[str, bool, Callable[[Any], bool], _Check]] = []
    for field_name, field in declared.get("properties", {}).items():
        must = field_name in required or field.get("x-always-set", False)
        checks.append((field_name, must, _absent(field), _value(field)))

    def check(value: Any) -> _Problems:
        if not isinstance(value, dict):
            return [("", f"has to be an object, and is {_kind(value)}")]
        content = cast("dict[str, Any]", value)
        found: list[tuple[str, str]] = []
        for field_name, must, absent, of_field in checks:
            given = content.get(field_name)
            if not absent(given):
                if problems := of_field(given):
                    found += [(_join(field_name, path), what) for path, what in problems]
            elif must:
                found.append((field_name, "is missing" if given is None else f"must not be {json.dumps(given)}"))
            elif given is not None and isinstance(given, bool):
                found.append((field_name, "must not be a boolean"))
        return found

    return check


def _absent(field: dict[str, Any]) -> Callable[[Any], bool]:
    """Whether a value means that the field is unset. The server may choose its notation of unset fields."""
    name = referred(field)
    if name is not None and "enum" in component(name):
        zero = next((member for member, number in component(name)["x-enum-numbers"].items() if number == 0), None)
        return lambda value: value is None or value in (zero, "") or _is_zero(value)
    if name is not None:
        return lambda value: value is None
    if field.get("type") == "array":
        return lambda value: value is None or value == []
    if field.get("type") == "object":
        return lambda value: value is None or value == {}
    if field.get("type") in ("boolean", None):
        return lambda value: value is None
    if field.get("x-presence") == "explicit" and not field.get("x-ignore-zero"):
        return lambda value: value is None
    if field["type"] in ("integer", "number"):
        return lambda value: value is None or _is_zero(value)
    if field.get("format") in ("int64", "uint64"):
        return lambda value: value is None or value == "0"
    return lambda value: value is None or value == ""


@cache
def _enum(name: str) -> _Check:
    numbers: dict[str, int] = component(name)["x-enum-numbers"]
    known = set(numbers.values())

    def check(value: Any) -> _Problems:
        if isinstance(value, str):
            return ()
        if not isinstance(value, int) or isinstance(value, bool):
            return [("", f"has to be a member of {name}, and is {_kind(value)}")]
        # A server writes an unknown enum member as a number.
        return [("", f"has to be the name of a member of {name}, and is its number {value}")] if value in known else ()

    return check


def _value(field: dict[str, Any]) -> _Check:
    name = referred(field)
    if name is not None:
        # Looked up when it is needed: messages may be within each other.
        return _enum(name) if "enum" in component(name) else _later(name)
    if field.get("type") == "array":
        items = _value(field["items"])

        def check_list(value: Any) -> _Problems:
            if not isinstance(value, list):
                return [("", f"has to be a list, and is {_kind(value)}")]
            return [
                (_join(f"[{position}]", path), what)
                for position, item in enumerate(cast("Sequence[Any]", value))
                for path, what in items(item)
            ]

        return check_list
    match field.get("type"):
        case "integer":
            return _integer(field)
        case "number":
            return _number(field)
        case "boolean":
            return _boolean
        case "object":
            return _map(field)
        case None:
            return _anything
        case _:
            return _text(field)


def _anything(_value: Any) -> _Problems:
    return ()


def _boolean(value: Any) -> _Problems:
    return () if isinstance(value, bool) else [("", f"has to be a boolean, and is {_kind(value)}")]


def _map(field: dict[str, Any]) -> _Check:
    entries = _value(field["additionalProperties"])

    def check(value: Any) -> _Problems:
        if not isinstance(value, dict):
            return [("", f"has to be an object, and is {_kind(value)}")]
        content = cast("dict[str, Any]", value)
        return [(_join(key, path), what) for key, item in content.items() for path, what in entries(item)]

    return check


def _number(field: dict[str, Any]) -> _Check:
    low, high = field.get("minimum", -math.inf), field.get("maximum", math.inf)

    def check(value: Any) -> _Problems:
        if value in ("NaN", "Infinity", "-Infinity"):
            value = float(value)
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            return [("", f"has to be a number, and is {_kind(value)}")]
        return (
            ()
            if low <= value <= high or math.isnan(value)
            else [("", f"has to be from {low} to {high}, and is {value}")]
        )

    return check


def _later(name: str) -> _Check:
    def check(value: Any) -> _Problems:
        return _message(name)(value)

    return check


def _is_zero(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == 0


def _integer(field: dict[str, Any]) -> _Check:
    lowest, highest = UINT32_RANGE if field.get("format") == "uint32" else INT32_RANGE
    low, high = field.get("minimum", lowest), field.get("maximum", highest)

    def check(value: Any) -> _Problems:
        if not isinstance(value, int) or isinstance(value, bool):
            return [("", f"has to be a whole number, and is {_kind(value)}")]
        return () if low <= value <= high else [("", f"has to be from {low} to {high}, and is {value}")]

    return check


_WRITTEN: Final = {
    "date-time": (_TIMESTAMP, "a timestamp in UTC, with Z and 0, 3, 6 or 9 digits of fraction"),
    "protobuf-duration": (_DURATION, "a duration in seconds, `3600s`"),
    "int64": (_WHOLE, "a whole number in a string"),
    "uint64": (_WHOLE, "a whole number in a string"),
}


def _text(field: dict[str, Any]) -> _Check:
    name = field.get("format", "")
    declared = FORMATS.get(name) or (Format(name) if name in PARSERS else None)
    written, words = _WRITTEN.get(declared.base if declared else "", (None, ""))

    @lru_cache(maxsize=1024)  # the same ones come again and again
    def check_text(value: str) -> _Problems:
        if written is not None and not written.fullmatch(value):
            return [("", f"has to be {words}, and is {json.dumps(value)}")]
        try:
            if declared is not None:
                declared.parse(value)
        except ValueError as error:
            return [("", f"is {json.dumps(value)}: {error}")]
        return ()

    def check(value: Any) -> _Problems:
        if not isinstance(value, str):
            return [("", f"has to be {words or 'a string'}, and is {_kind(value)}")]
        return check_text(value)

    return check


def _join(path: str, inner: str) -> str:
    """The path of something within something."""
    return f"{path}{'.' if inner and not inner.startswith('[') else ''}{inner}"


def _kind(value: Any) -> str:
    """The JSON value in words, short."""
    match value:
        case None:
            return "null or no JSON"
        case bool() | int() | float():
            return f"the value {json.dumps(value)}"
        case str():
            return f"the string {json.dumps(value[:40])}"
        case list():
            return "a list"
        case _:
            return "an object"
