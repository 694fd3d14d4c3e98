"""Stage `report`: what changed since the last generation, what that breaks, and what is left to do by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from . import spec
from .runtime.scalars import PARSERS

_T = TypeVar("_T")

# Bounds that a larger value loosens.
_UPPER = ("maximum", "maxLength", "maxItems", "maxProperties")


@dataclass(frozen=True)
class Change:
    """One difference. `breaking` if code that works against the old packages may fail against the new."""

    text: str
    breaking: bool = False


@dataclass(frozen=True)
class Report:
    """The differences between two generations."""

    version: str
    changes: list[Change] = field(default_factory=list[Change])
    todo: list[str] = field(default_factory=list[str])
    first: bool = False

    @property
    def breaking(self) -> list[Change]:
        """The changes that callers have to know of."""
        return [change for change in self.changes if change.breaking]

    def __str__(self) -> str:
        if self.first:
            return "first generation: there is nothing to compare with"
        if not self.changes:
            return "no change of the API since the last generation"
        return self.entry().strip()

    def entry(self) -> str:
        """The report as an entry of the change log."""
        sections = [
            ("Breaks callers", [change.text for change in self.changes if change.breaking]),
            ("Changed", [change.text for change in self.changes if not change.breaking]),
            ("Left to do by hand", self.todo),
        ]
        lines = [f"## Schema {self.version}", ""]
        for title, items in sections:
            if items:
                lines += [f"### {title}", "", *(f"- {item}" for item in items), ""]
        return "\n".join(lines)


def compare(old: dict[str, Any] | None, new: dict[str, Any]) -> Report:
    """The report on the step from the document `old` to the document `new`."""
    after = spec.read(new)
    if old is None:
        return Report(after.version, first=True)
    before = spec.read(old)
    report = Report(after.version)
    if before.version != after.version:
        report.changes.append(Change(f"the schema's version: {before.version} -> {after.version}"))
    report.changes.extend(_operations(before, after, report.todo))
    report.changes.extend(_messages(before, after, report.todo))
    report.changes.extend(_enums(before, after, report.todo))
    report.changes.extend(_formats(before, after))
    if not report.changes and old != new:
        report.changes.append(Change("descriptions and examples only"))
    return report


def prepend(report: Report, log: Path) -> None:
    """Put the report's entry at the head of the change log `log`."""
    heading, _, rest = (log.read_text(encoding="utf-8") if log.exists() else "# Changes of the schema\n").partition(
        "\n## "
    )
    text = heading.rstrip() + "\n\n" + report.entry().rstrip() + "\n"
    if rest:
        text += "\n## " + rest
    temporary = log.with_name(f".{log.name}.new")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(log)


def last_generation(generated: Path) -> dict[str, Any] | None:
    """The document that `generated` was made from, if it is there."""
    path = generated / "prebuild_wire" / "openapi.json"
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        spec.read(document)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return document


def _pairs(before: Mapping[str, _T], after: Mapping[str, _T]) -> Iterator[tuple[str, _T | None, _T | None]]:
    for name in [*after, *(name for name in before if name not in after)]:
        yield name, before.get(name), after.get(name)


def _operations(before: spec.Api, after: spec.Api, todo: list[str]) -> Iterator[Change]:
    by_name = [{operation.name: operation for operation in api.operations} for api in (before, after)]
    for name, old, new in _pairs(*by_name):
        if old is None and new is not None:
            yield Change(f"operation {name}: new, client.prebuilds.{new.client_method}")
            todo.append(f"{name}: the emulator answers `unimplemented` until its service has a method `{new.module}`")
        elif new is None and old is not None:
            yield Change(
                f"operation {name}: gone, and with it client.prebuilds.{old.client_method}",
                breaking=True,
            )
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
    lost = [field.json_name for field in old.flatten if field.json_name not in {each.json_name for each in new.flatten}]
    gained = [
        field.json_name for field in new.flatten if field.json_name not in {each.json_name for each in old.flatten}
    ]
    for field_name in lost:
        yield Change(f"operation {name}: the fields of {field_name} are no keywords any more", breaking=True)
    for field_name in gained:
        yield Change(f"operation {name}: the fields of {field_name} are keywords too")
    if old.idempotency != new.idempotency:
        yield Change(f"operation {name}: idempotency: {old.idempotency} -> {new.idempotency}, so retries differ")
    if old.deprecated != new.deprecated:
        yield Change(f"operation {name}: {'deprecated' if new.deprecated else 'no longer deprecated'}")


def _paging(operation: spec.Operation) -> str:
    paging = operation.paging
    if paging is None:
        return "none"
    return f"{paging.items} by {'.'.join(paging.token)} and {'.'.join(paging.next_token)}"


