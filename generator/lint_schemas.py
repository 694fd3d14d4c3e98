"""The rules of messages, enums and formats."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from . import spec
from .document import join
from .findings import Findings, component
from .runtime.scalars import PARSERS

# Members that the reader of errors names.
_CODES = ("INTERNAL", "UNAUTHENTICATED", "PERMISSION_DENIED", "UNIMPLEMENTED", "UNAVAILABLE", "UNKNOWN")

PHASE_CLASSES = ("unspecified", "active", "deleting", "terminal")

_MESSAGE_KEYS = {"type", "description", "deprecated", "required", "properties", "x-protobuf-message", "x-ordered"}
_ENUM_KEYS = {
    "type", "enum", "description", "deprecated", "x-enum-deprecated",
    "x-protobuf-enum", "x-enum-numbers", "x-enum-descriptions", "x-phase-classes",
    "x-http-status",
}  # fmt: skip
_FIELD_KEYS = frozenset({
    "description", "deprecated", "x-protobuf-number", "x-protobuf-name", "x-presence", "x-ignore-zero", "x-always-set",
    "x-secret",
})  # fmt: skip
_BOUNDS: dict[str | None, set[str]] = {
    "string": {"format", "minLength", "maxLength"},
    "integer": {"format", "minimum", "maximum"},
    "number": {"format", "minimum", "maximum"},
    "boolean": set(),
    "array": {"minItems", "maxItems", "items"},
    "object": {"minProperties", "maxProperties", "additionalProperties"},
    None: set(),
}

_JSON_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_PASCAL = re.compile(r"[A-Z][A-Za-z0-9_]*", re.ASCII)
_MEMBER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_CLASS = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)

_NONE: frozenset[str] = frozenset()


def shape(findings: Findings) -> None:
    """The permitted keywords in each place: later checks rely on them."""
    for name, item in findings.data.get("x-formats", {}).items():
        _format(findings, item, join("#/x-formats", name), name)
    for name, item in findings.data["components"].get("parameters", {}).items():
        parameter(findings, item, join("#/components/parameters", name))
    for name, item in findings.data["components"].get("examples", {}).items():
        if "$ref" in item:
            findings.add(join("#/components/examples", name, "$ref"), "an example here has a value, not a $ref")
        elif "value" not in item:
            findings.add(join("#/components/examples", name), "'value' is missing")
    for name, item in findings.schemas.items():
        _component(findings, item, join("#/components/schemas", name), name)


def meaning(findings: Findings) -> None:
    """Whether the keywords of messages and enums are consistent."""
    _unique_names(findings)
    for name, schema in findings.schemas.items():
        pointer = join("#/components/schemas", name)
        if "enum" in schema:
            _enum_meaning(findings, schema, pointer)
        else:
            _message_meaning(findings, schema, pointer)
    _needed(findings)
    _endless(findings)


def parameter(findings: Findings, value: dict[str, Any], pointer: str) -> None:
    """The rules of a query parameter that stands at `pointer` itself."""
    if "$ref" in value:
        findings.add(join(pointer, "$ref"), "a parameter here stands itself, and is not a $ref")
        return
    for key in ("name", "in", "schema"):
        if key not in value:
            findings.add(pointer, f"{key!r} is missing")
    if value.get("in", "query") != "query":
        findings.add(join(pointer, "in"), f"only query parameters are supported, found {value['in']!r}")
    schema = value.get("schema", {"type": "boolean"})
    if schema.get("type") not in ("string", "integer", "number", "boolean"):
        findings.add(join(pointer, "schema"), "a query parameter is a string, a number or a boolean")
    else:
        _value(findings, schema, join(pointer, "schema"))


def _format(findings: Findings, value: dict[str, Any], pointer: str, name: str) -> None:
    base = value["base"]
    if name in spec.STRING_FORMATS or name in spec.NUMBER_FORMATS:
        findings.add(pointer, f"{name!r} is a format of its own already")
    if base not in spec.STRING_FORMATS:
        findings.add(join(pointer, "base"), f"{base!r} is not a format: expected {', '.join(spec.STRING_FORMATS)}")
        return
    limits: list[Any] = []
    for key in ("minimum", "maximum"):
        if key in value:
            try:
                limits.append(PARSERS[base](value[key]))
            except ValueError as error:
                findings.add(join(pointer, key), f"{value[key]!r} is not a value of {base}: {error}")
    if len(limits) == 2 and limits[0] > limits[1]:
        findings.add(pointer, f"the minimum {value['minimum']} is more than the maximum {value['maximum']}")


def _component(findings: Findings, value: dict[str, Any], pointer: str, name: str) -> None:
    if not _PASCAL.fullmatch(name) or name in ("None", "True", "False"):
        findings.add(
            pointer,
            f"{name!r} cannot be the name of a class: a component is named in PascalCase, and its name in protobuf is "
            "in x-protobuf-message or x-protobuf-enum",
        )
    is_enum = "enum" in value or value["type"] == "string"
    for key in sorted(value.keys() - (_ENUM_KEYS if is_enum else _MESSAGE_KEYS)):
        findings.add(join(pointer, key), f"{key!r} is not supported in {'an enum' if is_enum else 'a message'}")
    if is_enum:
        _enum(findings, value, pointer)
    elif value["type"] == "object":
        _message(findings, value, pointer)


def _message(findings: Findings, value: dict[str, Any], pointer: str) -> None:
    properties = value.get("properties", {})
    for name, item in properties.items():
        _field(findings, item, join(pointer, "properties", name), name)
    required = value.get("required", [])
    for index, name in enumerate(required):
        if name not in properties:
            findings.add(join(pointer, "required", index), f"{name!r} is not a field of this message")
        elif name in required[:index]:
            findings.add(join(pointer, "required", index), f"{name!r} stands here twice")


def _field(findings: Findings, value: dict[str, Any], pointer: str, name: str) -> None:
    expected = value.get("x-protobuf-name")
    if not _JSON_NAME.fullmatch(name):
        findings.add(pointer, f"{name!r} is not the name of a field: expected letters, digits and underscores")
    elif expected is None and spec.camel_case(spec.protobuf_name(name)) != name:
        json_name = spec.camel_case(spec.protobuf_name(name))
        findings.add(
            pointer,
            f"a field is named in camelCase: protobuf JSON would call this field {json_name!r}. A name of its own "
            "needs an x-protobuf-name",
        )
    if not findings.reference(value, pointer, "schemas", _FIELD_KEYS):
        _value(findings, value, pointer, _FIELD_KEYS, nested=True)


def _value(
    findings: Findings, value: dict[str, Any], pointer: str, others: frozenset[str] = _NONE, nested: bool = False
) -> None:
    """A schema that is not a component: the value of a field, an item, a parameter."""
    kind = value.get("type")
    for key in sorted(value.keys() - others - _BOUNDS[kind] - {"type"}):
        findings.add(join(pointer, key), f"{key!r} is not supported here: a value of type {kind} does not have it")
    _known_format(findings, kind, value.get("format"), pointer)
    _range(findings, value, pointer)
    inner = {"array": "items", "object": "additionalProperties"}.get(kind or "")
    if inner is None:
        return
    if not nested:
        findings.add(pointer, f"{kind} inside of another list or map is not supported: protobuf has no such field")
    elif inner not in value:
        reason = "a message with fields of its own has to be a component" if kind == "object" else "expected a schema"
        findings.add(pointer, f"{inner!r} is missing: {reason}")
    elif not findings.reference(value[inner], join(pointer, inner), "schemas", _NONE):
        _value(findings, value[inner], join(pointer, inner))


def _known_format(findings: Findings, kind: str | None, name: Any, pointer: str) -> None:
    formats = findings.data.get("x-formats", {})
    if kind == "integer" and name not in ("int32", "uint32"):
        findings.add(
            pointer, "an integer has the format int32 or uint32; int64 and uint64 are strings in protobuf JSON"
        )
    elif kind == "number" and name not in ("float", "double"):
        findings.add(pointer, "a number has the format float or double")
    elif kind == "string" and name is not None and name not in spec.STRING_FORMATS and name not in formats:
        known = ", ".join([*spec.STRING_FORMATS, *formats])
        findings.add(join(pointer, "format"), f"{name!r} is not a format: expected one of {known}")


def _range(findings: Findings, value: dict[str, Any], pointer: str) -> None:
    for low, high in (
        ("minimum", "maximum"), ("minLength", "maxLength"),
        ("minItems", "maxItems"), ("minProperties", "maxProperties"),
    ):  # fmt: skip
        for key in {low, high} & value.keys():
            if value.get("type") == "integer" and not isinstance(value[key], int):
                findings.add(join(pointer, key), f"a whole number is expected, found {value[key]!r}")
        if low in value and high in value and value[low] > value[high]:
            findings.add(pointer, f"{low} {value[low]} is more than {high} {value[high]}")


def _enum(findings: Findings, value: dict[str, Any], pointer: str) -> None:
    if value["type"] != "string" or "enum" not in value:
        findings.add(pointer, "an enum has the type string and a list of members, a message has the type object")
        return
    for index, member in enumerate(value["enum"]):
        if member in value["enum"][:index]:
            findings.add(join(pointer, "enum", index), f"the member {member} stands here twice")
        elif not _MEMBER.fullmatch(member):
            findings.add(join(pointer, "enum", index), f"{member!r} is not a name of protobuf")


def _unique_names(findings: Findings) -> None:
    for key in ("x-protobuf-message", "x-protobuf-enum"):
        seen: dict[str, str] = {}
        for name, schema in findings.schemas.items():
            if key in schema and schema[key] in seen:
                place = join("#/components/schemas", name, key)
                findings.add(place, f"{schema[key]} is {seen[schema[key]]} already")
            seen.setdefault(schema.get(key, ""), name)


def _enum_meaning(findings: Findings, schema: dict[str, Any], pointer: str) -> None:
    values = schema["enum"]
    for key in ("x-enum-numbers", "x-enum-descriptions", "x-http-status"):
        if key not in schema:
            continue
        for name in schema[key]:
            if name not in values:
                findings.add(join(pointer, key, name), f"{name!r} is not a member of the enum")
        if key != "x-enum-descriptions":
            for name in values:
                if name not in schema[key]:
                    findings.add(join(pointer, key), f"the member {name} is missing")
    for index, name in enumerate(schema.get("x-enum-deprecated", [])):
        if name not in values:
            findings.add(join(pointer, "x-enum-deprecated", index), f"{name!r} is not a member of the enum")
    if "x-protobuf-enum" in schema:
        _enum_numbers(findings, schema, pointer)
    elif "x-http-status" not in schema:
        findings.add(pointer, "x-protobuf-enum or x-http-status is missing")
    if "x-phase-classes" in schema:
        _phase_classes(findings, schema, join(pointer, "x-phase-classes"))


def _enum_numbers(findings: Findings, schema: dict[str, Any], pointer: str) -> None:
    numbers: dict[str, int] = schema.get("x-enum-numbers", {})
    place = join(pointer, "x-enum-numbers")
    if 0 not in numbers.values():
        findings.add(place, "no member has the number 0: protobuf needs one, it stands for an absent value")
    for number, count in Counter(numbers.values()).items():
        if count > 1:
            findings.add(place, f"the number {number} stands here twice")


def _phase_classes(findings: Findings, schema: dict[str, Any], pointer: str) -> None:
    classes: dict[str, list[str]] = schema["x-phase-classes"]
    for name in PHASE_CLASSES:
        if name not in classes:
            findings.add(pointer, f"{name!r} is missing")
    for name in classes:
        if not _CLASS.fullmatch(name) or name == "known":
            findings.add(join(pointer, name), f"{name!r} is not the name of a class: expected snake_case")
    counts = Counter(member for group in classes.values() for member in group)
    for member in schema["enum"]:
        if counts[member] != 1:
            findings.add(pointer, f"{member} stands in {counts[member]} classes, exactly one is expected")
    for name, group in classes.items():
        for index, member in enumerate(group):
            if member not in schema["enum"]:
                findings.add(join(pointer, name, index), f"{member!r} is not a member of the enum")


def _message_meaning(findings: Findings, schema: dict[str, Any], pointer: str) -> None:
    properties = schema.get("properties", {})
    numbers: dict[int, str] = {}
    names: dict[str, str] = {}
    for name, item in properties.items():
        place = join(pointer, "properties", name)
        _field_meaning(findings, item, place, "x-protobuf-message" in schema)
        own = item.get("x-protobuf-name") or spec.protobuf_name(name)
        if own in names:
            findings.add(place, f"the name {own!r} in protobuf is that of {names[own]} already")
        names[own] = name
        number = item.get("x-protobuf-number")
        if number in numbers:
            findings.add(join(place, "x-protobuf-number"), f"the number {number} is that of {numbers[number]} already")
        if isinstance(number, int):
            numbers[number] = name
    for index, pair in enumerate(schema.get("x-ordered", [])):
        _ordered(findings, pair, properties, join(pointer, "x-ordered", index))


def _ordered(findings: Findings, pair: list[str], properties: dict[str, Any], pointer: str) -> None:
    for name in pair:
        item = properties.get(name, {})
        wide = item.get("type") == "string" and item.get("format") in ("int64", "uint64")
        if item.get("type") not in ("integer", "number") and not wide:
            findings.add(pointer, f"{name!r} is not a number of this message")


def _field_meaning(findings: Findings, item: dict[str, Any], pointer: str, protobuf: bool) -> None:
    number = item.get("x-protobuf-number")
    if not protobuf and number is not None:
        findings.add(join(pointer, "x-protobuf-number"), "the message has no x-protobuf-message")
    elif protobuf and number is None:
        findings.add(pointer, "x-protobuf-number is missing")
    elif protobuf and (not isinstance(number, int) or 19000 <= number < 20000):
        findings.add(join(pointer, "x-protobuf-number"), f"{number!r} is not a field number of protobuf")
    target = component(item.get("$ref", ""))
    message = bool(target) and "enum" not in findings.schemas[target]
    if "x-presence" in item and (message or item.get("type") in ("array", "object")):
        findings.add(join(pointer, "x-presence"), "messages are always explicit, lists and maps never")


def _needed(findings: Findings) -> None:
    """The error of the Connect protocol, which the reader of errors names."""
    error = findings.schemas.get("ConnectError", {}).get("properties", {})
    if component(error.get("code", {}).get("$ref", "")) != "ConnectCode" or "message" not in error:
        findings.add(
            "#/components/schemas",
            "a message ConnectError is expected, with a field `code` (ConnectCode) and `message`",
        )
    code = findings.schemas.get("ConnectCode", {})
    members = {str(member).upper() for member in code.get("enum", [])}
    missing = [name.lower() for name in _CODES if name not in members]
    if missing or "x-http-status" not in code:
        findings.add(
            "#/components/schemas/ConnectCode", f"the codes of the Connect protocol are expected: {', '.join(missing)}"
        )


def _endless(findings: Findings) -> None:
    """Messages that always contain each other: no finite document can represent them."""

    def always(name: str) -> Iterator[str]:
        for field in findings.schemas[name].get("required", []):
            target = component(findings.schemas[name].get("properties", {}).get(field, {}).get("$ref", ""))
            if target and "enum" not in findings.schemas[target]:
                yield target

    done: set[str] = set()

    def visit(name: str, trail: list[str]) -> None:
        for target in always(name):
            if target in trail:
                loop = " -> ".join([*trail[trail.index(target) :], target])
                findings.add(
                    join("#/components/schemas", target),
                    f"messages are required within one another without end: {loop}",
                )
            elif target not in done:
                visit(target, [*trail, target])
        done.add(name)

    for name, schema in findings.schemas.items():
        if "enum" not in schema and name not in done:
            visit(name, [name])
