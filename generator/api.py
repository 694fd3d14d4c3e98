"""Stage `generate`, first half: the package `prebuild_api`, by openapi-python-client with our templates."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openapi_python_client import Project
from openapi_python_client.config import Config, ConfigFile, MetaType
from openapi_python_client.parser import GeneratorData
from openapi_python_client.parser.errors import GeneratorError

from . import spec, wording
from .problems import PipelineError, Problem

TEMPLATES = Path(__file__).parent / "templates" / "api"
RUNTIME = Path(__file__).parent / "runtime"

# Templates of ours that openapi-python-client knows nothing of: name -> module.
OWN_MODULES = ("http", "operations", "params", "pages", "resources")

# Modules that do not depend on the schema, and are copied.
RUNTIME_MODULES = ("display", "readers", "scalars", "timestamps")

_WIDTH = 100


def generate(document: dict[str, Any], api: spec.Api, out: Path) -> None:
    """Write the package `prebuild_api` to the directory `out`, unformatted.

    Raises:
        PipelineError: openapi-python-client reported anything at all; it drops what it does not understand.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    source = out.parent / "openapi.json"
    source.write_text(json.dumps(document), encoding="utf-8")
    settings = ConfigFile(
        post_hooks=[],
        package_name_override=out.name,
        project_name_override=out.name,
        package_version_override=api.version,
    )
    config = Config.from_sources(settings, MetaType.NONE, source, "utf-8", overwrite=False, output_path=out)
    data = GeneratorData.from_dict(document, config=config)
    if isinstance(data, GeneratorError):
        raise _refused([data])
    project = Project(openapi=data, config=config, custom_template_path=TEMPLATES)
    environment: Any = project.env
    api = wording.in_python(api)
    environment.globals.update(_globals(api))
    environment.filters.update(_filters(api))
    with contextlib.redirect_stdout(io.StringIO()):
        errors = list(project.build())
    source.unlink()
    if errors:
        raise _refused(errors)
    for name in OWN_MODULES:
        template = project.env.get_template(f"{name}.py.jinja")
        (out / f"{name}.py").write_text(template.render(), encoding="utf-8")
    for name in RUNTIME_MODULES:
        shutil.copyfile(RUNTIME / f"{name}.py", out / f"{name}.py")
    (out / "py.typed").touch()
    shutil.rmtree(out / "__pycache__", ignore_errors=True)


def _refused(errors: list[GeneratorError]) -> PipelineError:
    return PipelineError(
        "generate",
        [Problem(f"openapi-python-client: {error.header} {error.detail or ''}".strip()) for error in errors],
    )


def _globals(api: spec.Api) -> dict[str, Any]:
    nested = api.reachable(*(operation.request for operation in api.operations))
    enums = _enums_of(api, [*(operation.request for operation in api.operations), *nested])
    return {
        "api": api,
        "operations": {operation.path: operation for operation in api.operations},
        "param_messages": nested,
        "param_enums": enums,
        "resource_name": f"{api.service.removesuffix('Service')}sResource",
    }


def _enums_of(api: spec.Api, messages: list[spec.Message]) -> list[spec.Enum]:
    names = {field.type for message in messages for field in message.fields if field.kind == "enum"}
    return [api.enums[name] for name in sorted(names)]


# What templates ask about a field. The filters keep Python out of the templates, and templates out of Python.


@dataclass(frozen=True)
class _Parameter:
    """A keyword of a client method."""

    name: str
    type: str
    default: str
    doc: str


