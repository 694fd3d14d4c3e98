"""The rules of services and methods."""

from __future__ import annotations

import builtins
import keyword
import re
from typing import Any

from . import spec
from .document import join
from .findings import Findings, component
from .lint_schemas import parameter

# Methods that the overlay adds to the first service; a schema method with the same name would be hidden.
HELPER_METHODS = (
    "cancel_active", "create_and_wait", "ensure_warm_pool", "latest", "logs", "prune", "wait", "wait_all",
    "wait_warm_pool", "watch",
)  # fmt: skip

# The attributes of both clients in addition to the services.
CLIENT_NAMES = (
    "aclose", "base_url", "close", "get_async_httpx_client", "get_httpx_client", "is_closed", "prebuilds",
    "with_options",
)  # fmt: skip

# Names that the signatures of the client's methods use.
_SIGNATURE_NAMES = ("bool", "bytes", "datetime", "dict", "float", "int", "str")

_PATH = re.compile(r"/(?P<service>[A-Za-z_][A-Za-z0-9_.]*)/(?P<method>[A-Za-z_][A-Za-z0-9_]*)", re.ASCII)
_NONE: frozenset[str] = frozenset()


def shape(findings: Findings) -> None:
    """The permitted keywords in each place: later checks rely on them."""
    for name, item in findings.data["components"].get("responses", {}).items():
        _response(findings, item, join("#/components/responses", name))
    if not findings.data["paths"]:
        findings.add("#/paths", "at least one method is expected")
    for name, item in findings.data["paths"].items():
        pointer = join("#/paths", name)
        match = _PATH.fullmatch(name)
        if not match or match["service"].startswith(".") or ".." in match["service"]:
            findings.add(pointer, "a path is /<package>.<Service>/<Method>")
            continue
        package = match["service"].rpartition(".")[0]
        expected = findings.data.get("x-protobuf-package", "")
        if package != expected:
            findings.add(pointer, f"the package of the path is {package!r}, x-protobuf-package says {expected!r}")
        operation = item["post"]
        if operation["operationId"] != match["method"]:
            reason = f"{operation['operationId']!r} is not the method of the path, {match['method']!r}"
            findings.add(join(pointer, "post", "operationId"), reason)
        _operation(findings, operation, join(pointer, "post"))
    if not findings.problems:
        _services(findings)


