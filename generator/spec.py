"""The schema as the generator sees it: operations, messages, enums, formats.

`read` takes a document that `lint` has passed, and looks nothing up twice: templates, the descriptor set and the report
all work on these classes.
"""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["string", "integer", "boolean", "number", "timestamp", "enum", "message", "json"]

# What a format means on the wire. Formats declared in `x-formats` are resolved to their base first.
STRING_FORMATS = ("int64", "uint64", "date-time", "uuid", "uri", "byte", "protobuf-duration")
NUMBER_FORMATS = {"int32": "integer", "uint32": "integer", "float": "number", "double": "number"}


@dataclass(frozen=True)
class Format:
    """A format of `x-formats`: `base` with inclusive bounds, each a value of the base format."""

    name: str
    base: str
    minimum: str | None
    maximum: str | None
    description: str


@dataclass(frozen=True)
class Field:
    """One field of a message. `type` is the component's name where `kind` is `enum` or `message`."""

    json_name: str
    name: str
    kind: Kind
    type: str
    format: str
    repeated: bool
    mapped: bool
    required: bool
    explicit: bool
    number: int | None
    description: str
    deprecated: bool
    ignore_zero: bool
    always_set: bool
    secret: bool
    bounds: dict[str, int | float]


@dataclass(frozen=True)
class Message:
    """An object schema. `protobuf_name` is None for what is not of the service's protobuf package."""

    name: str
    protobuf_name: str | None
    description: str
    fields: tuple[Field, ...]
    ordered: tuple[tuple[str, str], ...]

    @property
    def required_fields(self) -> tuple[Field, ...]:
        """The fields that have to be there."""
        return tuple(field for field in self.fields if field.required)

    def field(self, json_name: str) -> Field:
        """The field of that name; it has to exist."""
        return next(field for field in self.fields if field.json_name == json_name)


@dataclass(frozen=True)
class Member:
    """A member of an enum: its name in Python, its value in JSON, and its protobuf number."""

    name: str
    value: str
    number: int | None
    description: str
    http_status: int | None


@dataclass(frozen=True)
class Enum:
    """An enum schema. `phase_classes` maps the name of a class to the values in it."""

    name: str
    protobuf_name: str | None
    description: str
    members: tuple[Member, ...]
    phase_classes: dict[str, tuple[str, ...]]

    @property
    def zero(self) -> Member | None:
        """The member that stands for an absent value, where there is one."""
        return next((member for member in self.members if member.number == 0), None)


@dataclass(frozen=True)
class Paging:
    """Where a paged operation keeps its items and tokens: JSON names, outermost first."""

    items: str
    item_type: str
    size: tuple[str, ...]
    token: tuple[str, ...]
    next_token: tuple[str, ...]


@dataclass(frozen=True)
class Operation:
    """One method of the service."""

    name: str
    module: str
    path: str
    client_method: str
    idempotency: str
    request: Message
    response: Message
    summary: str
    description: str
    deprecated: bool
    paging: Paging | None
    flatten: tuple[Field, ...]
    query: tuple[Field, ...]


@dataclass(frozen=True)
class Api:
    """The whole schema."""

    title: str
    version: str
    description: str
    package: str
    service: str
    servers: tuple[str, ...]
    operations: tuple[Operation, ...]
    messages: dict[str, Message]
    enums: dict[str, Enum]
    formats: dict[str, Format]

    def reachable(self, *roots: Message) -> list[Message]:
        """The messages that `roots` contain, in the order of first use, without the roots."""
        found: list[Message] = []
        queue = list(roots)
        while queue:
            for item in queue.pop(0).fields:
                if item.kind == "message":
                    message = self.messages[item.type]
                    if message not in found and message not in roots:
                        found.append(message)
                        queue.append(message)
        return found


# What the generated code calls its types and modules: a field or parameter of that name would hide one.
_TAKEN_NAMES = ("bool", "datetime", "dict", "field", "float", "int", "list", "models", "params", "str")