def _filters(api: spec.Api) -> dict[str, Any]:
    def base_type(field: spec.Field) -> str:
        simple = {
            "string": "str",
            "integer": "int",
            "number": "float",
            "boolean": "bool",
            "timestamp": "datetime",
            "json": "Any",
        }
        return simple.get(field.kind, field.type)

    def zero_member(field: spec.Field) -> spec.Member | None:
        return api.enums[field.type].zero if field.kind == "enum" else None

    def attribute_type(field: spec.Field, message: spec.Message | None = None) -> str:
        inner = base_type(field)
        if message and field.type == message.name:
            inner = f"models.{inner}"  # attrs copies what the module has before the class is there
        if field.repeated:
            return f"list[{inner}]"
        if field.mapped:
            return f"dict[str, {inner}]"
        if field.required or field.kind == "json" or zero_member(field):
            return inner
        return f"{inner} | None"

    def attribute_default(field: spec.Field, message: spec.Message | None = None) -> str:
        hidden = ", repr=False" if field.secret else ""
        if field.repeated or field.mapped:
            made = attribute_type(field)
            if message and field.type == message.name:
                made = made.partition("[")[0]  # the class is not there yet
            return f" = field(factory={made}{hidden})"
        if field.required:
            return " = field(repr=False)" if field.secret else ""
        zero = zero_member(field)
        default = f"{field.type}.{zero.name}" if zero else "None"
        return f" = field(default={default}{hidden})" if field.secret else f" = {default}"

    def param_type(field: spec.Field, place: str = "") -> str:
        """What a caller may give for the field. `place` is how the names of `params` begin where this stands."""
        inner = base_type(field)
        if field.kind == "enum":
            inner = f"models.{field.type} | {place}{field.type}Value"
        elif field.kind == "message":
            inner = f"models.{field.type} | {place}{field.type}Param"
        elif field.kind == "timestamp":
            inner = "datetime | str"
        if field.repeated:
            return f"Sequence[{inner}]"
        if field.mapped:
            return f"Mapping[str, {inner}]"
        return inner

    def omissible(field: spec.Field) -> bool:
        """Whether the client fills the field in: a message that may be empty."""
        if field.kind != "message" or field.repeated or field.mapped:
            return False
        return not api.messages[field.type].required_fields

    def flattened(operation: spec.Operation) -> list[tuple[spec.Field, spec.Field]]:
        return [(outer, inner) for outer in operation.flatten for inner in api.messages[outer.type].fields]

    def parameters(operation: spec.Operation) -> list[_Parameter]:
        result: list[_Parameter] = []
        for field in sorted(operation.request.fields, key=lambda field: not field.required or omissible(field)):
            needed = field.required and not omissible(field)
            kind = param_type(field, "params.")
            result.append(
                _Parameter(
                    field.name,
                    kind if needed else f"{kind} | None",
                    "" if needed else " = None",
                    attribute_doc(field),
                )
            )
        for outer, inner in flattened(operation):
            doc = f"{attribute_doc(inner)} The same as in `{outer.name}`."
            result.append(_Parameter(inner.name, f"{param_type(inner, 'params.')} | None", " = None", doc))
        return result

    def request_arguments(operation: spec.Operation) -> list[str]:
        lines: list[str] = []
        for field in operation.request.fields:
            name = field.name
            if field in operation.flatten:
                inner = ", ".join(f"{each.name}={each.name}" for each in api.messages[field.type].fields)
                lines.append(f'{name}=merge_fields(models.{field.type}, "{name}", {name}, {inner})')
            elif field.kind == "message" and not (field.repeated or field.mapped):
                value = f'to_model(models.{field.type}, {name}, "{name}")'
                if field.required and omissible(field):
                    value = f'to_model(models.{field.type}, {{}} if {name} is None else {name}, "{name}")'
                elif not field.required:
                    value = f"None if {name} is None else {value}"
                lines.append(f"{name}={value}")
            elif field.kind == "message":
                lines.append(_collection(field, f'to_model(models.{field.type}, item, "{name}")'))
            elif field.kind == "enum" and (field.repeated or field.mapped):
                lines.append(_collection(field, f"models.{field.type}(item)"))
            elif field.kind == "enum":
                zero = zero_member(field)
                absent = f"models.{field.type}.{zero.name}" if zero else "None"
                value = f"models.{field.type}({name})"
                lines.append(f"{name}={value}" if field.required else f"{name}={absent} if {name} is None else {value}")
            elif field.kind == "timestamp":
                lines.append(
                    _collection(field, "to_timestamp(item)") if field.repeated else f"{name}=to_timestamp({name})"
                )
            elif field.repeated or field.mapped:
                lines.append(_collection(field, "item"))
            else:
                lines.append(f"{name}={name}")
        return lines

    def page_name(operation: spec.Operation) -> str:
        return operation.name.removeprefix("List") + "Page"

    def wire_format(field: spec.Field) -> str:
        return api.formats[field.format].base if field.format in api.formats else field.format

    def unusual(field: spec.Field) -> str:
        """A test of `value` that is quick, and false for the form that a field usually has."""
        tests = {
            "int32": "type(value) is not int or not -(2**31) <= value < 2**31",
            "uint32": "type(value) is not int or not 0 <= value < 2**32",
            "double": "type(value) is not float",
            "float": "type(value) is not float or abs(value) > 3.4e38",
        }
        plain = {"string": "not isinstance(value, str)", "boolean": "not isinstance(value, bool)"}
        plain["json"] = "value is None"
        return plain.get(field.kind) or tests[field.format]

    def reader(field: spec.Field) -> str:
        """What reads a value of the field in any form that protobuf JSON allows."""
        if field.kind in ("integer", "number"):
            return {"float": "float32"}.get(field.format, field.format)
        if field.kind == "string" and wire_format(field) in ("int64", "uint64"):
            return wire_format(field)
        return {"enum": f"{field.type}.from_json", "json": "json_value"}.get(field.kind, field.kind)

    def other_names(message: spec.Message) -> dict[str, str]:
        return {field.name: field.json_name for field in message.fields if field.name != field.json_name}

    return {
        "attribute_type": attribute_type,
        "attribute_default": attribute_default,
        "attribute_doc": attribute_doc,
        "param_type": param_type,
        "parameters": parameters,
        "request_arguments": request_arguments,
        "zero_member": zero_member,
        "unusual": unusual,
        "reader": reader,
        "other_names": other_names,
        "page_name": page_name,
        "docstring": docstring,
        "python_name": spec.python_name,
    }


