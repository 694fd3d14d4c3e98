"""The skeleton of the schema for openapi-python-client: its elements, under names that it cannot change."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from . import spec


@dataclass(frozen=True)
class Skeleton:
    """An OpenAPI document without texts and fields, and the meaning of its names."""

    document: dict[str, Any]
    components: dict[str, str] = field(default_factory=dict[str, str])
    """The component of each class that openapi-python-client writes."""
    modules: dict[str, str] = field(default_factory=dict[str, str])
    """The module of each component."""
    services: dict[str, spec.Service] = field(default_factory=dict[str, spec.Service])
    """The service of each folder that openapi-python-client writes."""
    operations: dict[str, str] = field(default_factory=dict[str, str])
    """The placeholder of each method, by its path."""

    def placeholder(self, operation: spec.Operation) -> str:
        """The module that openapi-python-client writes for a method."""
        return self.operations[operation.path]


def build(api: spec.Api) -> Skeleton:
    """The skeleton of `api`."""
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "skeleton", "version": "0"},
        "paths": {},
        "components": {"schemas": {}},
    }
    result = Skeleton(document)
    schemas = document["components"]["schemas"]
    references: dict[str, dict[str, str]] = {}
    components: list[spec.Message | spec.Enum] = [*api.messages.values(), *api.enums.values()]
    for number, component in enumerate(components):
        name = f"C{_letters(number)}"
        is_enum = isinstance(component, spec.Enum)
        schemas[name] = {"type": "string", "enum": ["member"]} if is_enum else {"type": "object"}
        references[component.name] = {"$ref": f"#/components/schemas/{name}"}
        result.components[name] = component.name
        result.modules[component.name] = component.module
    for number, service in enumerate(api.services):
        tag = f"s{_letters(number)}"
        result.services[tag] = service
        for operation in service.operations:
            name = f"o{_letters(len(result.operations))}"
            result.operations[operation.path] = name
            document["paths"][operation.path] = {"post": _operation(name, tag, references, operation)}
    return result


def _operation(name: str, tag: str, references: dict[str, dict[str, str]], operation: spec.Operation) -> dict[str, Any]:
    def content(message: spec.Message) -> dict[str, Any]:
        return {"application/json": {"schema": references[message.name]}}

    return {
        "operationId": name,
        "tags": [tag],
        "requestBody": {"required": True, "content": content(operation.request)},
        "responses": {"200": {"description": "", "content": content(operation.response)}},
    }


def _letters(number: int) -> str:
    """`number` in letters: openapi-python-client takes names apart at digits and capitals."""
    text = ""
    while number >= 0:
        number, digit = divmod(number, 26)
        text = chr(ord("a") + digit) + text
        number -= 1
    return f"x{text}x"
