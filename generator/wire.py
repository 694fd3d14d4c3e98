"""Stage `generate`, second half: the package `prebuild_wire`, by templates of ours."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import jinja2

from . import descriptors, spec
from .api import copy_runtime
from .spec import unique
from .texts import docstring, literal

TEMPLATES = Path(__file__).parent / "templates" / "wire"

# Modules that do not depend on the schema, and are copied.
RUNTIME_MODULES = ("base", "descriptors", "enum_types", "fields")

# Modules that a template makes of the schema.
OWN_MODULES = ("__init__", "enums", "formats", "models", "operations")

# The type in `fields` for a kind and its format. All other combinations are a plain `str`.
_FIELD_TYPES = {
    ("string", "int64"): "Int64",
    ("string", "uint64"): "Uint64",
    ("string", "protobuf-duration"): "Duration",
    ("string", "uuid"): "Uuid",
    ("string", "uri"): "Uri",
    ("string", "byte"): "Bytes",
    ("timestamp", "date-time"): "Timestamp",
    ("integer", ""): "Int32",
    ("integer", "int32"): "Int32",
    ("integer", "uint32"): "Uint32",
    ("number", ""): "Double",
    ("number", "double"): "Double",
    ("number", "float"): "Float",
    ("boolean", ""): "Bool",
}


def generate(document: dict[str, Any], api: spec.Api, out: Path) -> None:
    """Write the package `prebuild_wire` to the directory `out`, unformatted. It must not exist yet.

    Raises:
        PipelineError: protobuf cannot express the schema.
    """
    descriptor_set = descriptors.build(api)
    out.mkdir(parents=True)
    (out / "py.typed").touch()
    (out / "descriptor_set.binpb").write_bytes(descriptor_set.SerializeToString(deterministic=True))
    contract = json.dumps(document, indent=2, ensure_ascii=False)
    (out / "openapi.json").write_text(f"{contract}\n", encoding="utf-8")
    templates = _environment()
    for name in OWN_MODULES:
        text = templates.get_template(f"{name}.py.jinja").render(api=api, format_names=_format_names(api))
        (out / f"{name}.py").write_text(text, encoding="utf-8")
    copy_runtime("wire", RUNTIME_MODULES, out)


# -- The models --------------------------------------------------------------------------------------------------------


def _field_type(field: spec.Field, formats: dict[str, str]) -> str:
    """The annotation of a field in its model."""
    inner = _value_type(field, formats)
    keywords = {"minimum": "ge", "maximum": "le", "minLength": "min_length", "maxLength": "max_length"}
    containers = {"minItems": "min_length", "maxItems": "max_length", "minProperties": "min_length"}
    containers["maxProperties"] = "max_length"
    own = [f"{keywords[key]}={bound!r}" for key, bound in field.bounds.items() if key in keywords]
    outer = [f"{containers[key]}={bound!r}" for key, bound in field.bounds.items() if key in containers]
    if field.repeated or field.mapped:
        item = f"_Annotated[{inner}, _Field({', '.join(own)})]" if own else inner
        inner = f"list[{item}]" if field.repeated else f"dict[str, {item}]"
    else:
        outer = own
    if outer:
        # The bounds apply to present values: outside of `Optional`, they would be checked against None.
        inner = f"_Annotated[{inner}, _Field({', '.join(outer)})]"
    return inner if field.required else f"{inner} | None"


def _field_arguments(field: spec.Field) -> str:
    """The arguments of a field's definition in its model; empty if there are none."""
    arguments: list[str] = []
    if field.wire_name != field.json_name:
        arguments.append(f"alias={literal(field.json_name)}")
    extra: dict[str, str | bool] = {}
    if field.explicit and field.kind != "message":
        extra["x-presence"] = "explicit"
    if field.ignore_zero:
        extra["x-ignore-zero"] = True
    if extra:
        arguments.append(f"json_schema_extra={extra!r}")
    return ", ".join(arguments)


def _field_annotation(field: spec.Field, formats: dict[str, str]) -> str:
    """The annotation of a field with all its metadata."""
    arguments = _field_arguments(field)
    kind = _field_type(field, formats)
    return f"_Annotated[{kind}, _Field({arguments})]" if arguments else kind


def _value_type(field: spec.Field, formats: dict[str, str]) -> str:
    """The type of one value of the field."""
    if field.kind == "message":
        return field.type
    if field.kind == "enum":
        return f"_enums.{field.type}"
    if field.kind == "json":
        return "_fields.Json"
    if field.format in formats:
        return f"_formats.{formats[field.format]}"
    name = _FIELD_TYPES.get((field.kind, field.format))
    return f"_fields.{name}" if name else "str"


def _field_doc(field: spec.Field) -> str:
    if field.deprecated and "deprecated" not in field.description.lower():
        return f"Deprecated. {field.description}".strip()
    return field.description


def _format_names(api: spec.Api) -> dict[str, str]:
    """The name of the type of each format of the schema's own."""
    names: dict[str, str] = {}
    for name in api.formats:
        short = "".join(part[:1].upper() + part[1:] for part in re.split(r"[^A-Za-z0-9]+", name) if part)
        if not short[:1].isalpha():
            short = f"Format{short}"
        names[name] = unique(short, {*names.values(), "FORMATS"})
    return names


# -- The templates -----------------------------------------------------------------------------------------------------


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701 - it writes Python
    )
    filters: dict[str, Callable[..., str]] = {
        "docstring": docstring,
        "enum_base": _enum_base,
        "format_arguments": _format_arguments,
        "format_mark": _format_mark,
        "field_annotation": _field_annotation,
        "field_doc": _field_doc,
        "literal": literal,
        "member_value": _member_value,
    }
    cast("Any", environment).filters.update(filters)  # jinja types its filters by its built-in filters
    return environment


def _enum_base(enum: spec.Enum) -> str:
    if enum.protobuf_name is not None:
        return "_enum_types.ProtobufEnum"
    return "_enum_types.CodeEnum" if _has_statuses(enum) else "_StrEnum"


def _member_value(member: spec.Member, enum: spec.Enum) -> str:
    if enum.protobuf_name is not None:
        return f"{literal(member.value)}, {member.number}"
    if _has_statuses(enum):
        return f"{literal(member.value)}, {member.http_status}"
    return literal(member.value)


def _has_statuses(enum: spec.Enum) -> bool:
    return all(member.http_status is not None for member in enum.members)


def _format_mark(item: spec.Format) -> str:
    return "_FormattedInteger" if item.base in ("int64", "uint64") else "_FormattedString"


def _format_arguments(item: spec.Format) -> str:
    given = {"base": item.base, "minimum": item.minimum, "maximum": item.maximum}
    return ", ".join(f"{key}={literal(text)}" for key, text in given.items() if text is not None)
