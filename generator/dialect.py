"""The shape of the schema: does it keep `schema/openapi.schema.json`, the JSON Schema of our OpenAPI dialect?"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import jsonschema_rs

from .document import Document, is_list, join
from .problems import Problem

PATH = Path(__file__).resolve().parent.parent / "schema" / "openapi.schema.json"

MAX_PROBLEMS = 100

COMPOSITION = (
    "oneOf", "anyOf", "allOf", "not", "nullable", "const", "discriminator", "patternProperties",
)  # fmt: skip

_TYPES = {
    "object": "a mapping", "array": "a list", "string": "a string", "integer": "a whole number", "number": "a number",
    "boolean": "true or false", "null": "null",
}  # fmt: skip


def check(document: Document) -> list[Problem]:
    """The problems in the shape of `document`."""
    problems: list[Problem] = []
    for error in _validator().iter_errors(document.data):
        for pointer, reason in _reasons(error, document.data):
            problems.append(document.problem(pointer, reason))
            if len(problems) >= MAX_PROBLEMS:
                return problems
    return problems


@functools.cache
def _schema() -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(PATH.read_text(encoding="utf-8"))
    return schema


@functools.cache
def _validator() -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(_schema())


def _reasons(error: jsonschema_rs.ValidationError, data: Any) -> list[tuple[str, str]]:
    """The places and reasons of an error; an error of unknown keys has several."""
    kind: Any = error.kind
    pointer = join("#", *error.instance_path) if error.instance_path else "#"
    # The validator takes a key such as `200` for an index.
    value = functools.reduce(
        lambda inner, key: inner[str(key) if isinstance(inner, dict) else key], error.instance_path, data
    )
    keyword = _keyword([str(step) for step in error.schema_path])
    if kind.name == "additionalProperties":
        allowed = sorted(_parent([str(step) for step in error.schema_path])["properties"])
        return [(join(pointer, key), _unknown_key(key, allowed)) for key in kind.unexpected]
    if kind.name == "required":
        return [(pointer, f"{kind.property!r} is missing")]
    if kind.name == "type":
        types = " or ".join(_TYPES[name] for name in kind.types)
        quotes = ": put it in quotes" if types == "a string" and isinstance(value, (int, float)) else ""
        return [(pointer, f"expected {types}, found {describe(value)}{quotes}")]
    if kind.name == "enum":
        return [(pointer, f"expected one of {', '.join(map(str, keyword))}, found {describe(value)}")]
    if kind.name == "const":
        return [(pointer, f"either true or left out, found {describe(value)}")]
    if kind.name == "pattern":
        return [(pointer, _mismatch(str(value), str(keyword)))]
    return [(pointer, error.message)]


def _unknown_key(key: str, allowed: list[str]) -> str:
    if key in COMPOSITION:
        return f"{key!r} is not supported: the generators would drop it"
    if key.startswith("x-"):
        return f"unknown key {key!r}: schema/README.md lists the x- keys"
    if "stream" in key or "connect+" in key or "grpc" in key:
        return f"{key!r} is not supported: streaming methods cannot be called by this client"
    return f"{key!r} is not supported here: expected {', '.join(allowed)}"


def _mismatch(value: str, pattern: str) -> str:
    if pattern.startswith("^#/components/"):
        return f"a reference to {pattern[1:].partition('[')[0]}... is expected, found {value!r}"
    if pattern.startswith("^3"):
        return f"OpenAPI 3.1 is expected, this says {value}"
    if pattern.startswith("^[a-z]"):
        return f"{value!r} is not a name in snake_case"
    return f"{value!r} is not a name of protobuf"


def describe(value: object) -> str:
    """A value of the schema in a few words."""
    if value is None:
        return "null"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _keyword(path: list[str]) -> Any:
    """The value at a path of the dialect."""
    node: Any = _schema()
    for step in path:
        node = node[int(step)] if is_list(node) else node[step]
    return node


def _parent(path: list[str]) -> Any:
    return _keyword(path[:-1])
