"""The texts of the schema for the Python client: with its names, and without assumptions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from . import spec

# A code span of Markdown: as many backticks behind it as before it.
_CODE = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)")

# A name, or the way to a field: `pagination.nextToken`.
_PATH = re.compile(r"[A-Za-z]\w*(?:\.[A-Za-z]\w*)*", re.ASCII)

# From the mark to the end of the paragraph, or to the next item of a list.
_ASSUMPTION = re.compile(r"\s*\bASSUMPTION:.*?(?=\n\s*\n|\n\s*- |\Z)", re.DOTALL)


def in_python(api: spec.Api) -> spec.Api:
    """`api` with its texts as docstrings have them.

    A name in backticks that is the wire name of an operation or field becomes the client's name: `GetPrebuild` becomes
    `retrieve`, and `pagination.nextToken` becomes `pagination.next_token`. What the schema marks as an ASSUMPTION is
    left out.
    """
    names = _names(api)

    def told(text: str) -> str:
        return _translated(_ASSUMPTION.sub("", text).strip(), names)

    def text(item: spec.Message | spec.Enum | spec.Member) -> str:
        result = told(item.description)
        if item.deprecated and "deprecated" not in result.lower():
            return f"{result}\n\nDeprecated.".strip()
        return result

    def field(item: spec.Field) -> spec.Field:
        return replace(item, description=told(item.description))

    def operation(item: spec.Operation) -> spec.Operation:
        request, response = messages[item.request.name], messages[item.response.name]
        flatten = tuple(request.field(each.json_name) for each in item.flatten)
        return replace(
            item,
            summary=told(item.summary) or f"`{item.client_method}`.",
            description=told(item.description),
            request=request,
            response=response,
            flatten=flatten,
            keywords=tuple(spec.keywords_of(request, flatten, messages)),
            query=tuple(map(field, item.query)),
        )

    def enum(item: spec.Enum) -> spec.Enum:
        members = tuple(replace(member, description=text(member)) for member in item.members)
        return replace(item, description=text(item), members=members)

    messages = {
        name: replace(item, description=text(item), fields=tuple(map(field, item.fields)))
        for name, item in api.messages.items()
    }
    operations = {item.path: operation(item) for item in api.operations}
    services = (
        replace(item, operations=tuple(operations[each.path] for each in item.operations)) for item in api.services
    )
    return replace(
        api,
        description=told(api.description),
        services=tuple(services),
        operations=tuple(operations.values()),
        messages=messages,
        enums={name: enum(item) for name, item in api.enums.items()},
    )


def _names(api: spec.Api) -> dict[str, str]:
    """The client's name for each wire name of an operation or a field."""
    fields = [field for message in api.messages.values() for field in message.fields]
    fields += [field for operation in api.operations for field in operation.query]
    names = {field.json_name: field.name for field in fields}
    names |= {operation.name: operation.client_method for operation in api.operations}
    # A message or an enum has the same name in Python.
    return {wire: name for wire, name in names.items() if wire not in api.messages and wire not in api.enums}


def _translated(text: str, names: Mapping[str, str]) -> str:
    def code(match: re.Match[str]) -> str:
        ticks, inner = match.groups()
        if _PATH.fullmatch(inner):
            inner = ".".join(names.get(part, part) for part in inner.split("."))
        return f"{ticks}{inner}{ticks}"

    return _CODE.sub(code, text)