def named_fields(findings: Findings) -> None:
    """Whether the fields are there that `x-flatten` and `x-paging` name."""
    for path, item in findings.data["paths"].items():
        operation, pointer = item["post"], join("#/paths", path, "post")
        request = component(operation["requestBody"]["content"]["application/json"]["schema"]["$ref"])
        response = component(operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"])
        for role, name in (("requestBody", request), ("responses", response)):
            if "x-protobuf-message" not in findings.schemas[name]:
                findings.add(
                    join(pointer, role), f"{name} has no x-protobuf-message, which requests and responses have"
                )
        for index, name in enumerate(operation.get("x-flatten", [])):
            place = join(pointer, "x-flatten", index)
            target = _named_field(findings, request, name, place)
            if target is not None and ("$ref" not in target or "enum" in findings.schemas[component(target["$ref"])]):
                findings.add(place, f"{name!r} is not a message")
            if name in operation["x-flatten"][:index]:
                findings.add(place, f"{name!r} stands here twice")
        for key, name in operation.get("x-paging", {}).items():
            if key == "items" and "." in name:
                findings.add(join(pointer, "x-paging", key), f"{name!r} is not a field of the response itself")
                continue
            _named_field(
                findings, request if key in ("size", "token") else response, name, join(pointer, "x-paging", key)
            )


def meaning(findings: Findings, api: spec.Api) -> None:
    """Whether the keywords of methods are consistent."""
    _relied_upon(findings, api)
    for operation in api.operations:
        if operation.paging:
            _paging(findings, operation, operation.paging, join("#/paths", operation.path, "post", "x-paging"), api)


def _relied_upon(findings: Findings, api: spec.Api) -> None:
    """Protobuf JSON leaves zero values out: of a response, only messages can be relied upon."""
    responses = [operation.response for operation in api.operations]
    for message in dict.fromkeys(
        [*(each.name for each in responses), *(each.name for each in api.reachable(*responses))]
    ):
        for index, name in enumerate(findings.schemas[message].get("required", [])):
            field = api.messages[message].field(name)
            if field.kind not in ("message", "timestamp") or field.repeated or field.mapped:
                findings.add(
                    join("#/components/schemas", message, "required", index),
                    f"{message} is part of a response, which leaves out zero values: {name!r} can be absent. "
                    "Say x-always-set at the field instead",
                )


def _operation(findings: Findings, operation: dict[str, Any], pointer: str) -> None:
    names: set[str] = set()
    for index, item in enumerate(operation.get("parameters", [])):
        place = join(pointer, "parameters", index)
        if findings.reference(item, place, "parameters", _NONE):
            item = findings.data["components"].get("parameters", {}).get(component(item["$ref"]), {})
        else:
            parameter(findings, item, place)
        if item.get("name", "") in names:
            findings.add(place, f"there is a parameter {item['name']!r} already")
        names.add(item.get("name", ""))
    body = join(pointer, "requestBody", "content", "application/json")
    _media(findings, operation["requestBody"]["content"]["application/json"], body)
    responses = operation["responses"]
    place = join(pointer, "responses")
    for status in ("200", "415", "default"):
        if status not in responses:
            findings.add(place, f"the responses '200', '415' and default are expected: {status} is missing")
    for status, response in responses.items():
        if not re.fullmatch(r"default|[1-5][0-9][0-9]", status):
            findings.add(join(place, status), f"{status!r} is not an HTTP status")
        if not findings.reference(response, join(place, status), "responses", _NONE):
            _response(findings, response, join(place, status))
    if "content" not in responses.get("200", {"content": None}):
        findings.add(join(place, "200"), "the successful response stands here itself, with content")


def _response(findings: Findings, value: dict[str, Any], pointer: str) -> None:
    if "$ref" in value:
        findings.add(join(pointer, "$ref"), "a response here stands itself, and is not a $ref")
        return
    if "description" not in value:
        findings.add(pointer, "'description' is missing")
    if "content" in value:
        _media(findings, value["content"]["application/json"], join(pointer, "content", "application/json"))


def _media(findings: Findings, value: dict[str, Any], pointer: str) -> None:
    findings.reference(value["schema"], join(pointer, "schema"), "schemas", _NONE)
    target = findings.schemas.get(component(value["schema"]["$ref"]), {})
    if target.get("type") == "string":
        findings.add(join(pointer, "schema"), "a reference to a message is expected, this is an enum")
    for name, example in value.get("examples", {}).items():
        place = join(pointer, "examples", name)
        if not findings.reference(example, place, "examples", _NONE) and "value" not in example:
            findings.add(place, "'value' is missing")


def _services(findings: Findings) -> None:
    tags: dict[str, str] = {}
    names = {tag["name"]: tag for tag in findings.data.get("tags", [])}
    methods: dict[tuple[str, str], str] = {}
    operations: dict[str, str] = {}
    for path, item in findings.data["paths"].items():
        operation, pointer = item["post"], join("#/paths", path, "post")
        service = path.split("/")[1].rpartition(".")[2]
        tag = operation["tags"][0]
        if tags.setdefault(service, tag) != tag:
            findings.add(
                join(pointer, "tags"), f"the methods of {service} have one tag, {tags[service]!r} and {tag!r} found"
            )
        if names and tag not in names:
            findings.add(join(pointer, "tags"), f"{tag!r} is not one of the document's tags: {', '.join(names)}")
        name = operation["operationId"]
        if name in operations:
            findings.add(join(pointer, "operationId"), f"there is a method {name} already, at {operations[name]}")
        operations.setdefault(name, path)
        _client_method(findings, operation, join(pointer, "x-client-method"), service == next(iter(tags)))
        key = service, operation["x-client-method"]
        if key in methods:
            reason = f"the client has a method {key[1]!r} already, for {methods[key]}"
            findings.add(join(pointer, "x-client-method"), reason)
        methods.setdefault(key, name)
    _service_names(findings, tags, names)


def _service_names(findings: Findings, tags: dict[str, str], names: dict[str, dict[str, Any]]) -> None:
    attributes: dict[str, str] = {}
    for number, (service, tag) in enumerate(tags.items()):
        if tag in list(tags.values())[:number]:
            findings.add("#/tags", f"the tag {tag!r} is that of two services")
        attribute = names.get(tag, {}).get("x-client-resource") or spec.service_attribute(service)
        path = next(path for path in findings.data["paths"] if path.split("/")[1].rpartition(".")[2] == service)
        pointer = join("#/paths", path)
        if keyword.iskeyword(attribute):
            findings.add(
                pointer, f"client.{attribute} is a keyword of Python: name it with x-client-resource at its tag"
            )
        if number and attribute in CLIENT_NAMES:
            findings.add(pointer, f"client.{attribute} is the client's own: name it with x-client-resource at its tag")
        if attribute in attributes:
            reason = f"client.{attribute} is {attributes[attribute]} already: name it with x-client-resource at its tag"
            findings.add(pointer, reason)
        attributes.setdefault(attribute, service)


def _client_method(findings: Findings, operation: dict[str, Any], pointer: str, has_helpers: bool) -> None:
    method = operation["x-client-method"]
    if keyword.iskeyword(method):
        findings.add(pointer, f"{method!r} is a keyword of Python")
    elif has_helpers and method in HELPER_METHODS:
        findings.add(pointer, f"{method!r} is a helper of the client, which would hide this method")
    elif method in _SIGNATURE_NAMES:
        kind = "a builtin" if hasattr(builtins, method) else "a type"
        findings.add(pointer, f"{method!r} is {kind} that the signatures of the client's methods use")


def _named_field(findings: Findings, message: str, path: str, pointer: str) -> dict[str, Any] | None:
    item: dict[str, Any] = {}
    for name in path.split("."):
        properties = findings.schemas.get(message, {}).get("properties", {})
        if name not in properties:
            findings.add(pointer, f"{message or path} has no field {name!r}")
            return None
        item = properties[name]
        message = component(item.get("$ref", ""))
    return item


def _paging(findings: Findings, operation: spec.Operation, paging: spec.Paging, pointer: str, api: spec.Api) -> None:
    items = operation.response.field(paging.items) if "." not in paging.items else None
    if items is None or items.kind != "message" or not items.repeated:
        findings.add(join(pointer, "items"), f"{paging.items!r} is not a list of messages")
    for key, message, path, kind in (
        ("size", operation.request, paging.size, "integer"),
        ("token", operation.request, paging.token, "string"),
        ("next_token", operation.response, paging.next_token, "string"),
    ):
        first, *inner = path
        if len(inner) > 1:
            findings.add(join(pointer, key), "a field, or a field of a field, is expected")
            continue
        field = message.field(first)
        if inner and field.kind == "message" and not (field.repeated or field.mapped):
            if key != "next_token" and api.messages[field.type].required_fields:
                findings.add(
                    join(pointer, key), f"{field.type} has required fields, so that it cannot be made for a token"
                )
            field = api.messages[field.type].field(inner[0])
        if field.kind != kind or field.repeated or field.mapped:
            findings.add(
                join(pointer, key), f"{'.'.join(path)} is not {'an integer' if kind == 'integer' else 'a string'}"
            )
