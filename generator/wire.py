"""Stage `generate`, second half: the package `prebuild_wire`, by datamodel-code-generator and templates of ours."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import jinja2

from . import descriptors, spec
from .problems import PipelineError, Problem
from .runtime import base

TEMPLATES = Path(__file__).parent / "templates" / "wire"
RUNTIME = Path(__file__).parent / "runtime"

# Modules that do not depend on the schema, and are copied.
RUNTIME_MODULES = ("scalars", "enum_types", "fields", "base", "descriptors")

# Modules that a template makes of the schema; `items` only where there are any.
OWN_MODULES = ("__init__", "enums", "formats", "items", "operations")

# datamodel-code-generator takes absolute names only. They become relative afterwards.
_PACKAGE = "prebuild_wire"

_LINE_LENGTH = 100

_CONTAINER_BOUNDS = ("minItems", "maxItems", "minProperties", "maxProperties")

# The type in `fields` that belongs to a kind and its format. What is missing here is a plain `str`.
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
        PipelineError: the schema asks for what protobuf or pydantic cannot say, or a tool said anything at all.
    """
    descriptor_set = descriptors.build(api)
    models = _models(api)
    out.mkdir(parents=True)
    (out / "py.typed").touch()
    (out / "descriptor_set.binpb").write_bytes(descriptor_set.SerializeToString(deterministic=True))
    contract = json.dumps(document, indent=2, ensure_ascii=False)
    (out / "openapi.json").write_text(f"{contract}\n", encoding="utf-8")
    (out / "models.py").write_text(models, encoding="utf-8")
    templates = _environment()
    items = _item_definitions(api)
    for name in OWN_MODULES:
        if name == "items" and not items:
            continue
        text = templates.get_template(f"{name}.py.jinja").render(api=api, items=items)
        (out / f"{name}.py").write_text(text, encoding="utf-8")
    for name in RUNTIME_MODULES:
        shutil.copyfile(RUNTIME / f"{name}.py", out / f"{name}.py")


# -- The models --------------------------------------------------------------------------------------------------------


def _models(api: spec.Api) -> str:
    """The source of `models.py`."""
    headline = f"The messages of {api.title}, each behind those that it is made of."
    arguments = [
        "--input-file-type=openapi",
        "--openapi-scopes=schemas",
        "--strict-refs",
        "--output-model-type=pydantic_v2.BaseModel",
        "--target-python-version=3.11",
        f"--custom-template-dir={TEMPLATES / 'models'}",
        "--custom-file-header",
        _docstring(headline, 0),
        f"--base-class={_PACKAGE}.base.Message",
        "--use-annotated",
        "--use-double-quotes",
        "--use-schema-description",
        "--use-field-description",
        "--model-extra-keys=x-ordered",
        "--field-extra-keys",
        "x-presence",
        "x-ignore-zero",
        "--formatters=builtin",
    ]
    names = {
        f"{message.name}.{field.json_name}": _python_name(field)
        for message in api.messages.values()
        for field in message.fields
        if _python_name(field) != field.json_name
    }
    ordered = {m.name: f"{_PACKAGE}.base.OrderedMessage" for m in api.messages.values() if m.ordered}
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        inputs = {"input": _normalised(api), "aliases": names, "base-class-map": ordered}
        for option, content in inputs.items():
            path = scratch / f"{option}.json"
            path.write_text(json.dumps(content), encoding="utf-8")
            arguments.append(f"--{option}={path}")
        target = scratch / "models.py"
        _run("datamodel_code_generator", *arguments, f"--output={target}", folder=scratch)
        text = target.read_text(encoding="utf-8")
    _verify(api, text)
    return re.sub(rf"^from {_PACKAGE}\.", "from .", text, flags=re.MULTILINE)


def _python_name(field: spec.Field) -> str:
    """The name of a field in its model. One that would hide a method (`copy`) gets an underscore."""
    return f"{field.name}_" if hasattr(base.Message, field.name) else field.name