def _messages(before: spec.Api, after: spec.Api, todo: list[str]) -> Iterator[Change]:
    requests = {operation.request.name for operation in after.operations}
    sent = requests | {message.name for message in after.reachable(*(each.request for each in after.operations))}
    for name, old, new in _pairs(before.messages, after.messages):
        if old is None:
            yield Change(f"message {name}: new")
        elif new is None:
            yield Change(f"message {name}: gone", breaking=True)
        else:
            yield from _message(old, new, name in sent, todo)


def _message(old: spec.Message, new: spec.Message, sent: bool, todo: list[str]) -> Iterator[Change]:
    name = new.name
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
            yield from _field(place, left, right, sent)
    if old.protobuf_name != new.protobuf_name:
        yield Change(
            f"message {name}: protobuf name: {old.protobuf_name} -> {new.protobuf_name}",
            breaking=True,
        )
    for pair in new.ordered:
        if pair not in old.ordered:
            yield Change(f"message {name}: {pair[0]} has to be at most {pair[1]}", breaking=sent)
    for pair in old.ordered:
        if pair not in new.ordered:
            yield Change(f"message {name}: {pair[0]} may be more than {pair[1]}")


def _field(place: str, old: spec.Field, new: spec.Field, sent: bool) -> Iterator[Change]:
    if _type(old) != _type(new):
        yield Change(f"{place}: type: {_type(old)} -> {_type(new)}", breaking=True)
    if old.number != new.number:
        yield Change(f"{place}: protobuf number: {old.number} -> {new.number}", breaking=True)
    if old.required != new.required:
        yield Change(
            f"{place}: {'required' if new.required else 'no longer required'}",
            breaking=new.required == sent,
        )
    if old.explicit != new.explicit:
        words = ("implicit", "explicit")
        yield Change(f"{place}: presence: {words[old.explicit]} -> {words[new.explicit]}", breaking=True)
    if old.ignore_zero != new.ignore_zero:
        text = "zero means not given" if new.ignore_zero else "zero is a value as any other"
        yield Change(f"{place}: {text}", breaking=sent)
    if old.always_set != new.always_set:
        yield Change(f"{place}: {'always set' if new.always_set else 'may be left out'} in responses")
    if old.deprecated != new.deprecated:
        yield Change(f"{place}: {'deprecated' if new.deprecated else 'no longer deprecated'}")
    for key, left, right in _pairs(old.bounds, new.bounds):
        if left != right:
            yield Change(
                f"{place}: {key}: {_word(left)} -> {_word(right)}",
                breaking=sent and _tighter(key, left, right),
            )


def _enums(before: spec.Api, after: spec.Api, todo: list[str]) -> Iterator[Change]:
    for name, old, new in _pairs(before.enums, after.enums):
        if old is None:
            yield Change(f"enum {name}: new")
        elif new is None:
            yield Change(f"enum {name}: gone", breaking=True)
        else:
            yield from _enum(old, new, todo)


def _enum(old: spec.Enum, new: spec.Enum, todo: list[str]) -> Iterator[Change]:
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
            if left.http_status != right.http_status:
                yield Change(
                    f"{place}: HTTP status: {left.http_status} -> {right.http_status}",
                    breaking=True,
                )
    for group in new.phase_classes:
        moved = set(new.phase_classes[group]) & {member.value for member in old.members}
        for value in sorted(moved - set(old.phase_classes.get(group, ()))):
            yield Change(f"member {new.name}: {value} counts as {group} now", breaking=True)


def _formats(before: spec.Api, after: spec.Api) -> Iterator[Change]:
    for name, old, new in _pairs(before.formats, after.formats):
        if old is None:
            yield Change(f"format {name}: new")
        elif new is None:
            yield Change(f"format {name}: gone", breaking=True)
        else:
            if old.base != new.base:
                yield Change(f"format {name}: base: {old.base} -> {new.base}", breaking=True)
                continue
            for key, left, right in (
                ("minimum", old.minimum, new.minimum),
                ("maximum", old.maximum, new.maximum),
            ):
                if left != right:
                    values = [None if value is None else PARSERS[new.base](value) for value in (left, right)]
                    yield Change(
                        f"format {name}: {key}: {_word(left)} -> {_word(right)}",
                        _tighter(key, *values),
                    )


def _tighter(key: str, old: Any, new: Any) -> bool:
    if old is None or new is None:
        return old is None
    return bool(new < old if key in _UPPER else new > old)


def _type(field: spec.Field) -> str:
    inner = field.type or " ".join(filter(None, [field.kind, field.format]))
    return f"list of {inner}" if field.repeated else f"map of {inner}" if field.mapped else inner


def _word(value: object) -> str:
    return "none" if value is None else str(value)
