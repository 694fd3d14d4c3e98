"""A fast check for valid requests in the form that most clients send.

All other requests, valid or not, are left to `validation`. That needs pydantic, which is slower to import than the
rest of the emulator and slower for each request. This module therefore rejects nothing: a doubtful request is only
not plain.
"""

from __future__ import annotations

import functools
import importlib.resources
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from prebuild_wire.scalars import UUID_PATTERN, Format

Fields = dict[str, Any]
"""A message in its JSON form."""

_Check = Callable[[Any], bool]

_UUID = re.compile(UUID_PATTERN, re.ASCII)

# Formats whose values are strings that are not converted.
_TEXTS: Final = {"protobuf-duration", "date-time", "uri", "byte"}

# Keywords of a schema that do not restrict the values. Any other keyword makes the values doubtful.
_SILENT: Final = {
    *("type", "format", "description", "deprecated", "examples", "default"),
    *("x-protobuf-message", "x-protobuf-enum", "x-protobuf-number", "x-presence", "x-ignore-zero", "x-always-set"),
    *("x-protobuf-name", "x-enum-deprecated"),
    *("x-secret", "x-enum-descriptions", "x-enum-numbers", "x-phase-classes", "x-http-status"),
}


@functools.cache
def check_of(message: str) -> _Check:
    """Return a check whether a value is plainly this message: valid, and in the form that `to_json` writes.

    Zero values may be present or not. A plain value has no fields that the schema does not have.
    """
    return _check(_document()["components"]["schemas"][message])


@functools.cache
def _document() -> dict[str, Any]:
    text = importlib.resources.files("prebuild_wire").joinpath("openapi.json").read_bytes()
    document: dict[str, Any] = json.loads(text)
    return document


def _check(schema: Mapping[str, Any]) -> _Check:
    if "$ref" in schema:
        return functools.partial(_refers, schema["$ref"].rpartition("/")[2])
    said = schema.keys() - _SILENT
    match schema.get("type"):
        case "object" if said <= {"properties", "required", "x-ordered"}:
            return _object(schema)
        case "array" if said <= {"items", "maxItems"}:
            return _array(_check(schema["items"]), schema.get("maxItems"))
        case "string" if said <= {"enum"}:
            return _string(schema)
        case "integer" if said <= {"minimum", "maximum"} and schema.get("format") == "int32":
            return _integer(schema.get("minimum", -(2**31)), schema.get("maximum", 2**31 - 1))
        case "boolean" if not said:
            return lambda value: value is True or value is False
        case _:
            return _never


def _refers(message: str, value: Any) -> bool:
    # Resolved lazily, because a message may contain itself.
    return check_of(message)(value)


def _never(value: Any) -> bool:
    return False


def _object(schema: Mapping[str, Any]) -> _Check:
    checks = {name: _check(field) for name, field in schema.get("properties", {}).items()}
    required: list[str] = schema.get("required", [])
    ordered: list[list[str]] = schema.get("x-ordered", [])

    def is_plain(value: Any) -> bool:
        if value.__class__ is not dict:
            return False
        fields: Fields = value
        for name, item in fields.items():
            check = checks.get(name)
            if check is None or not check(item):
                return False
        # A required field with a zero value counts as missing. A message counts as present even if it is empty.
        if any(not (fields.get(name) or type(fields.get(name)) is dict) for name in required):
            return False
        return not any(low in fields and high in fields for low, high in ordered)

    return is_plain


def _array(is_plain: _Check, most: int | None) -> _Check:
    def are_plain(value: Any) -> bool:
        if value.__class__ is not list:
            return False
        items: list[Any] = value
        return (most is None or len(items) <= most) and all(map(is_plain, items))

    return are_plain


def _string(schema: Mapping[str, Any]) -> _Check:
    if "enum" in schema:
        members = frozenset(schema["enum"])
        return lambda value: type(value) is str and value in members
    name = schema.get("format")
    if name is None:
        return lambda value: type(value) is str
    if name == "uuid":
        return lambda value: type(value) is str and _UUID.fullmatch(value) is not None
    own: Mapping[str, Any] = _document().get("x-formats", {}).get(name, {})
    kind = Format(own.get("base", name), own.get("minimum"), own.get("maximum"))
    return functools.partial(_is_text, kind) if kind.base in _TEXTS else _never


def _is_text(kind: Format, value: Any) -> bool:
    try:
        kind.parse(value)
    except ValueError:
        return False
    return type(value) is str


def _integer(low: int, high: int) -> _Check:
    return lambda value: type(value) is int and low <= value <= high