def _normalised(api: spec.Api) -> dict[str, Any]:
    """The messages as an OpenAPI document with nothing in it that `models.py` does not need."""
    schemas = {message.name: _message(api, message) for message in api.messages.values()}
    return {
        "openapi": "3.1.0",
        "info": {"title": api.title, "version": api.version},
        "paths": {},
        "components": {"schemas": schemas},
    }


def _message(api: spec.Api, message: spec.Message) -> dict[str, Any]:
    schema: dict[str, Any] = {
        "type": "object",
        "description": _wrapped(message.description or message.name),
        "properties": {field.json_name: _field(api, message, field) for field in message.fields},
        "required": [field.json_name for field in message.required_fields],
    }
    if message.ordered:
        schema["x-ordered"] = [list(pair) for pair in message.ordered]
    return schema


def _field(api: spec.Api, message: spec.Message, field: spec.Field) -> dict[str, Any]:
    schema = _value(api, field)
    if field.repeated or field.mapped:
        if _item_bounds(field):
            schema["customTypePath"] = f"{_PACKAGE}.items.{_item_type(message, field)}"
        schema = (
            {"type": "array", "items": schema} if field.repeated else {"type": "object", "additionalProperties": schema}
        )
        schema |= {key: bound for key, bound in field.bounds.items() if key in _CONTAINER_BOUNDS}
    else:
        schema |= field.bounds
    text = f"Deprecated. {field.description}" if field.deprecated else field.description
    if text:
        schema["description"] = _wrapped(text, indent=4)
    if field.explicit and field.kind != "message":
        schema["x-presence"] = "explicit"
    if field.ignore_zero:
        schema["x-ignore-zero"] = True
    return schema


def _value(api: spec.Api, field: spec.Field) -> dict[str, Any]:
    """The schema of one value of the field."""
    if field.kind == "message":
        return {"$ref": f"#/components/schemas/{field.type}"}
    if field.kind == "enum":
        return {"type": "string", "customTypePath": f"{_PACKAGE}.enums.{field.type}"}
    if field.kind == "json":
        return {"customTypePath": f"{_PACKAGE}.fields.Json"}
    kind = "string" if field.kind == "timestamp" else field.kind
    if field.format in api.formats:
        return {"type": kind, "customTypePath": f"{_PACKAGE}.formats.{_pascal_case(field.format)}"}
    if name := _FIELD_TYPES.get((field.kind, field.format)):
        return {"type": kind, "customTypePath": f"{_PACKAGE}.fields.{name}"}
    return {"type": kind}


def _verify(api: spec.Api, models: str) -> None:
    """See to it that no message or field was dropped, renamed or put into a class of another name."""
    classes = [node for node in ast.parse(models).body if isinstance(node, ast.ClassDef)]
    written = {node.name: _written_fields(node) for node in classes}
    expected = {
        message.name: {field.json_name: _python_name(field) for field in message.fields}
        for message in api.messages.values()
    }
    problems = [
        Problem(
            f"datamodel-code-generator wrote {written.get(name)}, not {fields}",
            f"#/components/schemas/{name}",
        )
        for name, fields in expected.items()
        if written.get(name) is None or not _same(fields, written[name])
    ]
    problems += [Problem(f"datamodel-code-generator invented {name}") for name in written.keys() - expected]
    if problems:
        raise PipelineError("generate", problems)


def _same(fields: dict[str, str], written: dict[str, str]) -> bool:
    """Whether all fields were written. One that would hide a builtin (`list`) may have got an underscore."""
    return fields.keys() == written.keys() and all(
        written[json_name] in (name, f"{name}_") for json_name, name in fields.items()
    )


def _written_fields(model: ast.ClassDef) -> dict[str, str]:
    """The fields of a class: JSON name -> Python name."""
    result: dict[str, str] = {}
    for node in model.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            aliases = [
                keyword.value.value
                for call in ast.walk(node.annotation)
                if isinstance(call, ast.Call)
                for keyword in call.keywords
                if keyword.arg == "alias" and isinstance(keyword.value, ast.Constant)
            ]
            result[str(aliases[0]) if aliases else node.target.id] = node.target.id
    return result


