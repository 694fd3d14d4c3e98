"""The attributes of the client's models: their types, defaults and docstrings."""

from __future__ import annotations

import re

from . import spec

_TYPES = {
    "string": "str",
    "integer": "int",
    "number": "float",
    "boolean": "bool",
    "timestamp": "datetime",
    "json": "_Any",
}

_BOUNDS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "minProperties": "at least {} entries",
    "maxProperties": "at most {} entries",
}


def value_type(field: spec.Field) -> str:
    """The type of one value of the field."""
    return _TYPES.get(field.kind, field.type)


def zero_member(api: spec.Api, field: spec.Field) -> spec.Member | None:
    """The member of its enum that stands for an absent value."""
    return api.enums[field.type].zero if field.kind == "enum" else None


def attribute_type(api: spec.Api, field: spec.Field, *, cyclic: bool = False) -> str:
    """The type of the attribute. `cyclic`: the class of the field is not there yet when the model's is made."""
    inner = f"_models.{field.type}" if cyclic else value_type(field)
    if field.repeated:
        return f"list[{inner}]"
    if field.mapped:
        return f"dict[str, {inner}]"
    if field.required or field.kind == "json" or zero_member(api, field):
        return inner
    return f"{inner} | None"


def attribute_default(api: spec.Api, field: spec.Field, *, cyclic: bool = False) -> str:
    """What stands behind the attribute's type."""
    hidden = ", repr=False" if field.secret else ""
    if field.repeated or field.mapped:
        made = attribute_type(api, field)
        # A class that is not there yet cannot stand in an expression.
        return f" = _field(factory={made.partition('[')[0] if cyclic else made}{hidden})"
    if field.required:
        return " = _field(repr=False)" if field.secret else ""
    zero = zero_member(api, field)
    default = f"{field.type}.{zero.name}" if zero else "None"
    return f" = _field(default={default}{hidden})" if field.secret else f" = {default}"


def attribute_doc(field: spec.Field) -> str:
    """The documentation of the attribute: meaning, bounds, deprecation."""
    text = field.description or f"`{field.name}`."
    bounds = ", ".join(
        _BOUNDS[key].format(value) for key, value in field.bounds.items() if not re.search(rf"\b{value}\b", text)
    )
    parts = [text]
    if bounds:
        parts.append(f"{bounds[0].upper()}{bounds[1:]}.")
    if field.deprecated and "deprecated" not in text.lower():
        parts.append("Deprecated.")
    return " ".join(parts)
