"""Stage `lint`: is the schema one that all later stages understand, and consistent with itself?

The rules are a closed world: a key that is not listed here is an error, because a tool further down would drop it
without a word. `schema/README.md` documents the vocabulary.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from typing import Any

from . import examples, spec
from .document import Document, is_list, is_mapping, join
from .problems import PipelineError, Problem
from .runtime.scalars import PARSERS

IDEMPOTENCY = ("no_side_effects", "idempotent", "unsafe")
PHASE_CLASSES = ("unspecified", "active", "deleting", "terminal")

# Keywords that every client method takes, and what the generated classes define themselves.
OPTION_NAMES = ("timeout", "retries", "headers", "extra_body", "on_attempt", "self", "options")
# Methods that the overlay adds to those of the schema; one of the schema would be hidden by it.
HELPER_METHODS = (
    "cancel_active", "create_and_wait", "ensure_warm_pool", "latest", "logs", "prune", "wait", "wait_all",
    "wait_warm_pool", "watch",
)  # fmt: skip

MODEL_NAMES = ("additional_properties", "from_dict", "to_dict", "to_json", "self")

# Classes that the generated modules import or define beside those of the schema.
CLASS_NAMES = (
    "Annotated", "Any", "AnyResponse", "AsyncHttpxProvider", "AsyncListing", "AsyncPage", "AsyncPager",
    "Attempt", "AuthenticatedClient", "CallOptions", "Callable", "Client", "CodeEnum", "ConfigDict",
    "DecodeError", "Field", "Generic", "HTTPStatus", "Headers", "HttpxProvider", "Int32", "Int64", "Literal",
    "Mapping", "Message", "Model", "OpenEnum", "Operation", "OrderedMessage", "Page", "PagedOperation", "Pager",
    "ProtobufEnum", "Protocol", "RawResponse", "Required", "Response", "Self", "Sequence", "StrEnum",
    "Timestamp", "TypedDict", "Uint32", "Uint64", "Unpack", "Uri", "Uuid",
)  # fmt: skip

_NONE: frozenset[str] = frozenset()

_DOCUMENT = {
    "openapi",
    "info",
    "servers",
    "security",
    "tags",
    "paths",
    "components",
    "x-protobuf-package",
    "x-formats",
}
_INFO = {"title", "version", "description", "contact", "license", "summary", "termsOfService"}
_COMPONENTS = {"securitySchemes", "parameters", "responses", "schemas", "examples"}
_OPERATION = {
    "operationId", "tags", "summary", "description", "deprecated", "parameters", "requestBody", "responses", "security",
    "x-client-method", "x-idempotency", "x-paging", "x-flatten",
}  # fmt: skip
_PARAMETER = {"name", "in", "required", "description", "schema", "deprecated"}
_BODY = {"required", "content", "description"}
_RESPONSE = {"description", "content"}
_MEDIA = {"schema", "examples"}
_EXAMPLE = {"summary", "description", "value"}
_PAGING = {"items", "size", "token", "next_token"}
_FORMAT = {"base", "minimum", "maximum", "description"}

_MESSAGE = {"type", "description", "required", "properties", "x-protobuf-message", "x-ordered"}
_ENUM = {
    "type", "enum", "description", "x-protobuf-enum", "x-enum-numbers", "x-enum-descriptions", "x-phase-classes",
    "x-http-status",
}  # fmt: skip
_FIELD = {
    "description",
    "deprecated",
    "x-protobuf-number",
    "x-presence",
    "x-ignore-zero",
    "x-always-set",
    "x-secret",
}
_BOUNDS: dict[str | None, set[str]] = {
    "string": {"minLength", "maxLength"},
    "integer": {"minimum", "maximum"},
    "number": {"minimum", "maximum"},
    "boolean": set(),
    "array": {"minItems", "maxItems"},
    "object": {"minProperties", "maxProperties"},
    None: set(),
}
_COMPOSITION = (
    "oneOf",
    "anyOf",
    "allOf",
    "not",
    "nullable",
    "const",
    "discriminator",
    "patternProperties",
)

_OPERATION_PATH = re.compile(r"/(?P<service>[A-Za-z_][\w.]*)/(?P<method>[A-Z]\w*)")
_CAMEL = re.compile(r"[a-z][a-zA-Z0-9]*")
_PASCAL = re.compile(r"[A-Z][a-zA-Z0-9]*")
_SNAKE = re.compile(r"[a-z][a-z0-9_]*")


def lint(document: Document) -> spec.Api:
    """The API that `document` describes, if there is nothing wrong with it.

    Raises:
        PipelineError: with everything that is wrong.
    """
    linter = _Linter(document)
    problems = linter.shape() or linter.meaning()
    if problems:
        raise PipelineError("lint", problems)
    return spec.read(document.data)


class _Linter:
    def __init__(self, document: Document) -> None:
        self.document = document
        self.data = document.data
        self.problems: list[Problem] = []
        self.formats: dict[str, Any] = {}

    def add(self, pointer: str, reason: str) -> None:
        self.problems.append(self.document.problem(pointer, reason))

    # -- What may stand where: later checks rely on it. ----------------------------------------------------------------

    def shape(self) -> list[Problem]:
        self.mapping(self.data, "#", _DOCUMENT, {"openapi", "info", "paths", "components"})
        if self.problems:
            return self.problems
        if not str(self.data["openapi"]).startswith("3.1."):
            self.add("#/openapi", f"OpenAPI 3.1 is expected, this says {self.data['openapi']}")
        self.mapping(self.data["info"], "#/info", _INFO, {"title", "version"})
        components = self.data["components"]
        if self.mapping(components, "#/components", _COMPONENTS, {"schemas"}):
            self.each(components.get("parameters", {}), "#/components/parameters", self.parameter)
            self.each(components.get("responses", {}), "#/components/responses", self.response)
            self.each(components.get("examples", {}), "#/components/examples", self.example)
            self.each(self.data.get("x-formats", {}), "#/x-formats", self.format)
            self.each(components["schemas"], "#/components/schemas", self.component)
        self.each(self.data["paths"], "#/paths", self.path)
        return self.problems

    def mapping(self, value: Any, pointer: str, allowed: AbstractSet[str], needed: AbstractSet[str] = _NONE) -> bool:
        if not is_mapping(value):
            self.add(pointer, "a mapping is expected here")
            return False
        for key in value:
            if key in allowed:
                continue
            if key in _COMPOSITION:
                reason = f"{key!r} is not supported: the generators would drop it"
            elif key.startswith("x-"):
                reason = f"unknown key {key!r}: schema/README.md lists the x- keys"
            else:
                reason = f"{key!r} is not supported here: expected {', '.join(sorted(allowed))}"
            self.add(join(pointer, key), reason)
        for key in sorted(needed - value.keys()):
            self.add(pointer, f"{key!r} is missing")
        return needed <= value.keys()

    def each(self, value: Any, pointer: str, check: Callable[[Any, str, str], None]) -> None:
        if not is_mapping(value):
            self.add(pointer, "a mapping is expected here")
            return
        for name, item in value.items():
            check(item, join(pointer, name), name)

    def reference(self, value: Any, pointer: str, folder: str, others: AbstractSet[str] = _NONE) -> bool:
        """Whether `value` is a `$ref` into `folder` of the components; complains if it is a bad one."""
        if not is_mapping(value) or "$ref" not in value:
            return False
        target = value["$ref"]
        start = f"#/components/{folder}/"
        if not isinstance(target, str) or not target.startswith(start):
            self.add(join(pointer, "$ref"), f"a reference to {start}... is expected, found {target!r}")
        elif target.removeprefix(start) not in self.data["components"].get(folder, {}):
            self.add(join(pointer, "$ref"), f"nothing stands at {target}")
        self.mapping({key: item for key, item in value.items() if key != "$ref"}, pointer, others)
        return True

    def format(self, value: Any, pointer: str, name: str) -> None:
        if not self.mapping(value, pointer, _FORMAT, {"base", "description"}):
            return
        base = value["base"]
        if name in spec.STRING_FORMATS or name in spec.NUMBER_FORMATS:
            self.add(pointer, f"{name!r} is a format of its own already")
        if base not in spec.STRING_FORMATS:
            self.add(
                join(pointer, "base"),
                f"{base!r} is no format: expected {', '.join(spec.STRING_FORMATS)}",
            )
            return
        limits: list[Any] = []
        for key in ("minimum", "maximum"):
            if key in value:
                try:
                    limits.append(PARSERS[base](value[key]))
                except (TypeError, ValueError, KeyError) as error:
                    self.add(join(pointer, key), f"{value[key]!r} is no {base}: {error}")
        if len(limits) == 2 and limits[0] > limits[1]:
            self.add(
                pointer,
                f"the minimum {value['minimum']} is more than the maximum {value['maximum']}",
            )
        self.formats[name] = value

    def component(self, value: Any, pointer: str, name: str) -> None:
        if not _PASCAL.fullmatch(name):
            self.add(pointer, "a component is named in PascalCase, as it becomes a class")
        if name in CLASS_NAMES:
            self.add(pointer, f"the generated packages have a class {name} of their own")
        if is_mapping(value) and "enum" in value:
            self.enum(value, pointer)
        elif self.mapping(value, pointer, _MESSAGE, {"type"}):
            self.message(value, pointer)

    def message(self, value: dict[str, Any], pointer: str) -> None:
        if value["type"] != "object":
            self.add(join(pointer, "type"), "a component is an object or an enum")
            return
        properties = value.get("properties", {})
        self.each(properties, join(pointer, "properties"), self.field)
        for index, name in enumerate(value.get("required", [])):
            if name not in properties:
                self.add(join(pointer, "required", index), f"{name!r} is no field of this message")

    def field(self, value: Any, pointer: str, name: str) -> None:
        if not _CAMEL.fullmatch(name):
            self.add(pointer, "a field is named in camelCase, as protobuf JSON has it")
        elif spec.camel_case(spec.python_name(name)) != name:
            self.add(pointer, f"protobuf JSON would call this field {spec.camel_case(spec.python_name(name))!r}")
        if not self.reference(value, pointer, "schemas", _FIELD):
            self.value(value, pointer, _FIELD)

    def value(self, value: Any, pointer: str, others: AbstractSet[str] = _NONE, nested: bool = True) -> None:
        """A schema that is not a component: the value of a field, an item, a parameter."""
        if not is_mapping(value):
            self.add(pointer, "a mapping is expected here")
            return
        kind = value.get("type")
        if is_list(kind) or kind not in _BOUNDS:
            self.add(
                join(pointer, "type"),
                f"type {kind!r} is not supported: expected one of {', '.join(filter(None, _BOUNDS))}",
            )
            return
        allowed = others | _BOUNDS[kind] | {"type"}
        if kind in ("string", "integer", "number"):
            allowed |= {"format"}
        elif kind == "array":
            allowed |= {"items"}
        elif kind == "object":
            allowed |= {"additionalProperties"}
        self.mapping(value, pointer, allowed)
        self.known_format(kind, value.get("format"), pointer)
        self.range(value, pointer)
        inner = {"array": "items", "object": "additionalProperties"}.get(kind or "")
        if inner:
            place = join(pointer, inner)
            if not nested:
                self.add(
                    pointer,
                    f"{kind} inside of another list or map is not supported: protobuf has no such field",
                )
            elif not is_mapping(value.get(inner)):
                self.add(
                    pointer,
                    f"{inner!r} with a schema is missing: an object with fields of its own has to be a component",
                )
            elif not self.reference(value[inner], place, "schemas"):
                self.value(value[inner], place, nested=False)

    def known_format(self, kind: str | None, name: Any, pointer: str) -> None:
        if kind == "integer" and name not in ("int32", "uint32"):
            self.add(
                pointer,
                "an integer has the format int32 or uint32; int64 and uint64 are strings in protobuf JSON",
            )
        elif kind == "number" and name not in ("float", "double"):
            self.add(pointer, "a number has the format float or double")
        elif kind == "string" and name is not None and name not in spec.STRING_FORMATS and name not in self.formats:
            known = ", ".join([*spec.STRING_FORMATS, *self.formats])
            self.add(join(pointer, "format"), f"{name!r} is no format: expected one of {known}")

    def range(self, value: dict[str, Any], pointer: str) -> None:
        for low, high in (
            ("minimum", "maximum"), ("minLength", "maxLength"),
            ("minItems", "maxItems"), ("minProperties", "maxProperties"),
        ):  # fmt: skip
            for key in (low, high):
                number = value.get(key, 0)
                whole = isinstance(number, int) and not isinstance(number, bool)
                if not whole and not (value.get("type") == "number" and isinstance(number, float)):
                    self.add(join(pointer, key), f"a number is expected, found {number!r}")
                    return
                if key not in ("minimum", "maximum") and number < 0:
                    self.add(join(pointer, key), "a length is not negative")
            if low in value and high in value and value[low] > value[high]:
                self.add(pointer, f"{low} {value[low]} is more than {high} {value[high]}")

    def enum(self, value: dict[str, Any], pointer: str) -> None:
        if not self.mapping(value, pointer, _ENUM, {"type", "enum"}):
            return
        values = value["enum"]
        if value["type"] != "string" or not is_list(values) or not values:
            self.add(pointer, "an enum has the type string and at least one member")
            return
        for index, member in enumerate(values):
            if not isinstance(member, str) or not member:
                self.add(join(pointer, "enum", index), "a member of an enum is a string")
        for member, count in Counter(map(str, values)).items():
            if count > 1:
                self.add(join(pointer, "enum"), f"the member {member} stands here twice")

    def path(self, value: Any, pointer: str, name: str) -> None:
        match = _OPERATION_PATH.fullmatch(name)
        if not match:
            self.add(pointer, "a path is /<package>.<Service>/<Method>")
        place = join(pointer, "post")
        if not self.mapping(value, pointer, {"post"}, {"post"}):
            return
        operation = value["post"]
        needed = {
            "operationId",
            "tags",
            "requestBody",
            "responses",
            "x-client-method",
            "x-idempotency",
        }
        if not self.mapping(operation, place, _OPERATION, needed):
            return
        if match and operation["operationId"] != match["method"]:
            self.add(
                join(place, "operationId"),
                f"{operation['operationId']!r} is not the method of the path, {match['method']!r}",
            )
        self.operation(operation, place)

    def operation(self, operation: dict[str, Any], pointer: str) -> None:
        if not is_list(operation["tags"]) or len(operation["tags"]) != 1:
            self.add(join(pointer, "tags"), "one tag is expected: the endpoint module's folder")
        if operation["x-idempotency"] not in IDEMPOTENCY:
            self.add(join(pointer, "x-idempotency"), f"expected one of {', '.join(IDEMPOTENCY)}")
        if not _SNAKE.fullmatch(str(operation["x-client-method"])):
            self.add(join(pointer, "x-client-method"), "a method is named in snake_case")
        for index, item in enumerate(operation.get("parameters", [])):
            place = join(pointer, "parameters", index)
            if not self.reference(item, place, "parameters"):
                self.parameter(item, place, "")
        place = join(pointer, "requestBody")
        if self.mapping(operation["requestBody"], place, _BODY, {"content"}):
            self.content(operation["requestBody"]["content"], join(place, "content"))
        responses = operation["responses"]
        place = join(pointer, "responses")
        if not is_mapping(responses) or not {"200", "415", "default"} <= responses.keys():
            self.add(place, "the responses '200', '415' and default are expected")
            return
        for status, response in responses.items():
            if not self.reference(response, join(place, status), "responses"):
                self.response(response, join(place, status), status)
        if "$ref" in responses["200"] or "content" not in responses["200"]:
            self.add(join(place, "200"), "the successful response stands here itself, with content")
        if "x-paging" in operation:
            self.mapping(operation["x-paging"], join(pointer, "x-paging"), _PAGING, _PAGING)

    def parameter(self, value: Any, pointer: str, _name: str) -> None:
        if self.mapping(value, pointer, _PARAMETER, {"name", "in", "schema"}):
            if value["in"] != "query":
                self.add(join(pointer, "in"), "only query parameters are supported")
            self.value(value["schema"], join(pointer, "schema"), nested=False)

    def response(self, value: Any, pointer: str, _name: str) -> None:
        if self.mapping(value, pointer, _RESPONSE, {"description"}) and "content" in value:
            self.content(value["content"], join(pointer, "content"))

    def content(self, value: Any, pointer: str) -> None:
        place = join(pointer, "application/json")
        if not self.mapping(value, pointer, {"application/json"}, {"application/json"}):
            return
        media = value["application/json"]
        if not self.mapping(media, place, _MEDIA, {"schema"}):
            return
        if not self.reference(media["schema"], join(place, "schema"), "schemas"):
            self.add(join(place, "schema"), "a $ref to a message is expected")
        self.each(media.get("examples", {}), join(place, "examples"), self.example)

    def example(self, value: Any, pointer: str, _name: str) -> None:
        if not self.reference(value, pointer, "examples"):
            self.mapping(value, pointer, _EXAMPLE, {"value"})

    # -- What it means, once the shape is right. -----------------------------------------------------------------------

    def meaning(self) -> list[Problem]:
        if not self.data["paths"]:
            self.add("#/paths", "at least one method is expected")
            return self.problems
        self.unique_names()
        for name, schema in self.data["components"]["schemas"].items():
            pointer = join("#/components/schemas", name)
            if "enum" in schema:
                self.enum_meaning(schema, pointer)
            else:
                self.message_meaning(schema, pointer)
        self.cycles()
        for path, item in self.data["paths"].items():
            self.named_fields(item["post"], join("#/paths", path, "post"))
        if self.problems:
            return self.problems
        api = spec.read(self.data)
        for path, operation in zip(self.data["paths"], api.operations, strict=True):
            self.operation_meaning(operation, self.data["paths"][path]["post"], join("#/paths", path, "post"), api)
        self.problems += examples.check(self.document, api)
        return self.problems

    def unique_names(self) -> None:
        methods: dict[str, str] = {}
        services: set[str] = set()
        for path, item in self.data["paths"].items():
            pointer = join("#/paths", path, "post", "x-client-method")
            method = item["post"]["x-client-method"]
            if method in HELPER_METHODS:
                self.add(pointer, f"{method!r} is a helper of the client, which would hide this method")
            if method in methods:
                self.add(pointer, f"the client has a method {method!r} already, for {methods[method]}")
            methods.setdefault(method, item["post"]["operationId"])
            services.add(path.split("/")[1])
        if len(services) > 1:
            self.add("#/paths", f"one service is expected, found {', '.join(sorted(services))}")
        for key in ("x-protobuf-message", "x-protobuf-enum"):
            seen: dict[str, str] = {}
            for name, schema in self.data["components"]["schemas"].items():
                if key in schema and schema[key] in seen:
                    self.add(
                        join("#/components/schemas", name, key),
                        f"{schema[key]} is {seen[schema[key]]} already",
                    )
                seen.setdefault(schema.get(key, ""), name)

    def enum_meaning(self, schema: dict[str, Any], pointer: str) -> None:
        values = set(schema["enum"])
        for key in ("x-enum-numbers", "x-enum-descriptions", "x-http-status"):
            if key not in schema:
                continue
            for name in schema[key].keys() - values:
                self.add(join(pointer, key, name), "no member of the enum")
            if key != "x-enum-descriptions":
                for name in sorted(values - schema[key].keys()):
                    self.add(join(pointer, key), f"the member {name} is missing")
        if "x-protobuf-enum" in schema:
            self.enum_numbers(schema, pointer)
        elif "x-http-status" not in schema:
            self.add(pointer, "x-protobuf-enum or x-http-status is missing")
        members = spec.read(
            {
                "info": {"title": "", "version": ""},
                "paths": {},
                "components": {"schemas": {"E": schema}},
            }
        )
        for name, count in Counter(member.name for member in members.enums["E"].members).items():
            if count > 1:
                self.add(join(pointer, "enum"), f"two members have the name {name} in Python")
        if "x-phase-classes" in schema:
            self.phase_classes(schema, join(pointer, "x-phase-classes"))

    def enum_numbers(self, schema: dict[str, Any], pointer: str) -> None:
        numbers = schema.get("x-enum-numbers", {})
        place = join(pointer, "x-enum-numbers")
        if 0 not in numbers.values():
            self.add(
                place,
                "no member has the number 0: protobuf needs one, it stands for an absent value",
            )
        for name, number in numbers.items():
            if not isinstance(number, int) or isinstance(number, bool) or not -(2**31) <= number < 2**31:
                self.add(join(place, name), f"a 32 bit number is expected, found {number!r}")
        for number, count in Counter(map(str, numbers.values())).items():
            if count > 1:
                self.add(place, f"the number {number} stands here twice")

    def phase_classes(self, schema: dict[str, Any], pointer: str) -> None:
        classes = schema["x-phase-classes"]
        if not self.mapping(classes, pointer, set(PHASE_CLASSES), set(PHASE_CLASSES)):
            return
        counts = Counter(member for group in classes.values() for member in group)
        for member in schema["enum"]:
            if counts[member] != 1:
                self.add(pointer, f"{member} stands in {counts[member]} classes, exactly one is expected")
        for member in counts.keys() - set(schema["enum"]):
            self.add(pointer, f"{member} is no member of the enum")

    def message_meaning(self, schema: dict[str, Any], pointer: str) -> None:
        properties = schema.get("properties", {})
        names: dict[str, str] = {}
        numbers: dict[int, str] = {}
        for name, item in properties.items():
            place = join(pointer, "properties", name)
            attribute = spec.python_name(name)
            if attribute in names or attribute in MODEL_NAMES:
                self.add(
                    place,
                    f"the name {attribute!r} is taken by {names.get(attribute, 'the class itself')}",
                )
            names[attribute] = name
            self.field_meaning(item, place, "x-protobuf-message" in schema)
            number = item.get("x-protobuf-number")
            if number in numbers:
                self.add(
                    join(place, "x-protobuf-number"),
                    f"the number {number} is that of {numbers[number]} already",
                )
            if isinstance(number, int):
                numbers[number] = name
        for index, pair in enumerate(schema.get("x-ordered", [])):
            place = join(pointer, "x-ordered", index)
            if not is_list(pair) or len(pair) != 2:
                self.add(place, "a pair of fields is expected")
                continue
            for name in pair:
                if properties.get(name, {}).get("type") not in ("integer", "number"):
                    self.add(place, f"{name!r} is no number of this message")

    def field_meaning(self, item: dict[str, Any], pointer: str, protobuf: bool) -> None:
        number = item.get("x-protobuf-number")
        if not protobuf and number is not None:
            self.add(join(pointer, "x-protobuf-number"), "the message has no x-protobuf-message")
        elif protobuf and number is None:
            self.add(pointer, "x-protobuf-number is missing")
        elif protobuf and not (type(number) is int and 1 <= number < 2**29 and not 19000 <= number < 20000):
            self.add(join(pointer, "x-protobuf-number"), f"{number!r} is no field number of protobuf")
        presence = item.get("x-presence", "explicit")
        target = item.get("$ref", "").rpartition("/")[2]
        message = bool(target) and "enum" not in self.data["components"]["schemas"][target]
        if presence != "explicit":
            self.add(
                join(pointer, "x-presence"),
                "only 'explicit' is written down; implicit goes without saying",
            )
        elif "x-presence" in item and (message or item.get("type") in ("array", "object")):
            self.add(join(pointer, "x-presence"), "messages are always explicit, lists and maps never")
        for key in ("x-ignore-zero", "x-always-set", "x-secret", "deprecated"):
            if item.get(key, True) is not True:
                self.add(join(pointer, key), "either true or left out")

    def cycles(self) -> None:
        """Messages that contain one another by way of a third: their modules could not import each other."""
        schemas = self.data["components"]["schemas"]

        def targets(name: str) -> Iterator[str]:
            for item in schemas[name].get("properties", {}).values():
                for part in (item, item.get("items", {}), item.get("additionalProperties", {})):
                    if "$ref" in part:
                        yield part["$ref"].rpartition("/")[2]

        def visit(name: str, trail: list[str]) -> None:
            for target in targets(name):
                if target in trail and target != name:
                    loop = " -> ".join([*trail[trail.index(target) :], target])
                    self.add(
                        join("#/components/schemas", target),
                        f"messages contain one another: {loop}",
                    )
                elif target not in done and target not in trail:
                    visit(target, [*trail, target])
            done.add(name)

        done: set[str] = set()
        for name in schemas:
            if name not in done:
                visit(name, [name])

    def named_fields(self, operation: dict[str, Any], pointer: str) -> None:
        """The fields that `x-flatten` and `x-paging` name have to be there."""
        request = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        content = operation["responses"]["200"]["content"]["application/json"]
        response = content["schema"]["$ref"].rpartition("/")[2]
        for index, name in enumerate(operation.get("x-flatten", [])):
            self.named_field(request, str(name), join(pointer, "x-flatten", index))
        for key, path in operation.get("x-paging", {}).items():
            message = request if key in ("size", "token") else response
            self.named_field(message, str(path), join(pointer, "x-paging", key))

    def named_field(self, component: str, path: str, pointer: str) -> None:
        schemas = self.data["components"]["schemas"]
        for name in path.split("."):
            properties = schemas.get(component, {}).get("properties", {})
            if name not in properties:
                self.add(pointer, f"{component or path} has no field {name!r}")
                return
            component = properties[name].get("$ref", "").rpartition("/")[2]

    def operation_meaning(self, operation: spec.Operation, item: dict[str, Any], pointer: str, api: spec.Api) -> None:
        for role, message in (
            ("requestBody", operation.request),
            ("responses/200", operation.response),
        ):
            if message.protobuf_name is None:
                self.add(f"{pointer}/{role}", f"{message.name} has no x-protobuf-message")
        keywords = [field.name for field in operation.request.fields]
        for index, name in enumerate(item.get("x-flatten", [])):
            field = operation.request.field(name)
            if field.kind != "message" or field.repeated or field.mapped:
                self.add(join(pointer, "x-flatten", index), f"{name!r} is no message")
                continue
            keywords += [inner.name for inner in api.messages[field.type].fields]
        for name, count in Counter(keywords).items():
            if count > 1 or name in OPTION_NAMES:
                taken = "is taken" if count == 1 else f"would be a keyword {count} times"
                self.add(pointer, f"the keyword {name!r} of {operation.client_method} {taken}")
        if operation.paging:
            self.paging(operation, operation.paging, join(pointer, "x-paging"), api)

    def paging(self, operation: spec.Operation, paging: spec.Paging, pointer: str, api: spec.Api) -> None:
        items = operation.response.field(paging.items)
        if items.kind != "message" or not items.repeated:
            self.add(join(pointer, "items"), f"{paging.items!r} is no list of messages")
        for key, message, path, kind in (
            ("size", operation.request, paging.size, "integer"),
            ("token", operation.request, paging.token, "string"),
            ("next_token", operation.response, paging.next_token, "string"),
        ):
            first, *inner = path
            if len(inner) > 1:
                self.add(join(pointer, key), "a field, or a field of a field, is expected")
                continue
            field = message.field(first)
            if inner and field.kind == "message":
                field = api.messages[field.type].field(inner[0])
            if field.kind != kind or field.repeated:
                self.add(join(pointer, key), f"{'.'.join(path)} is no {kind}")
