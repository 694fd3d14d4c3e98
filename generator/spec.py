"""The schema as the generator sees it: operations, messages, enums, formats.

`read` takes a document that `lint` has passed, and looks nothing up twice: templates, the descriptor set and the report
all work on these classes.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from .runtime.wire import base

Kind = Literal["string", "integer", "boolean", "number", "timestamp", "enum", "message", "json"]

# The wire type of each format. Formats declared in `x-formats` are resolved to their base first.
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
    """One field of a message. `type` is the component's name where `kind` is `enum` or `message`.

    `name` is the attribute of the client's model, `wire_name` the attribute of the server's model.
    """

    json_name: str
    name: str
    wire_name: str
    protobuf_name: str
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
    """An object schema. `protobuf_name` is None for an object outside the service's protobuf package."""

    name: str
    module: str
    protobuf_name: str | None
    description: str
    fields: tuple[Field, ...]
    ordered: tuple[tuple[str, str], ...]
    deprecated: bool

    @property
    def required_fields(self) -> tuple[Field, ...]:
        """The required fields."""
        return tuple(field for field in self.fields if field.required)

    def field(self, json_name: str) -> Field:
        """The field with that name; it must exist."""
        return next(field for field in self.fields if field.json_name == json_name)


@dataclass(frozen=True)
class Member:
    """A member of an enum: its name in Python, its value in JSON, and its protobuf number."""

    name: str
    value: str
    number: int | None
    description: str
    http_status: int | None
    deprecated: bool


@dataclass(frozen=True)
class Enum:
    """An enum schema. `phase_classes` maps the name of a class to the values in it."""

    name: str
    module: str
    protobuf_name: str | None
    description: str
    members: tuple[Member, ...]
    phase_classes: dict[str, tuple[str, ...]]
    deprecated: bool

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
class Keyword:
    """A keyword of a client method: a field of the request, or of its field `outer`."""

    name: str
    field: Field
    outer: Field | None = None


@dataclass(frozen=True)
class Operation:
    """One method of a service. `constant` is its name in `operations`, `page` the name of its class in `pages`."""

    name: str
    module: str
    constant: str
    page: str
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
    keywords: tuple[Keyword, ...]
    query: tuple[Field, ...]

    @property
    def service(self) -> str:
        """The name of its service, below the package."""
        return self.path.split("/")[1].rpartition(".")[2]


@dataclass(frozen=True)
class Service:
    """One service. `attribute` is its name on the client, `module` the folder of its endpoint functions."""

    name: str
    attribute: str
    resource: str
    module: str
    operations: tuple[Operation, ...]


@dataclass(frozen=True)
class Api:
    """The whole schema. The client's overlay is written for the first service."""

    title: str
    version: str
    description: str
    package: str
    servers: tuple[str, ...]
    services: tuple[Service, ...]
    operations: tuple[Operation, ...]
    messages: dict[str, Message]
    enums: dict[str, Enum]
    formats: dict[str, Format]

    @property
    def service(self) -> str:
        """The name of the first service."""
        return self.services[0].name if self.services else ""

    def inner_first(self) -> list[Message]:
        """All messages, each after the messages that it contains, except in cycles."""
        done: dict[str, Message] = {}

        def visit(message: Message, trail: tuple[str, ...]) -> None:
            for field in message.fields:
                if field.kind == "message" and field.type not in done and field.type not in trail:
                    visit(self.messages[field.type], (*trail, field.type))
            done.setdefault(message.name, message)

        for message in self.messages.values():
            visit(message, (message.name,))
        return list(done.values())

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


# Names that annotations of generated code use, or that every model defines. All other names in generated code begin
# with an underscore or a capital letter, and no field name does.
_TAKEN_NAMES = (
    "bool", "bytes", "datetime", "dict", "float", "int", "list", "str",
    "additional_properties", "from_dict", "self", "to_dict", "to_json",
)  # fmt: skip

# Keywords that every client method takes, and the parameters of every endpoint function.
OPTION_NAMES = ("timeout", "retries", "headers", "extra_body", "on_attempt", "options", "request_")
_ENDPOINT_NAMES = ("client", "body")

# Attributes of pydantic's models; a field of that name would hide one.
_WIRE_NAMES = frozenset(name for name in dir(base.OrderedMessage) if not name.startswith("_"))


def snake_case(name: str) -> str:
    """`snapshotSizeBytes` -> `snapshot_size_bytes`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def python_name(name: str) -> str:
    """`snapshotSizeBytes` -> `snapshot_size_bytes`; a name that Python code cannot use is changed so that it can.

    Underscores in front are left out, because a name that begins with one is private; a digit in front gets a letter.
    A name that means something else in generated code gets an underscore behind it.
    """
    result = re.sub(r"\W", "_", snake_case(name), flags=re.ASCII).lstrip("_")
    if not result or result[0].isdigit():
        result = f"field_{result}"
    return f"{result}_" if keyword.iskeyword(result) or result in _TAKEN_NAMES else result


def camel_case(name: str) -> str:
    """The name of a field in JSON by protobuf's rule: `snapshot_size_bytes` -> `snapshotSizeBytes`."""
    first, *rest = name.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)


