"""`make upstream-apply`: write the vendor's descriptor into the schema.

Comments, order and descriptions of the YAML file stay. New elements get a placeholder description, which `make gen`
lists.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from . import document, examples, lint, spec
from .document import is_list, is_mapping
from .lint_operations import HELPER_METHODS
from .problems import PipelineError, Problem
from .upstream import Enum, Field, Message, Method, Service
from .yaml_edit import Editor

TO_BE_WRITTEN = lint.TO_BE_WRITTEN

# The maximum number of rounds that remove outdated parts: each round may let lint find more.
MAX_ROUNDS = 20

_SCHEMAS = ["components", "schemas"]

_SCALARS: dict[str, dict[str, Any]] = {
    "bool": {"type": "boolean"},
    "string": {"type": "string"},
    "bytes": {"type": "string", "format": "byte"},
    "int32": {"type": "integer", "format": "int32"},
    "uint32": {"type": "integer", "format": "uint32"},
    "int64": {"type": "string", "format": "int64"},
    "uint64": {"type": "string", "format": "uint64"},
    "float": {"type": "number", "format": "float"},
    "double": {"type": "number", "format": "double"},
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "format": "protobuf-duration"},
    "google.protobuf.Value": {},
}

# Keys of a field that the descriptor does not cover.
_OURS = ("description", "x-secret", "x-protobuf-name")


def apply(text: str, path: Path, theirs: Service) -> tuple[str, list[str]]:
    """The schema `text` with all facts of `theirs`, and the points that need manual review.

    Raises:
        PipelineError: the schema cannot be read, or the generator rejects the result.
    """
    applier = _Applier(text, document.parse(text, path).data, theirs)
    applier.run()
    changed, removed = _without_misfits(applier.editor.result(), path)
    return changed, [*applier.notes, *removed]


class _Applier:
    """Notes the changes of one document."""

    def __init__(self, text: str, data: dict[str, Any], theirs: Service) -> None:
        self.editor = Editor(text)
        self.data = data
        self.theirs = theirs
        self.notes: list[str] = []
        self.schemas: dict[str, dict[str, Any]] = data["components"]["schemas"]
        self.components: dict[str, str] = {}
        self.formats: dict[str, dict[str, Any]] = dict(data.get("x-formats", {}))
        self.received = set(_reachable(theirs, [method.response for method in theirs.methods.values()]))

    def run(self) -> None:
        self._name_components()
        for name, message in self.theirs.messages.items():
            self._message(name, message)
        for name, enum in self.theirs.enums.items():
            self._enum(name, enum)
        for path, method in self.theirs.methods.items():
            self._method(path, method)
        self._remove()
        new = {name: item for name, item in self.formats.items() if name not in self.data.get("x-formats", {})}
        if "x-formats" in self.data:
            for name, item in new.items():
                self.editor.put(["x-formats", name], item)
        elif new:
            self.editor.put(["x-formats"], new)

    def _remove(self) -> None:
        """Remove elements that the vendor does not have, except services outside the vendor's file."""
        services = {path.rpartition("/")[0] for path in self.theirs.methods}
        others = [path for path in self.data["paths"] if path.rpartition("/")[0] not in services]
        for path in self.data["paths"]:
            if path not in self.theirs.methods and path not in others:
                self.editor.remove(["paths", path])
        kept = set(_referred(self.data, [self.data["paths"][path] for path in others]))
        for component, schema in self.schemas.items():
            name = schema.get("x-protobuf-message") or schema.get("x-protobuf-enum")
            if name and name not in self.theirs.messages and name not in self.theirs.enums and component not in kept:
                self.editor.remove([*_SCHEMAS, component])

    def _name_components(self) -> None:
        for component, schema in self.schemas.items():
            for key in ("x-protobuf-message", "x-protobuf-enum"):
                if key in schema:
                    self.components[schema[key]] = component
        for name in [*self.theirs.messages, *self.theirs.enums]:
            if name not in self.components:
                words = re.split(r"[._]", name)
                wanted = "".join(word[:1].upper() + word[1:] for word in words if word)
                wanted = wanted if wanted[:1].isalpha() and wanted not in ("None", "True", "False") else f"Type{wanted}"
                self.components[name] = spec.unique(wanted, {*self.schemas, *self.components.values()})

    # -- Messages

    def _message(self, name: str, message: Message) -> None:
        component = self.components[name]
        schema = self.schemas.get(component)
        self._leftover(name, message.rules)
        if schema is None:
            fields = {key: self._field(name, key, field, {}) for key, field in message.fields.items()}
            required = [key for key, field in message.fields.items() if self._is_required(name, field)]
            new: dict[str, Any] = {"type": "object", "x-protobuf-message": name, "description": TO_BE_WRITTEN}
            new |= {"deprecated": True} if message.deprecated else {}
            new |= {"required": required} if required else {}
            self.editor.put([*_SCHEMAS, component], new | {"properties": fields})
            return
        path = [*_SCHEMAS, component]
        self._flag(path, schema, "deprecated", message.deprecated)
        properties: dict[str, dict[str, Any]] = schema.get("properties", {})
        by_number = {item.get("x-protobuf-number"): key for key, item in properties.items()}
        kept: dict[str, str] = {}
        for key, field in message.fields.items():
            old = key if key in properties else by_number.get(field.number)
            if old is not None and (old == key or old not in message.fields) and old not in kept.values():
                kept[key] = old
        self._fields(name, path, schema, message, kept)
        self._required(name, path, schema, message, kept)
        pairs = [pair for pair in schema.get("x-ordered", []) if all(key in message.fields for key in pair)]
        if pairs != schema.get("x-ordered", []):
            self._set_or_remove([*path, "x-ordered"], pairs)

    def _fields(
        self, name: str, path: list[str], schema: dict[str, Any], message: Message, kept: Mapping[str, str]
    ) -> None:
        properties: dict[str, dict[str, Any]] = schema.get("properties", {})
        new: dict[str, Any] = {}
        for key, field in message.fields.items():
            if key in kept:
                old = properties[kept[key]]
                place = [*path, "properties", kept[key]]
                if kept[key] != key:
                    self.editor.rename(place, key)
                self._update(place, old, self._field(name, key, field, old))
            else:
                new[key] = self._field(name, key, field, {})
        if "properties" not in schema and new:
            self.editor.put([*path, "properties"], new)
        else:
            for key, item in new.items():
                self.editor.put([*path, "properties", key], item)
        for key in properties:
            if key not in kept.values():
                self.editor.remove([*path, "properties", key])

    def _required(
        self, name: str, path: list[str], schema: dict[str, Any], message: Message, kept: Mapping[str, str]
    ) -> None:
        old: list[str] = schema.get("required", [])
        names = {old_key: key for key, old_key in kept.items()}
        wanted = {
            key
            for key, field in message.fields.items()
            if self._is_required(name, field)
            and not schema.get("properties", {}).get(kept.get(key, ""), {}).get("x-always-set")
        }
        order = [names.get(key, key) for key in old]
        required = [key for key in order if key in wanted]
        required += [key for key in message.fields if key in wanted and key not in required]
        if required != old:
            self._set_or_remove([*path, "required"], required)

    def _is_required(self, message: str, field: Field) -> bool:
        """Whether the field is in `required`: of a response, only messages can be."""
        if field.rules.get("required") != "yes":
            return False
        is_message = field.type in self.theirs.messages or field.type == "google.protobuf.Timestamp"
        return message not in self.received or is_message

    def _update(self, path: list[str], old: dict[str, Any], new: dict[str, Any]) -> None:
        for key, value in new.items():
            if key != "description" and (key not in old or old[key] != value):
                self.editor.put([*path, key], value)
        for key in old:
            if key not in new and key not in _OURS:
                self.editor.remove([*path, key])

    def _field(self, message: str, name: str, field: Field, old: dict[str, Any]) -> dict[str, Any]:
        """The schema of a field. `old` is its previous schema."""
        where = f"{message}.{name}"
        rules = dict(field.rules)
        schema = self._value(where, field.type, rules)
        schema["x-protobuf-number"] = field.number
        if field.protobuf_name and spec.protobuf_name(name) != field.protobuf_name:
            schema["x-protobuf-name"] = field.protobuf_name
        is_message = "$ref" in schema and field.type in self.theirs.messages
        if field.presence == "explicit" and not is_message and not field.type.startswith("google."):
            schema["x-presence"] = "explicit"
        if (rules.pop("required", None) == "yes" and not self._is_required(message, field)) or (
            old.get("x-always-set") and field.rules.get("required") == "yes"
        ):
            schema["x-always-set"] = True
        if rules.pop("zero ignored", None) == "yes":
            schema["x-ignore-zero"] = True
        if field.deprecated:
            schema["deprecated"] = True
        self._leftover(where, rules)
        if not old:
            schema["description"] = TO_BE_WRITTEN
        return schema

    def _value(self, where: str, kind: str, rules: dict[str, str]) -> dict[str, Any]:
        """The schema of a value. The rules that it states are taken out of `rules`."""
        if kind.startswith("list of "):
            inner = self._inner(where, kind.removeprefix("list of "), rules, "each item: ")
            bounds = _bounds(rules.pop("number of items", ""), "minItems", "maxItems")
            return {"type": "array", "items": inner} | bounds
        if kind.startswith("map of "):
            key, _, value = kind.removeprefix("map of ").partition(" to ")
            if key != "string":
                self.notes.append(f"{where}: the keys of a map are strings in the schema, the vendor's are {key}")
            inner = self._inner(where, value, rules, "each value: ")
            return {"type": "object", "additionalProperties": inner}
        if kind in self.components:
            return {"$ref": f"#/components/schemas/{self.components[kind]}"}
        if kind not in _SCALARS:
            self.notes.append(f"{where}: the schema has no type for {kind}: it is written as any JSON value")
            return {}
        return self._scalar(where, kind, rules)

    def _inner(self, where: str, kind: str, rules: dict[str, str], prefix: str) -> dict[str, Any]:
        inner = {name.removeprefix(prefix): rules.pop(name) for name in list(rules) if name.startswith(prefix)}
        schema = self._value(where, kind, inner)
        self._leftover(f"{where}, {prefix.strip(': ')}", inner)
        return schema

    def _scalar(self, where: str, kind: str, rules: dict[str, str]) -> dict[str, Any]:
        schema = dict(_SCALARS[kind])
        for name in ("uuid", "uri"):
            if kind == "string" and rules.get(f"format {name}") == "yes" and "format" not in schema:
                del rules[f"format {name}"]
                schema["format"] = name
        if kind == "string":
            schema |= _bounds(rules.pop("length", ""), "minLength", "maxLength")
        bound = rules.get("bound", "")
        if bound and ">" not in bound and "<" not in bound:
            del rules["bound"]
            if schema.get("type") in ("integer", "number"):
                schema |= _bounds(bound, "minimum", "maximum")
            else:
                schema["format"] = self._format(where, str(schema.get("format")), bound)
        return schema

    def _format(self, where: str, base: str, bound: str) -> str:
        """The name of the format of `x-formats` that has this base and bound, which may be new."""
        low, _, high = bound.partition("..")
        limits = ({"minimum": low} if low else {}) | ({"maximum": high} if high else {})
        for name, item in self.formats.items():
            if {key: item[key] for key in item if key != "description"} == {"base": base, **limits}:
                return name
        wanted = re.sub(r"[^a-z0-9]+", "-", spec.snake_case(where)).strip("-")
        name = spec.unique(wanted, self.formats)
        self.formats[name] = {"base": base, **limits, "description": TO_BE_WRITTEN}
        return name

    # -- Enums

    def _enum(self, name: str, enum: Enum) -> None:
        component = self.components[name]
        schema = self.schemas.get(component)
        self._leftover(name, enum.rules)
        deprecated = [value for value, member in enum.members.items() if member.deprecated]
        for value, member in enum.members.items():
            self._leftover(f"{name}.{value}", member.rules)
        if schema is None:
            new: dict[str, Any] = {"type": "string", "description": TO_BE_WRITTEN, "x-protobuf-enum": name}
            new |= {"deprecated": True} if enum.deprecated else {}
            new |= {"enum": list(enum.members), "x-enum-numbers": {v: m.number for v, m in enum.members.items()}}
            new |= {"x-enum-deprecated": deprecated} if deprecated else {}
            self.editor.put([*_SCHEMAS, component], new)
            return
        path = [*_SCHEMAS, component]
        self._flag(path, schema, "deprecated", enum.deprecated)
        if sorted(schema.get("x-enum-deprecated", [])) != sorted(deprecated):
            self._set_or_remove([*path, "x-enum-deprecated"], deprecated)
        for value, member in enum.members.items():
            if value not in schema["enum"]:
                self._new_member(path, schema, name, value)
            if schema.get("x-enum-numbers", {}).get(value) != member.number:
                self.editor.put([*path, "x-enum-numbers", value], member.number)
        for index, value in enumerate(schema["enum"]):
            if value not in enum.members:
                self.editor.remove([*path, "enum", str(index)])
                self._forget_member(path, schema, value)

    def _new_member(self, path: list[str], schema: dict[str, Any], name: str, value: str) -> None:
        self.editor.put([*path, "enum", "-"], value)
        if "x-enum-descriptions" in schema:
            self.editor.put([*path, "x-enum-descriptions", value], TO_BE_WRITTEN)
        if "x-phase-classes" in schema and not any(value in group for group in schema["x-phase-classes"].values()):
            self.editor.put([*path, "x-phase-classes", "active", "-"], value)
            self.notes.append(f"{name}.{value}: taken for active, as no descriptor says it: check x-phase-classes")

    def _forget_member(self, path: list[str], schema: dict[str, Any], value: str) -> None:
        for key in ("x-enum-numbers", "x-enum-descriptions", "x-http-status"):
            if value in schema.get(key, {}):
                self.editor.remove([*path, key, value])
        for group, values in schema.get("x-phase-classes", {}).items():
            if value in values:
                self.editor.remove([*path, "x-phase-classes", group, str(values.index(value))])

    # -- Methods

    def _method(self, path: str, method: Method) -> None:
        self._leftover(path, method.rules)
        if path not in self.data["paths"]:
            self.editor.put(["paths", path], {"post": self._new_method(path, method)})
            return
        post = self.data["paths"][path]["post"]
        place = ["paths", path, "post"]
        media = ["content", "application/json", "schema", "$ref"]
        for role, name in ((["requestBody"], method.request), (["responses", "200"], method.response)):
            reference = f"#/components/schemas/{self.components.get(name, name)}"
            old = post
            for key in [*role, *media]:
                old = old[key]
            if old != reference:
                self.editor.put([*place, *role, *media], reference)
        if post["x-idempotency"] != method.idempotency:
            self.editor.put([*place, "x-idempotency"], method.idempotency)
        self._flag(place, post, "deprecated", method.deprecated)

    def _new_method(self, path: str, method: Method) -> dict[str, Any]:
        service, name = path.strip("/").split("/")
        service = service.rpartition(".")[2]
        tags = {
            other.strip("/").split("/")[0].rpartition(".")[2]: item["post"]["tags"][0]
            for other, item in self.data["paths"].items()
        }
        tag = tags.get(service, service)
        if service not in tags and "tags" in self.data and tag not in [each["name"] for each in self.data["tags"]]:
            self.editor.put(["tags", "-"], {"name": tag, "description": TO_BE_WRITTEN})
            self.data["tags"].append({"name": tag})
        taken = {
            item["post"]["x-client-method"]
            for other, item in self.data["paths"].items()
            if other.rpartition("/")[0] == path.rpartition("/")[0]
        }
        client_method = spec.unique(spec.python_name(name), {*taken, *HELPER_METHODS})
        like: dict[str, Any] = {}
        for item in self.data["paths"].values():
            like = item["post"]["responses"]
        post: dict[str, Any] = {"operationId": name, "tags": [tag], "x-client-method": client_method}
        post |= {"x-idempotency": method.idempotency}
        post |= {"deprecated": True} if method.deprecated else {}
        content = (
            {"application/json": {"schema": {"$ref": f"#/components/schemas/{self.components.get(each, each)}"}}}
            for each in (method.request, method.response)
        )
        post |= {"summary": TO_BE_WRITTEN, "requestBody": {"required": True, "content": next(content)}}
        answers = {"200": {"description": TO_BE_WRITTEN, "content": next(content)}}
        return post | {"responses": answers | {key: like[key] for key in ("415", "default") if key in like}}

    # -- Help

    def _flag(self, path: list[str], holder: dict[str, Any], key: str, value: bool) -> None:
        if value and not holder.get(key):
            self.editor.put([*path, key], True)
        elif not value and key in holder:
            self.editor.remove([*path, key])

    def _set_or_remove(self, path: list[str], value: list[Any]) -> None:
        if value:
            self.editor.put(path, value)
        else:
            self.editor.remove(path)

    def _leftover(self, where: str, rules: Mapping[str, str]) -> None:
        """A fact that the schema cannot express stays a difference."""
        self.notes += [f"{where}: the schema cannot say {name}: {value}" for name, value in rules.items()]