def _collection(field: spec.Field, item: str) -> str:
    name = field.name
    if field.mapped:
        made = (
            f"dict({name} or {{}})" if item == "item" else f"{{key: {item} for key, item in ({name} or {{}}).items()}}"
        )
    else:
        made = f"list({name} or ())" if item == "item" else f"[{item} for item in {name} or ()]"
    return f"{name}={made}"


def attribute_doc(field: spec.Field) -> str:
    """What a reader of the attribute needs to know: meaning, bounds, deprecation."""
    text = field.description or f"`{field.name}`."
    words = {
        "minimum": "at least {}",
        "maximum": "at most {}",
        "minLength": "at least {} characters",
        "maxLength": "at most {} characters",
        "minItems": "at least {} items",
        "maxItems": "at most {} items",
        "minProperties": "at least {} entries",
        "maxProperties": "at most {} entries",
    }
    bounds = ", ".join(
        words[key].format(value) for key, value in field.bounds.items() if not re.search(rf"\b{value}\b", text)
    )
    parts = [text]
    if bounds:
        parts.append(f"{bounds[0].upper()}{bounds[1:]}.")
    if field.deprecated and "deprecated" not in text.lower():
        parts.append("Deprecated.")
    return " ".join(parts)


def docstring(text: str, indent: int, label: str = "") -> str:
    """`text` for a docstring at `indent`; its first line, behind `label: ` if any, stands already there.

    Paragraphs are kept, and so are the beginnings of list items. What comes out is safe between triple quotes.
    """
    lead = "x" * (len(label) - 2 if label else len('"""'))
    paragraphs = ["\n".join(_wrap(part, indent, lead) for part in _parts(each)) for each in text.split("\n\n")]
    safe = "\n\n".join(paragraphs).strip().replace("\\", "\\\\").replace('"""', r"\"\"\"")
    if safe.endswith('"'):
        safe = safe[:-1] + r"\""
    return textwrap.indent(safe, " " * indent).strip()


def _wrap(text: str, indent: int, lead: str) -> str:
    lines = textwrap.fill(text, _WIDTH - indent, initial_indent=lead, break_long_words=False, break_on_hyphens=False)
    return lines[len(lead) :]


def _parts(paragraph: str) -> list[str]:
    parts: list[str] = []
    for line in paragraph.strip().splitlines():
        words = " ".join(line.split())
        if parts and not words.startswith("- "):
            parts[-1] = f"{parts[-1]} {words}"
        else:
            parts.append(words)
    return parts