def protobuf_name(json_name: str) -> str:
    """The name of a field in protobuf, where the schema does not say it."""
    name = snake_case(json_name)
    return name if camel_case(name) == json_name else json_name


def unique(name: str, taken: Collection[str]) -> str:
    """`name` with enough trailing underscores to differ from the names in `taken`."""
    while name in taken:
        name += "_"
    return name


def read(document: dict[str, Any]) -> Api:
    """The API that `document` describes.

    Raises:
        KeyError, TypeError: the document has not passed `lint`.
    """
    schemas: dict[str, dict[str, Any]] = document["components"]["schemas"]
    modules = _modules(schemas)
    enums = {name: _enum(name, modules[name], schema) for name, schema in schemas.items() if "enum" in schema}
    messages = {
        name: _message(name, modules[name], schema, enums) for name, schema in schemas.items() if "enum" not in schema
    }
    operations = _operations(document, messages, enums)
    info = document["info"]
    return Api(
        title=info["title"],
        version=info["version"],
        description=_text(info),
        package=document.get("x-protobuf-package", ""),
        servers=tuple(server["url"] for server in document.get("servers", [])),
        services=tuple(_services(document, operations)),
        operations=tuple(operations),
        messages=messages,
        enums=enums,
        formats={
            name: Format(name, item["base"], item.get("minimum"), item.get("maximum"), _text(item))
            for name, item in document.get("x-formats", {}).items()
        },
    )


def service_attribute(service: str) -> str:
    """The name of a service on the client: `ProjectService` -> `projects`."""
    name = python_name(service.removesuffix("Service") or service).rstrip("_")
    if re.search(r"[^aeiou]y$", name):
        return f"{name[:-1]}ies"
    return f"{name}es" if re.search(r"(s|x|z|ch|sh)$", name) else f"{name}s"


def _services(document: dict[str, Any], operations: list[Operation]) -> Iterator[Service]:
    attributes = {tag["name"]: tag.get("x-client-resource") for tag in document.get("tags", [])}
    tags = {path.split("/")[1].rpartition(".")[2]: item["post"]["tags"][0] for path, item in document["paths"].items()}
    modules: set[str] = set()
    for name, tag in tags.items():
        module = unique(python_name(name), modules)
        modules.add(module)
        attribute = attributes.get(tag) or service_attribute(name)
        resource = "".join(part[:1].upper() + part[1:] for part in attribute.split("_"))
        own = tuple(operation for operation in operations if operation.service == name)
        yield Service(name, attribute, f"{resource}Resource", module, own)


def _modules(names: Iterable[str]) -> dict[str, str]:
    """The module of each component: `PrebuildSpec` -> `prebuild_spec`."""
    result: dict[str, str] = {}
    for name in names:
        result[name] = unique(python_name(name), result.values())
    return result


def _text(item: dict[str, Any]) -> str:
    return str(item.get("description", "")).strip()


def _operations(document: dict[str, Any], messages: dict[str, Message], enums: dict[str, Enum]) -> list[Operation]:
    result: list[Operation] = []
    parameters = document["components"].get("parameters", {})
    pages = {"AsyncListing", "AsyncPage", "AsyncPager", "Page", "Pager"}
    modules = {"operations"}
    for path, item in document["paths"].items():
        post = item["post"]
        module = unique(python_name(post["operationId"]), modules)
        modules.add(module)
        page = unique(f"{post['operationId'].removeprefix('List')}Page", pages)
        pages |= {page, f"Async{page}"}
        query = _query(post.get("parameters", []), parameters, enums)
        result.append(_operation(path, post, messages, module, page, query))
    return result


def _operation(
    path: str, item: dict[str, Any], messages: dict[str, Message], module: str, page: str, query: tuple[Field, ...]
) -> Operation:
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
    flatten = tuple(request.field(name) for name in item.get("x-flatten", []))
    return Operation(
        name=item["operationId"],
        module=module,
        constant=module.upper(),
        page=page,
        path=path,
        client_method=item["x-client-method"],
        idempotency=item["x-idempotency"],
        request=request,
        response=response,
        summary=item.get("summary", "").strip(),
        description=_text(item),
        deprecated=bool(item.get("deprecated")),
        paging=paging,
        flatten=flatten,
        keywords=tuple(keywords_of(request, flatten, messages)),
        query=query,
    )


def keywords_of(request: Message, flatten: tuple[Field, ...], messages: Mapping[str, Message]) -> Iterator[Keyword]:
    """The keywords of a client method: the fields of its request, and of flattened fields.

    If the name of a flattened field is taken, its keyword combines both names: `filter_token`.
    """
    taken: set[str] = set(OPTION_NAMES)
    for field in request.fields:
        name = unique(field.name, taken)
        taken.add(name)
        yield Keyword(name, field)
    for outer in flatten:
        for field in messages[outer.type].fields:
            name = field.name if field.name not in taken else unique(f"{outer.name}_{field.name}", taken)
            taken.add(name)
            yield Keyword(name, field, outer)


