"""The differences between two schemas, and which of them break callers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from . import spec
from .document import is_list, is_mapping, join
from .runtime.scalars import PARSERS

_T = TypeVar("_T")

# Bounds that a larger value loosens.
_UPPER = ("maximum", "maxLength", "maxItems", "maxProperties")

# Keys whose values say nothing to a program.
_TEXTS = ("description", "summary", "title", "examples", "x-enum-descriptions", "contact", "license", "termsOfService")

_DESCRIPTIONS = "descriptions and examples only"


@dataclass(frozen=True)
class Change:
    """One difference. `breaking` if code that works against the old packages may fail against the new."""

    text: str
    breaking: bool = False

    @property
    def text_only(self) -> bool:
        """Whether no program can observe the difference."""
        return self.text == _DESCRIPTIONS


def changes(
    before: spec.Api, after: spec.Api, old: dict[str, Any], new: dict[str, Any], todo: list[str]
) -> Iterator[Change]:
    """All differences; changes that need manual work go to `todo`."""
    count = 0
    for change in _changes(before, after, todo):
        count += 1
        yield change
    rest = list(_elsewhere(old, new))
    yield from rest
    if not count and not rest:
        unnamed = [
            Change(f"{pointer}: {_short(left)} -> {_short(right)}")
            for pointer, left, right in _differing(_bare(old), _bare(new), "#")
            if pointer != "#/info/version"
        ]
        yield from unnamed
        if not unnamed and _without_version(old) != _without_version(new):
            yield Change(_DESCRIPTIONS)


def _changes(before: spec.Api, after: spec.Api, todo: list[str]) -> Iterator[Change]:
    if before.package != after.package:
        yield Change(f"the protobuf package: {before.package} -> {after.package}", breaking=True)
    for url in after.servers:
        if url not in before.servers:
            yield Change(f"server {url}: new")
    for url in before.servers:
        if url not in after.servers:
            yield Change(f"server {url}: gone")
    yield from _services(before, after)
    yield from _operations(before, after, todo)
    yield from _messages(before, after, todo)
    yield from _enums(before, after, todo)
    yield from _formats(before, after)


def _elsewhere(old: dict[str, Any], new: dict[str, Any]) -> Iterator[Change]:
    """Differences outside the model of the schema: tags, security, the responses of errors."""
    places: list[Callable[[dict[str, Any]], Any]] = [
        lambda document: {"tags": document.get("tags", [])},
        lambda document: {"security": document.get("security", [])},
        lambda document: {"components": {"securitySchemes": document["components"].get("securitySchemes", {})}},
        lambda document: {"components": {"responses": document["components"].get("responses", {})}},
        lambda document: {"paths": {path: _surroundings(item) for path, item in document["paths"].items()}},
    ]
    for place in places:
        for pointer, left, right in _differing(_bare(place(old)), _bare(place(new)), "#"):
            if pointer.count("/") > 2 or not pointer.startswith("#/paths"):  # methods themselves are reported above
                yield Change(f"{pointer}: {_short(left)} -> {_short(right)}")


def _surroundings(item: dict[str, Any]) -> dict[str, Any]:
    post = item["post"]
    others = {status: response for status, response in post["responses"].items() if status != "200"}
    return {"post": {"tags": post["tags"], "security": post.get("security"), "responses": others}}


def _bare(value: Any, names: bool = False) -> Any:
    """`value` without texts. `names`: its keys are names that somebody chose."""
    if is_list(value):
        return [_bare(item) for item in value]
    if not is_mapping(value):
        return value
    named = (
        "properties",
        "schemas",
        "paths",
        "parameters",
        "responses",
        "x-enum-numbers",
        "x-formats",
        "x-http-status",
    )
    return {
        key: _bare(item, names=key in named and not names) for key, item in value.items() if names or key not in _TEXTS
    }


def _without_version(document: dict[str, Any]) -> dict[str, Any]:
    return document | {"info": {key: text for key, text in document["info"].items() if key != "version"}}


def _differing(old: Any, new: Any, pointer: str) -> Iterator[tuple[str, Any, Any]]:
    if is_mapping(old) and is_mapping(new):
        for key in [*new, *(key for key in old if key not in new)]:
            yield from _differing(old.get(key), new.get(key), join(pointer, key))
    elif old != new:
        yield pointer, old, new


def _short(value: object) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _pairs(before: Mapping[str, _T], after: Mapping[str, _T]) -> Iterator[tuple[str, _T | None, _T | None]]:
    for name in [*after, *(name for name in before if name not in after)]:
        yield name, before.get(name), after.get(name)


def _services(before: spec.Api, after: spec.Api) -> Iterator[Change]:
    names = [{service.name: service for service in api.services} for api in (before, after)]
    for name, old, new in _pairs(*names):
        if old is not None and new is not None and old.attribute != new.attribute:
            yield Change(f"service {name}: client.{old.attribute} -> client.{new.attribute}", breaking=True)


def _operations(before: spec.Api, after: spec.Api, todo: list[str]) -> Iterator[Change]:
    def place(api: spec.Api, operation: spec.Operation) -> str:
        attribute = next(service.attribute for service in api.services if service.name == operation.service)
        return f"client.{attribute}.{operation.client_method}"

    by_name = [{operation.name: operation for operation in api.operations} for api in (before, after)]
    for name, old, new in _pairs(*by_name):
        if old is None and new is not None:
            yield Change(f"operation {name}: new, {place(after, new)}")
            todo.append(f"{name}: the emulator answers `unimplemented` until its service has a method `{new.module}`")
        elif new is None and old is not None:
            yield Change(f"operation {name}: gone, and with it {place(before, old)}", breaking=True)
            todo.append(f"{name}: remove `{old.module}` from the emulator's service")
        elif old is not None and new is not None:
            yield from _operation(old, new)


def _operation(old: spec.Operation, new: spec.Operation) -> Iterator[Change]:
    name = new.name
    for label, left, right in (
        ("path", old.path, new.path),
        ("client method", old.client_method, new.client_method),
        ("request", old.request.name, new.request.name),
        ("response", old.response.name, new.response.name),
        ("paging", _paging(old), _paging(new)),
    ):
        if left != right:
            yield Change(f"operation {name}: {label}: {left} -> {right}", breaking=True)
    flattened = [{each.json_name for each in operation.flatten} for operation in (old, new)]
    for field_name in sorted(flattened[0] - flattened[1]):
        yield Change(f"operation {name}: the fields of {field_name} are no longer keywords", breaking=True)
    for field_name in sorted(flattened[1] - flattened[0]):
        yield Change(f"operation {name}: the fields of {field_name} are keywords, too")
    yield from _keywords(old, new)
    yield from _query(old, new)
    if old.idempotency != new.idempotency:
        yield Change(f"operation {name}: idempotency: {old.idempotency} -> {new.idempotency}, so that retries differ")
    if old.deprecated != new.deprecated:
        yield Change(f"operation {name}: {'deprecated' if new.deprecated else 'no longer deprecated'}")


def _keywords(old: spec.Operation, new: spec.Operation) -> Iterator[Change]:
    def names(operation: spec.Operation) -> dict[str, str]:
        return {
            (f"{each.outer.json_name}.{each.field.json_name}" if each.outer else each.field.json_name): each.name
            for each in operation.keywords
        }

    for path, left, right in _pairs(names(old), names(new)):
        if left and right and left != right:
            yield Change(f"operation {new.name}: the keyword of {path}: {left} -> {right}", breaking=True)
        elif right and left is None and "." in path and right != spec.python_name(path.partition(".")[2]):
            yield Change(f"operation {new.name}: the keyword of {path} is {right}")


def _query(old: spec.Operation, new: spec.Operation) -> Iterator[Change]:
    parameters = [{each.json_name: each for each in operation.query} for operation in (old, new)]
    for name, left, right in _pairs(*parameters):
        place = f"operation {new.name}: query parameter {name}"
        if left is None and right is not None:
            yield Change(f"{place}: new{', required' if right.required else ''}", breaking=right.required)
        elif right is None:
            yield Change(f"{place}: gone", breaking=True)
        elif left is not None:
            yield from _field(place, left, right, sent=True, received=False)


def _paging(operation: spec.Operation) -> str:
    paging = operation.paging
    if paging is None:
        return "none"
    paths = (".".join(path) for path in (paging.size, paging.token, paging.next_token))
    return f"{paging.items} by {', '.join(paths)}"


def _messages(before: spec.Api, after: spec.Api, todo: list[str]) -> Iterator[Change]:
    sent = _names(after, (operation.request for operation in after.operations))
    received = _names(after, (operation.response for operation in after.operations))
    for name, old, new in _pairs(before.messages, after.messages):
        if old is None:
            yield Change(f"message {name}: new")
        elif new is None:
            yield Change(f"message {name}: gone", breaking=True)
        else:
            yield from _message(old, new, name in sent, name in received, todo)


def _names(api: spec.Api, roots: Iterable[spec.Message]) -> set[str]:
    messages = list(roots)
    return {message.name for message in [*messages, *api.reachable(*messages)]}


def _message(old: spec.Message, new: spec.Message, sent: bool, received: bool, todo: list[str]) -> Iterator[Change]:
    name = new.name
    if old.protobuf_name != new.protobuf_name:
        yield Change(f"message {name}: protobuf name: {old.protobuf_name} -> {new.protobuf_name}", breaking=True)
    if old.deprecated != new.deprecated:
        yield Change(f"message {name}: {'deprecated' if new.deprecated else 'no longer deprecated'}")
    fields = [{field.json_name: field for field in message.fields} for message in (old, new)]
    for key, left, right in _pairs(*fields):
        place = f"field {name}.{key}"
        if left is None and right is not None:
            needed = sent and right.required
            yield Change(f"{place}: new{', and required' if needed else ''}, {_type(right)}", breaking=needed)
            if sent:
                todo.append(f"{name}.{key}: the emulator reads past it until its service looks at `{right.name}`")
        elif right is None:
            yield Change(f"{place}: gone", breaking=True)
        elif left is not None:
            yield from _field(place, left, right, sent, received)
    for pair in new.ordered:
        if pair not in old.ordered:
            yield Change(f"message {name}: {pair[0]} has to be at most {pair[1]}", breaking=sent)
    for pair in old.ordered:
        if pair not in new.ordered:
            yield Change(f"message {name}: {pair[0]} may be more than {pair[1]}")


def _field(place: str, old: spec.Field, new: spec.Field, sent: bool, received: bool) -> Iterator[Change]:
    if _type(old) != _type(new):
        yield Change(f"{place}: type: {_type(old)} -> {_type(new)}", breaking=True)
    if old.number != new.number:
        yield Change(f"{place}: protobuf number: {old.number} -> {new.number}", breaking=True)
    if old.protobuf_name != new.protobuf_name:
        yield Change(f"{place}: protobuf name: {old.protobuf_name} -> {new.protobuf_name}", breaking=True)
    if old.name != new.name:
        yield Change(f"{place}: its name in Python: {old.name} -> {new.name}", breaking=True)
    if old.required != new.required:
        # Callers must provide newly required fields, and readers can no longer rely on optional fields.
        breaking = sent if new.required else received
        yield Change(f"{place}: {'required' if new.required else 'no longer required'}", breaking=breaking)
    if old.explicit != new.explicit:
        words = ("implicit", "explicit")
        yield Change(f"{place}: presence: {words[old.explicit]} -> {words[new.explicit]}", breaking=True)
    yield from _flags(place, old, new, sent)
    for key, left, right in _pairs(old.bounds, new.bounds):
        if left != right:
            tighter = sent and _tighter(key, left, right)
            yield Change(f"{place}: {key}: {_word(left)} -> {_word(right)}", breaking=tighter)


def _flags(place: str, old: spec.Field, new: spec.Field, sent: bool) -> Iterator[Change]:
    if old.ignore_zero != new.ignore_zero:
        text = "zero means not given" if new.ignore_zero else "zero is a value as any other"
        yield Change(f"{place}: {text}", breaking=sent)
    if old.always_set != new.always_set:
        yield Change(f"{place}: {'always set' if new.always_set else 'may be left out'} in responses")
    if old.deprecated != new.deprecated:
        yield Change(f"{place}: {'deprecated' if new.deprecated else 'no longer deprecated'}")
    if old.secret != new.secret:
        yield Change(f"{place}: {'a secret' if new.secret else 'no longer a secret'}")


def _enums(before: spec.Api, after: spec.Api, todo: list[str]) -> Iterator[Change]:
    for name, old, new in _pairs(before.enums, after.enums):
        if old is None:
            yield Change(f"enum {name}: new")
        elif new is None:
            yield Change(f"enum {name}: gone", breaking=True)
        else:
            if old.protobuf_name != new.protobuf_name:
                yield Change(f"enum {name}: protobuf name: {old.protobuf_name} -> {new.protobuf_name}", breaking=True)
            if old.deprecated != new.deprecated:
                yield Change(f"enum {name}: {'deprecated' if new.deprecated else 'no longer deprecated'}")
            yield from _members(old, new, todo)
            yield from _phase_classes(old, new)


def _members(old: spec.Enum, new: spec.Enum, todo: list[str]) -> Iterator[Change]:
    members = [{member.value: member for member in enum.members} for enum in (old, new)]
    for value, left, right in _pairs(*members):
        place = f"member {new.name}.{(right or left or new.members[0]).name}"
        if left is None and right is not None:
            yield Change(f"{place}: new, {right.number if right.number is not None else right.value}")
            if new.phase_classes:
                todo.append(f"{place}: the emulator's lifecycle does not reach {value} yet")
        elif right is None:
            yield Change(f"{place}: gone", breaking=True)
        elif left is not None:
            if left.name != right.name:
                yield Change(f"{place}: was called {left.name} in Python", breaking=True)
            if left.number != right.number:
                yield Change(f"{place}: number: {left.number} -> {right.number}", breaking=True)
            if left.deprecated != right.deprecated:
                yield Change(f"{place}: {'deprecated' if right.deprecated else 'no longer deprecated'}")
            if left.http_status != right.http_status:
                yield Change(f"{place}: HTTP status: {left.http_status} -> {right.http_status}", breaking=True)


def _phase_classes(old: spec.Enum, new: spec.Enum) -> Iterator[Change]:
    for name in old.phase_classes.keys() - new.phase_classes.keys():
        yield Change(f"enum {new.name}: the class {name} is gone, and with it is_{name}", breaking=True)
    for name in new.phase_classes:
        if name not in old.phase_classes:
            yield Change(f"enum {new.name}: the class {name} is new, is_{name}")
    classes = [{value: name for name, values in enum.phase_classes.items() for value in values} for enum in (old, new)]
    known = {member.value for member in old.members}
    for value, left, right in _pairs(*classes):
        if left != right and value in known and right is not None:
            yield Change(f"member {new.name}: {value} counts as {right} now", breaking=left is not None)


def _formats(before: spec.Api, after: spec.Api) -> Iterator[Change]:
    for name, old, new in _pairs(before.formats, after.formats):
        if old is None:
            yield Change(f"format {name}: new")
        elif new is None:
            yield Change(f"format {name}: gone", breaking=True)
        elif old.base != new.base:
            yield Change(f"format {name}: base: {old.base} -> {new.base}", breaking=True)
        else:
            for key, left, right in (("minimum", old.minimum, new.minimum), ("maximum", old.maximum, new.maximum)):
                if left != right:
                    values = [None if value is None else PARSERS[new.base](value) for value in (left, right)]
                    yield Change(f"format {name}: {key}: {_word(left)} -> {_word(right)}", _tighter(key, *values))


def _tighter(key: str, old: Any, new: Any) -> bool:
    if old is None or new is None:
        return old is None
    return bool(new < old if key in _UPPER else new > old)


def _type(field: spec.Field) -> str:
    inner = field.type or " ".join(filter(None, [field.kind, field.format]))
    return f"list of {inner}" if field.repeated else f"map of {inner}" if field.mapped else inner


def _word(value: object) -> str:
    return "none" if value is None else str(value)
