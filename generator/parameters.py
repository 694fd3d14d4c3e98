"""The keywords of the client's methods, and the request that is made of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from . import spec
from .attributes import attribute_doc, value_type, zero_member
from .texts import literal


@dataclass(frozen=True)
class Parameter:
    """A keyword of a client method, as it is written."""

    name: str
    type: str
    default: str
    doc: str
    positional: bool = False
    """Whether it may be given without its name."""


def param_type(api: spec.Api, field: spec.Field, place: str = "") -> str:
    """What a caller may give for the field. `place` is how the names of `params` begin where this stands."""
    inner = value_type(field)
    if field.kind == "enum":
        inner = f"_models.{field.type} | {place}{field.type}Value"
    elif field.kind == "message":
        inner = f"_models.{field.type} | {place}{field.type}Param"
    elif field.kind == "timestamp":
        inner = "datetime | str"
    elif _is_duration(api, field):
        inner = "str | _timedelta"
    if field.repeated:
        return f"_Sequence[{inner}]"
    if field.mapped:
        return f"_Mapping[str, {inner}]"
    return inner


def parameters(api: spec.Api, operation: spec.Operation) -> list[Parameter]:
    """The parameters of the method, required ones first. A required string in front, which is an id, is positional."""
    found = sorted((_parameter(api, keyword) for keyword in operation.keywords), key=lambda item: bool(item.default))
    if found and found[0].type == "str":
        found[0] = replace(found[0], positional=True)
    return found


def request_arguments(api: spec.Api, operation: spec.Operation) -> list[str]:
    """The arguments of the request's model."""
    lines: list[str] = []
    for keyword in operation.keywords:
        if keyword.outer is not None:
            continue
        inner = [each for each in operation.keywords if each.outer == keyword.field]
        value = _merged(keyword, inner) if keyword.field in operation.flatten else _argument(api, keyword)
        lines.append(f"{keyword.field.name}={value}")
    return lines


def _parameter(api: spec.Api, keyword: spec.Keyword) -> Parameter:
    kind = param_type(api, keyword.field, "_params.")
    if keyword.outer is not None:
        doc = f"{attribute_doc(keyword.field)} The same as in `{keyword.outer.name}`."
        return Parameter(keyword.name, f"{kind} | None", " = None", doc)
    doc = attribute_doc(keyword.field)
    if keyword.field.required and not _is_omissible(api, keyword.field):
        return Parameter(keyword.name, kind, "", doc)
    return Parameter(keyword.name, f"{kind} | None", " = None", doc)


def _is_duration(api: spec.Api, field: spec.Field) -> bool:
    declared = api.formats.get(field.format)
    return (declared.base if declared else field.format) == "protobuf-duration"


def _is_omissible(api: spec.Api, field: spec.Field) -> bool:
    """Whether the client fills the field in: a message that may be empty."""
    if field.kind != "message" or field.repeated or field.mapped:
        return False
    return not api.messages[field.type].required_fields


def _merged(keyword: spec.Keyword, inner: list[spec.Keyword]) -> str:
    given = ", ".join(f"{literal(each.field.name)}: {each.name}" for each in inner)
    names = {each.field.name: each.name for each in inner if each.field.name != each.name}
    renamed = f", {names!r}" if names else ""
    field = keyword.field
    merge = "_merge_required" if field.required else "_merge_fields"
    return f"{merge}(_models.{field.type}, {literal(keyword.name)}, {keyword.name}, {{{given}}}{renamed})"


def _argument(api: spec.Api, keyword: spec.Keyword) -> str:
    field, name = keyword.field, keyword.name
    if field.repeated:
        item = _converted(api, field, "_item", name)
        return f"list({name} or ())" if item == "_item" else f"[{item} for _item in {name} or ()]"
    if field.mapped:
        item = _converted(api, field, "_item", name)
        entries = f"{{_key: {item} for _key, _item in ({name} or {{}}).items()}}"
        return f"dict({name} or {{}})" if item == "_item" else entries
    if field.required and _is_omissible(api, field):
        return _converted(api, field, f"{{}} if {name} is None else {name}", name)
    value = _converted(api, field, name, name)
    if field.required or value == name:
        return value
    zero = zero_member(api, field)
    absent = f"_models.{field.type}.{zero.name}" if zero else "None"
    return f"{absent} if {name} is None else {value}"


def _converted(api: spec.Api, field: spec.Field, value: str, parameter: str) -> str:
    """The expression that makes what the model holds of `value`, which a caller gave."""
    if field.kind == "message":
        return f"_to_model(_models.{field.type}, {value}, {literal(parameter)})"
    if field.kind == "enum":
        return f"_to_member(_models.{field.type}, {value}, {literal(parameter)})"
    if field.kind == "timestamp":
        return f"_to_timestamp({value})"
    if field.kind == "number":
        return f"_to_number({value})"
    if _is_duration(api, field):
        return f"_to_duration({value})"
    return value


def query_value(field: spec.Field) -> str:
    """The expression that makes of a query parameter what goes over the wire."""
    if field.kind == "timestamp":
        return f"{field.name} and _encode_timestamp({field.name})"
    return field.name