def _bounds(text: str, low_key: str, high_key: str) -> dict[str, int | float]:
    """`1..20` as `minimum` and `maximum`."""
    low, _, high = text.partition("..")
    return {key: _number(value) for key, value in ((low_key, low), (high_key, high)) if value}


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def _referred(data: dict[str, Any], roots: list[Any]) -> Iterator[str]:
    """The components that `roots` refer to, directly or indirectly."""
    seen: set[str] = set()
    queue = list(roots)
    while queue:
        value = queue.pop()
        if is_list(value):
            queue += value
        elif is_mapping(value):
            queue += value.values()
            name = str(value.get("$ref", "")).rpartition("/")[2]
            if name and name not in seen:
                seen.add(name)
                yield name
                queue.append(data["components"]["schemas"].get(name, {}))


def _reachable(theirs: Service, roots: list[str]) -> Iterator[str]:
    seen: set[str] = set()
    queue = list(roots)
    while queue:
        name = queue.pop()
        if name in seen or name not in theirs.messages:
            continue
        seen.add(name)
        yield name
        fields = theirs.messages[name].fields.values()
        queue += [re.sub(r"^(list of |map of \w+ to )", "", field.type) for field in fields]


# -- What no longer fits: examples and the keys that name fields


def _without_misfits(text: str, path: Path) -> tuple[str, list[str]]:
    """The schema without examples, paging, flattening and order that name removed elements."""
    notes: list[str] = []
    for _ in range(MAX_ROUNDS):
        loaded = document.parse(text, path)
        try:
            lint.lint(loaded)
            return text, notes
        except PipelineError as error:
            editor = Editor(text)
            places = {tuple(each) for problem in error.problems for each in _misfits(loaded.data, problem)}
            if not places:
                raise
        for place in sorted(places):
            editor.remove(list(place))
            notes.append(f"{'/'.join(place)}: removed, as it no longer fits")
        text = editor.result()
    raise PipelineError("lint", [Problem("what no longer fits cannot be removed", "#", 1, path)])