def python_name(json_name: str) -> str:
    """`snapshotSizeBytes` -> `snapshot_size_bytes`; a name that Python code cannot use gets an underscore behind it."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", json_name).lower()
    return name + "_" if keyword.iskeyword(name) or name in _TAKEN_NAMES else name


def camel_case(name: str) -> str:
    """`snapshot_size_bytes` -> `snapshotSizeBytes`: the way back from `python_name`."""
    first, *rest = name.rstrip("_").split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)


def read(document: dict[str, Any]) -> Api:
    """The API that `document` describes.

    Raises:
        KeyError, TypeError: the document has not passed `lint`.
    """
    formats = {
        name: Format(name, item["base"], item.get("minimum"), item.get("maximum"), _text(item))
        for name, item in document.get("x-formats", {}).items()
    }
    schemas: dict[str, dict[str, Any]] = document["components"]["schemas"]
    enums = {name: _enum(name, schema) for name, schema in schemas.items() if "enum" in schema}
    messages = {name: _message(name, schema, enums) for name, schema in schemas.items() if "enum" not in schema}
    operations = [
        _operation(path, item["post"], messages, document["components"].get("parameters", {}))
        for path, item in document["paths"].items()
    ]
    package = document.get("x-protobuf-package", "")
    service = operations[0].path.split("/")[1].rpartition(".")[2] if operations else ""
    info = document["info"]
    return Api(
        title=info["title"],
        version=info["version"],
        description=_text(info),
        package=package,
        service=service,
        servers=tuple(server["url"] for server in document.get("servers", [])),
        operations=tuple(operations),
        messages=messages,
        enums=enums,
        formats=formats,
    )


def _text(item: dict[str, Any]) -> str:
    return str(item.get("description", "")).strip()


def _operation(path: str, item: dict[str, Any], messages: dict[str, Message], parameters: dict[str, Any]) -> Operation:
    request = messages[_component(item["requestBody"]["content"]["application/json"]["schema"]["$ref"])]
    content = item["responses"]["200"]["content"]["application/json"]
    response = messages[_component(content["schema"]["$ref"])]
    paging = None
    if "x-paging" in item:
        keys = item["x-paging"]
        paging = Paging(
            items=keys["items"],
            item_type=response.field(keys["items"]).type,
            size=tuple(keys["size"].split(".")),
            token=tuple(keys["token"].split(".")),
            next_token=tuple(keys["next_token"].split(".")),
        )
    return Operation(
        name=item["operationId"],
        module=python_name(item["operationId"]),
        path=path,
        client_method=item["x-client-method"],
        idempotency=item["x-idempotency"],
        request=request,
        response=response,
        summary=item.get("summary", "").strip(),
        description=_text(item),
        deprecated=bool(item.get("deprecated")),
        paging=paging,
        flatten=tuple(request.field(name) for name in item.get("x-flatten", [])),
        query=tuple(_parameter(entry, parameters) for entry in item.get("parameters", [])),
    )


def _parameter(entry: dict[str, Any], parameters: dict[str, Any]) -> Field:
    entry = parameters[_component(entry["$ref"])] if "$ref" in entry else entry
    schema = entry["schema"] | {"description": entry.get("description", "")}
    return _field(entry["name"], schema, bool(entry.get("required")), {})


def _message(name: str, schema: dict[str, Any], enums: dict[str, Enum]) -> Message:
    required = schema.get("required", [])
    fields = tuple(
        _field(json_name, item, json_name in required, enums)
        for json_name, item in schema.get("properties", {}).items()
    )
    ordered = tuple((low, high) for low, high in schema.get("x-ordered", []))
    return Message(name, schema.get("x-protobuf-message"), _text(schema), fields, ordered)


def _field(json_name: str, item: dict[str, Any], required: bool, enums: dict[str, Enum]) -> Field:
    repeated = item.get("type") == "array"
    mapped = item.get("type") == "object"
    value = item["items"] if repeated else item["additionalProperties"] if mapped else item
    kind, type_name, format_name = _kind(value, enums)
    own = ("minItems", "maxItems", "minProperties", "maxProperties")
    inner = ("minimum", "maximum", "minLength", "maxLength")
    bounds: dict[str, int | float] = {key: item[key] for key in own if key in item}
    bounds.update({key: value[key] for key in inner if key in value})
    return Field(
        json_name=json_name,
        name=python_name(json_name),
        kind=kind,
        type=type_name,
        format=format_name,
        repeated=repeated,
        mapped=mapped,
        required=required,
        explicit=item.get("x-presence") == "explicit" or (kind == "message" and not (repeated or mapped)),
        number=item.get("x-protobuf-number"),
        description=_text(item),
        deprecated=bool(item.get("deprecated")),
        ignore_zero=bool(item.get("x-ignore-zero")),
        always_set=bool(item.get("x-always-set")),
        secret=bool(item.get("x-secret")),
        bounds=bounds,
    )


def _kind(value: dict[str, Any], enums: dict[str, Enum]) -> tuple[Kind, str, str]:
    if "$ref" in value:
        component = _component(value["$ref"])
        return ("enum" if component in enums else "message"), component, ""
    kinds: dict[str | None, Kind] = {
        "string": "timestamp" if value.get("format") == "date-time" else "string",
        "integer": "integer",
        "number": "number",
        "boolean": "boolean",
        None: "json",
    }
    return kinds[value.get("type")], "", value.get("format", "")


def _enum(name: str, schema: dict[str, Any]) -> Enum:
    values: list[str] = schema["enum"]
    numbers = schema.get("x-enum-numbers", {})
    texts = schema.get("x-enum-descriptions", {})
    statuses = schema.get("x-http-status", {})
    prefix = _shared_prefix(values)
    members = tuple(
        Member(
            name=_member_name(value.removeprefix(prefix), value),
            value=value,
            number=numbers.get(value),
            description=str(texts.get(value, "")).strip(),
            http_status=statuses.get(value),
        )
        for value in values
    )
    classes = {key: tuple(group) for key, group in schema.get("x-phase-classes", {}).items()}
    return Enum(name, schema.get("x-protobuf-enum"), _text(schema), members, classes)


def _shared_prefix(values: list[str]) -> str:
    """The words that all members of a protobuf enum begin with: `PREBUILD_PHASE_`."""
    prefix = values[0]
    for value in values:
        while not value.startswith(prefix):
            prefix = prefix[:-1]
    return prefix[: prefix.rfind("_") + 1] if len(values) > 1 else ""


def _member_name(short: str, value: str) -> str:
    name = re.sub(r"\W", "_", short).upper()
    return name if name.isidentifier() and not keyword.iskeyword(name) else re.sub(r"\W", "_", value).upper()


def _component(reference: str) -> str:
    return reference.rpartition("/")[2]