def _query(entries: list[dict[str, Any]], parameters: dict[str, Any], enums: dict[str, Enum]) -> tuple[Field, ...]:
    result: list[Field] = []
    for entry in entries:
        field = _parameter(entry, parameters, enums)
        taken = {*_ENDPOINT_NAMES, *(each.name for each in result)}
        result.append(replace(field, name=unique(field.name, taken)))
    return tuple(result)


def _parameter(entry: dict[str, Any], parameters: dict[str, Any], enums: dict[str, Enum]) -> Field:
    entry = parameters[_component(entry["$ref"])] if "$ref" in entry else entry
    schema = entry["schema"] | {"description": entry.get("description", ""), "deprecated": entry.get("deprecated")}
    return _field(entry["name"], schema, bool(entry.get("required")), enums)


def _message(name: str, module: str, schema: dict[str, Any], enums: dict[str, Enum]) -> Message:
    required = schema.get("required", [])
    fields = [
        _field(json_name, item, json_name in required, enums)
        for json_name, item in schema.get("properties", {}).items()
    ]
    ordered = tuple((low, high) for low, high in schema.get("x-ordered", []))
    return Message(
        name,
        module,
        schema.get("x-protobuf-message"),
        _text(schema),
        _distinct(fields),
        ordered,
        bool(schema.get("deprecated")),
    )


def _distinct(fields: list[Field]) -> tuple[Field, ...]:
    """`fields` with unique attribute names. Of two equal names, the field with the lower number keeps its name."""
    names: dict[str, str] = {}
    wire_names: dict[str, str] = {}
    for field in sorted(fields, key=lambda field: (field.number or 0, field.json_name)):
        name = names[field.json_name] = unique(field.name, names.values())
        wire_names[field.json_name] = unique(name, _WIRE_NAMES | set(wire_names.values()))
    return tuple(replace(field, name=names[field.json_name], wire_name=wire_names[field.json_name]) for field in fields)


def _field(json_name: str, item: dict[str, Any], required: bool, enums: dict[str, Enum]) -> Field:
    repeated = item.get("type") == "array"
    mapped = item.get("type") == "object"
    value = item["items"] if repeated else item["additionalProperties"] if mapped else item
    kind, type_name, format_name = _kind(value, enums)
    own = ("minItems", "maxItems", "minProperties", "maxProperties")
    inner = ("minimum", "maximum", "minLength", "maxLength")
    bounds: dict[str, int | float] = {key: item[key] for key in own if key in item}
    bounds.update({key: value[key] for key in inner if key in value})
    name = python_name(item.get("x-protobuf-name", json_name))
    return Field(
        json_name=json_name,
        name=name,
        wire_name=name,
        protobuf_name=item.get("x-protobuf-name") or protobuf_name(json_name),
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


def _enum(name: str, module: str, schema: dict[str, Any]) -> Enum:
    values: list[str] = schema["enum"]
    numbers = schema.get("x-enum-numbers", {})
    texts = schema.get("x-enum-descriptions", {})
    statuses = schema.get("x-http-status", {})
    names = _member_names(values)
    members = tuple(
        Member(
            name=names[value],
            value=value,
            number=numbers.get(value),
            description=str(texts.get(value, "")).strip(),
            http_status=statuses.get(value),
            deprecated=value in schema.get("x-enum-deprecated", []),
        )
        for value in values
    )
    classes = {key: tuple(group) for key, group in schema.get("x-phase-classes", {}).items()}
    return Enum(
        name, module, schema.get("x-protobuf-enum"), _text(schema), members, classes, bool(schema.get("deprecated"))
    )


def _member_names(values: list[str]) -> dict[str, str]:
    """The Python name of each member: in capitals, without the words that all members begin with."""
    prefix = _shared_prefix(values)
    names: dict[str, str] = {}
    for value in values:
        name = _member_name(value.removeprefix(prefix))
        if not name or name[0].isdigit():
            name = _member_name(value) or "MEMBER"
        if name[0].isdigit():
            name = f"MEMBER_{name}"
        names[value] = unique(name, names.values())
    return names


def _shared_prefix(values: list[str]) -> str:
    """The words that all members of a protobuf enum begin with: `PREBUILD_PHASE_`."""
    prefix = values[0]
    for value in values:
        while not value.startswith(prefix):
            prefix = prefix[:-1]
    return prefix[: prefix.rfind("_") + 1] if len(values) > 1 else ""


def _member_name(text: str) -> str:
    return re.sub(r"\W", "_", text, flags=re.ASCII).upper().strip("_")


def _component(reference: str) -> str:
    return reference.rpartition("/")[2]
