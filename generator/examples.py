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


@dataclass(frozen=True)
class Example:
    """An example value, and the component whose schema it must match."""

    pointer: str
    component: str
    value: Any


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
    """The problems of the examples."""
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
    known = {name: scalars.Format(name) for name in scalars.PARSERS}
    known |= {name: scalars.Format(item.base, item.minimum, item.maximum) for name, item in api.formats.items()}
    formats: dict[str, Callable[..., bool]] = {name: partial(_accepts, item) for name, item in known.items()}
    return jsonschema_rs.Draft202012Validator(
        {"$ref": f"#/components/schemas/{component}", "components": {"schemas": schemas}},
        formats=formats,
        validate_formats=True,
    )


def _accepts(item: scalars.Format, text: str) -> bool:
    try:
        item.parse(text)
    except ValueError:
        return False
    return True
