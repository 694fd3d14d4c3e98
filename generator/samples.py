"""Sample documents of messages: with all fields set, and with no more than needed."""

from __future__ import annotations

import math
from typing import Any

from . import spec
from .runtime.scalars import PARSERS

_STRINGS = {
    "uuid": "182bd5e5-6e1a-4fe4-a799-aa6d9a6ab26e",
    "uri": "https://example.com/a",
    "byte": "AQID",
    "date-time": "2019-12-27T18:11:19.117Z",
    "protobuf-duration": "90s",
    "int64": "12345678901",
    "uint64": "12345678901",
}


def full(api: spec.Api, message: spec.Message, within: tuple[str, ...] = ()) -> dict[str, Any]:
    """A document of `message` with every field set; messages within themselves are left out."""
    inside = (*within, message.name)
    result: dict[str, Any] = {}
    for field in message.fields:
        if field.kind == "enum" and len(api.enums[field.type].members) == 1 and not field.repeated and not field.mapped:
            continue  # Its only value is the one that JSON leaves out.
        if field.kind == "message" and field.type in inside:
            if not field.required:
                continue
            value: Any = minimal(api, api.messages[field.type])
        else:
            value = _value(api, field, inside)
        result[field.json_name] = _contained(field, value)
    for low, high in message.ordered:
        if float(result[low]) > float(result[high]):
            result[low] = result[high]
    return result


def minimal(api: spec.Api, message: spec.Message) -> dict[str, Any]:
    """A document of `message` with only the required fields."""
    result: dict[str, Any] = {}
    for field in message.required_fields:
        if field.kind == "message" and not (field.repeated or field.mapped):
            value: Any = minimal(api, api.messages[field.type])
        elif field.kind == "message":
            value = minimal(api, api.messages[field.type])
        else:
            value = _value(api, field, ())
        result[field.json_name] = _contained(field, value)
    return result


def _contained(field: spec.Field, value: Any) -> Any:
    if field.repeated:
        return [value] * int(max(1, min(field.bounds.get("minItems", 1), 100)))
    if field.mapped:
        return {f"key{number}": value for number in range(int(max(1, min(field.bounds.get("minProperties", 1), 100))))}
    return value


def _value(api: spec.Api, field: spec.Field, within: tuple[str, ...]) -> Any:
    if field.kind == "message":
        return full(api, api.messages[field.type], within)
    if field.kind == "enum":
        members = api.enums[field.type].members
        return next((member.value for member in members if member.number != 0), members[0].value)
    if field.kind == "boolean":
        return True
    if field.kind == "json":
        return {"any": ["value", 1]}
    if field.kind in ("integer", "number"):
        return _number(field)
    return _string(api, field)


def _number(field: spec.Field) -> int | float:
    low, high = field.bounds.get("minimum", -math.inf), field.bounds.get("maximum", math.inf)
    wanted: int | float = 7 if field.kind == "integer" else 1.5
    value = min(max(wanted, low), high)
    if value == 0:  # which is left out of JSON, unless there is nothing else
        value = high if high != 0 and high != math.inf else low if low not in (0, -math.inf) else 0
    return math.ceil(value) if field.kind == "integer" else float(value)


def _string(api: spec.Api, field: spec.Field) -> str:
    declared = api.formats.get(field.format)
    if declared is not None:
        return _within(declared)
    if field.format in _STRINGS:
        return _STRINGS[field.format]
    length = int(max(field.bounds.get("minLength", 0), min(3, field.bounds.get("maxLength", 3))))
    return "x" * length


def _within(declared: spec.Format) -> str:
    text = _STRINGS[declared.base]
    parse = PARSERS[declared.base]
    if declared.minimum is not None and parse(text) < parse(declared.minimum):
        return declared.minimum
    if declared.maximum is not None and parse(text) > parse(declared.maximum):
        return declared.maximum
    return text
