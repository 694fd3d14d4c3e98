"""The examples of the schema: where they stand, and whether they keep their own schemas."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import jsonschema_rs

from . import spec
from .document import Document, join
from .problems import Problem
from .runtime import scalars

_PARSERS: dict[str, Callable[[str], Any]] = {
    "int64": scalars.parse_int64,
    "uint64": scalars.parse_uint64,
    "protobuf-duration": scalars.parse_duration,
    "date-time": scalars.parse_timestamp,
    "uuid": scalars.parse_uuid,
    "uri": scalars.parse_uri,
}


@dataclass(frozen=True)
class Example:
    """An example value, and the component whose schema it has to keep."""

    pointer: str
    component: str
    value: Any


def parse(base: str, text: Any) -> Any:
    """The value that `text` stands for in the format `base`.

    Raises:
        ValueError: it stands for none.
        TypeError: it is no string.
    """
    if not isinstance(text, str):
        raise TypeError("a string is expected")
    return _PARSERS[base](text) if base in _PARSERS else text


def find(document: dict[str, Any]) -> Iterator[Example]:
    """Every example of every request and response; shared ones once for each use."""
    for path, item in document["paths"].items():
        pointer = join("#/paths", path, "post")
        yield from _media(document, item["post"]["requestBody"], join(pointer, "requestBody"))
        for status, response in item["post"]["responses"].items():
            if "$ref" not in response:
                yield from _media(document, response, join(pointer, "responses", status))
    for name, response in document["components"].get("responses", {}).items():
        yield from _media(document, response, join("#/components/responses", name))


def check(document: Document, api: spec.Api) -> list[Problem]:
    """What is wrong with the examples."""
    validators: dict[str, jsonschema_rs.Draft202012Validator] = {}
    problems: list[Problem] = []
    for example in find(document.data):
        if example.component not in validators:
            validators[example.component] = _validator(document.data, api, example.component)
        for error in validators[example.component].iter_errors(example.value):
            place = join(example.pointer, *error.instance_path)
            problems.append(document.problem(place, f"the example does not keep {example.component}: {error.message}"))
    return problems


def _media(document: dict[str, Any], holder: dict[str, Any], pointer: str) -> Iterator[Example]:
    media = holder.get("content", {}).get("application/json")
    if media is None:
        return
    component = media["schema"]["$ref"].rpartition("/")[2]
    for name, example in media.get("examples", {}).items():
        place = join(pointer, "content", "application/json", "examples", name)
        if "$ref" in example:
            shared = example["$ref"].rpartition("/")[2]
            place = join("#/components/examples", shared)
            example = document["components"]["examples"][shared]
        yield Example(join(place, "value"), component, example["value"])


def _validator(document: dict[str, Any], api: spec.Api, component: str) -> jsonschema_rs.Draft202012Validator:
    """A validator of one component that knows our formats and refuses fields that the schema does not have."""
    schemas = {
        name: schema if "enum" in schema else schema | {"additionalProperties": False}
        for name, schema in document["components"]["schemas"].items()
    }
    formats: dict[str, Callable[..., bool]] = {name: partial(_accepts, api, name) for name in (*_PARSERS, *api.formats)}
    return jsonschema_rs.Draft202012Validator(
        {"$ref": f"#/components/schemas/{component}", "components": {"schemas": schemas}},
        formats=formats,
        validate_formats=True,
    )


def _accepts(api: spec.Api, name: str, text: str) -> bool:
    declared = api.formats.get(name)
    base = declared.base if declared else name
    try:
        value = parse(base, text)
        if declared and declared.minimum is not None and value < parse(base, declared.minimum):
            return False
        return not (declared and declared.maximum is not None and value > parse(base, declared.maximum))
    except ValueError:
        return False