def _item_bounds(field: spec.Field) -> dict[str, int | float]:
    """The bounds of what is in a list or map."""
    if not (field.repeated or field.mapped):
        return {}
    return {key: bound for key, bound in field.bounds.items() if key not in _CONTAINER_BOUNDS}


def _item_type(message: spec.Message, field: spec.Field) -> str:
    """The name of the type of what is in a list or map, where that has bounds of its own."""
    return f"{message.name}{_pascal_case(field.name)}Item"


# -- The templates -----------------------------------------------------------------------------------------------------


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - it writes Python
    )
    filters: dict[str, Callable[..., str]] = {
        "docstring": _docstring,
        "enum_base": _enum_base,
        "format_arguments": _format_arguments,
        "format_mark": _format_mark,
        "pascal_case": _pascal_case,
        "literal": _literal,
        "member_value": _member_value,
    }
    cast("Any", environment).filters.update(filters)  # jinja types its filters by those that it brings
    return environment


def _literal(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _wrapped(text: str, indent: int = 4) -> str:
    """`text` in lines that leave room for an indentation and for quotes."""
    width = _LINE_LENGTH - indent - 6
    return "\n".join(
        textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False) for line in text.splitlines()
    )


def _docstring(text: str, indent: int = 4) -> str:
    escaped = text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    lines = _wrapped(escaped, indent).splitlines()
    if len(lines) == 1 and not lines[0].endswith('"'):
        return f'"""{lines[0]}"""'
    body = textwrap.indent("\n".join([*lines, '"""']), " " * indent).lstrip()
    return f'"""{body}'


def _enum_base(enum: spec.Enum) -> str:
    if enum.protobuf_name is not None:
        return "ProtobufEnum"
    return "CodeEnum" if _has_statuses(enum) else "StrEnum"


def _member_value(member: spec.Member, enum: spec.Enum) -> str:
    if enum.protobuf_name is not None:
        return f"{_literal(member.value)}, {member.number}"
    if _has_statuses(enum):
        return f"{_literal(member.value)}, {member.http_status}"
    return _literal(member.value)


def _has_statuses(enum: spec.Enum) -> bool:
    return all(member.http_status is not None for member in enum.members)


def _pascal_case(name: str) -> str:
    """`prebuild-timeout` -> `PrebuildTimeout`."""
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"\W+|_", name) if part)


def _item_definitions(api: spec.Api) -> list[tuple[str, str]]:
    """The name of each type of `items.py`, and how it is defined."""
    keywords = {"minimum": "ge", "maximum": "le", "minLength": "min_length", "maxLength": "max_length"}
    found: list[tuple[str, str]] = []
    for message in api.messages.values():
        for field in message.fields:
            if bounds := _item_bounds(field):
                arguments = ", ".join(f"{keywords[key]}={bound!r}" for key, bound in bounds.items())
                path = _value(api, field).get("customTypePath", "str").removeprefix(f"{_PACKAGE}.")
                found.append((_item_type(message, field), f"Annotated[{path}, Field({arguments})]"))
    return found


def _format_mark(item: spec.Format) -> str:
    return "FormattedInteger" if item.base in ("int64", "uint64") else "FormattedString"


def _format_arguments(item: spec.Format) -> str:
    given = {"base": item.base, "minimum": item.minimum, "maximum": item.maximum}
    return ", ".join(f"{key}={_literal(text)}" for key, text in given.items() if text is not None)


# -- The tool ----------------------------------------------------------------------------------------------------------


def _run(module: str, *arguments: str, folder: Path) -> None:
    """Run a tool of this environment in `folder`. Whatever it says is an error: it is silent when all is well."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    said = (done.stderr + done.stdout).strip()
    if done.returncode or said:
        reason = said or f"exit code {done.returncode}"
        raise PipelineError("generate", [Problem(f"{module}: {reason}")])
