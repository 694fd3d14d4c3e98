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

from . import spec
from .problems import PipelineError, Problem

TEMPLATES = Path(__file__).parent / "templates" / "api"

# Templates of ours that openapi-python-client knows nothing of: name -> module.
OWN_MODULES = ("operations", "params", "pages", "resources")

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
    (out / "py.typed").touch()
    shutil.rmtree(out / "__pycache__", ignore_errors=True)


def _refused(errors: list[GeneratorError]) -> PipelineError:
    return PipelineError(
        "generate",
        [Problem(f"openapi-python-client: {error.header} {error.detail or ''}".strip()) for error in errors],
    )


def _globals(api: spec.Api) -> dict[str, Any]:
    paged = [operation for operation in api.operations if operation.paging]
    pages = {operation.response.name for operation in paged}
    pages |= {operation.paging.item_type for operation in paged if operation.paging}
    nested = api.reachable(*(operation.request for operation in api.operations))
    requests = [operation.request for operation in api.operations]
    enums = _enums_of(api, [*requests, *nested])
    messages = {operation.request.name for operation in api.operations}
    messages |= {operation.response.name for operation in api.operations} | pages
    holders = [
        operation.request.field(operation.paging.token[0]).type
        for operation in paged
        if operation.paging and len(operation.paging.token) > 1
    ]
    used = {field.type for request in requests for field in request.fields if field.kind == "message"}
    used |= {field.type for request in requests for field in request.fields if field.kind == "enum"}
    flat = {
        inner.type
        for operation in api.operations
        for outer in operation.flatten
        for inner in api.messages[outer.type].fields
        if inner.kind in ("enum", "message")
    }
    return {
        "api": api,
        "operations": {operation.path: operation for operation in api.operations},
        "message_names": sorted(messages | set(holders)),
        "page_models": sorted(pages),
        "param_messages": nested,
        "param_enums": enums,
        "resource_models": sorted(used | flat | messages),
        "resource_params": sorted(
            {f"{name}Param" for name in used | flat if name in api.messages}
            | {f"{name}Value" for name in used | flat if name in api.enums}
        ),
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

    def attribute_type(field: spec.Field) -> str:
        if field.repeated:
            return f"list[{base_type(field)}]"
        if field.mapped:
            return f"dict[str, {base_type(field)}]"
        if field.required or field.kind == "json" or zero_member(field):
            return base_type(field)
        return f"{base_type(field)} | None"

    def attribute_default(field: spec.Field) -> str:
        if field.repeated:
            return f" = field(factory=list[{base_type(field)}])"
        if field.mapped:
            return f" = field(factory=dict[str, {base_type(field)}])"
        if field.required:
            return ""
        zero = zero_member(field)
        return f" = {field.type}.{zero.name}" if zero else " = None"

    def param_type(field: spec.Field) -> str:
        inner = base_type(field)
        if field.kind == "enum":
            inner = f"{field.type} | {field.type}Value"
        elif field.kind == "message":
            inner = f"{field.type}Param"
        elif field.kind == "timestamp":
            inner = "datetime | str"
        if field.repeated:
            return f"Sequence[{inner}]"
        if field.mapped:
            return f"Mapping[str, {inner}]"
        return inner

    def keyword_type(field: spec.Field) -> str:
        if field.kind == "message" and not (field.repeated or field.mapped):
            return f"{field.type} | {field.type}Param"
        if field.kind == "message":
            return param_type(field).replace(f"{field.type}Param", f"{field.type} | {field.type}Param")
        return param_type(field)

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
            kind = keyword_type(field)
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
            result.append(_Parameter(inner.name, f"{keyword_type(inner)} | None", " = None", doc))
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

    def type_test(field: spec.Field) -> str:
        tests = {
            "string": "not isinstance(value, str)",
            "integer": "type(value) is not int",
            "number": "type(value) not in (int, float)",
            "boolean": "not isinstance(value, bool)",
        }
        return tests[field.kind]

    def runtime_type(field: spec.Field) -> str:
        return {"number": "(int, float)", "json": "object"}.get(field.kind, base_type(field))

    return {
        "attribute_type": attribute_type,
        "attribute_default": attribute_default,
        "attribute_doc": attribute_doc,
        "param_type": param_type,
        "parameters": parameters,
        "request_arguments": request_arguments,
        "zero_member": zero_member,
        "type_test": type_test,
        "runtime_type": runtime_type,
        "expected": _expected,
        "page_name": page_name,
        "docstring": docstring,
        "python_name": spec.python_name,
    }


def _expected(field: spec.Field) -> str:
    return {
        "string": "a string",
        "integer": "a whole number",
        "number": "a number",
        "boolean": "a boolean",
        "json": "a value",
    }[field.kind]


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
    text = field.description or field.json_name
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

    Paragraphs are kept, and so are the beginnings of list items and of marked assumptions. What comes out is safe
    between triple quotes.
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
        if parts and not words.startswith(("ASSUMPTION:", "- ")):
            parts[-1] = f"{parts[-1]} {words}"
        else:
            parts.append(words)
    return parts