def _misfits(data: dict[str, Any], problem: Problem) -> Iterator[list[str]]:
    keys = [key.replace("~1", "/").replace("~0", "~") for key in problem.pointer.split("/")[1:]]
    if keys[:2] == ["components", "examples"]:
        yield from _example(data, keys)
    elif "examples" in keys:
        yield _within_example(data, keys, keys.index("examples") + 2)
    elif "x-flatten" in keys:
        yield keys
    elif "x-paging" in keys:
        yield keys[: keys.index("x-paging") + 1]
    elif "x-ordered" in keys:
        yield keys[: keys.index("x-ordered") + 1]


def _example(data: dict[str, Any], keys: list[str]) -> Iterator[list[str]]:
    """A shared example that does not fit, with its uses if it goes as a whole."""
    place = _within_example(data, keys, 3)
    yield place
    if len(place) == 3:
        reference = f"#/components/examples/{place[2]}"
        yield from (list(use) for use in _uses(data, reference, ()))


def _within_example(data: dict[str, Any], keys: list[str], start: int) -> list[str]:
    """The part of an example that does not fit: a field that is not there any more, or else all of it."""
    value: Any = data
    for key in keys:
        value = value[int(key)] if is_list(value) else value.get(key) if is_mapping(value) else None
    component = next(
        (e.component for e in examples.find(data) if e.pointer == document.join("#", *keys[:start], "value")), ""
    )
    known = data["components"]["schemas"].get(component, {})
    for key in keys[start + 1 :]:
        if not key.isdigit():
            field = known.get("properties", {}).get(key, {})
            target = (field.get("items") or field.get("additionalProperties") or field).get("$ref", "")
            known = data["components"]["schemas"].get(target.rpartition("/")[2], {})
    if is_mapping(value) and "properties" in known:
        for key in value:
            if key not in known["properties"]:
                return [*keys, key]
    return keys[:start]


def _uses(value: Any, reference: str, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if is_mapping(value):
        for key, item in value.items():
            if is_mapping(item) and item.get("$ref") == reference:
                yield (*path, str(key))
            else:
                yield from _uses(item, reference, (*path, str(key)))
    elif is_list(value):
        for index, item in enumerate(value):
            yield from _uses(item, reference, (*path, str(index)))
