"""The reference of the API: each method and each field, from the schema."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from .markdown import anchor, cell

ROOT = Path(__file__).parents[2]
Json = dict[str, Any]

_IDEMPOTENCY = {
    "no_side_effects": "It changes nothing, may be sent with GET and is retried.",
    "idempotent": "A repeated call changes nothing more, so it is retried.",
    "unsafe": "A repeated call acts twice, so it is retried only if it certainly did not run.",
}


def schema_page() -> str:
    """A section for each method, then one for each message and enum."""
    document: Json = yaml.safe_load((ROOT / "schema" / "prebuild_service.yaml").read_text(encoding="utf-8"))
    text = (
        "# Schema reference\n\nGenerated from `schema/prebuild_service.yaml`, the source of truth. Fields have their "
        "JSON names; the client's attributes are the same in snake case.\n\n## Methods\n"
    )
    for path, operations in document["paths"].items():
        text += _method(path, operations["post"])
    text += "\n## Messages and enums\n"
    for name, schema in document["components"]["schemas"].items():
        text += _component(name, schema)
    return text


def _method(path: str, operation: Json) -> str:
    request = operation["requestBody"]["content"]["application/json"]["schema"]
    response = operation["responses"]["200"]["content"]["application/json"]["schema"]
    client_method = operation.get("x-client-method", "")
    return (
        f"\n### {operation['operationId']}\n\n`POST {path}` · `client.prebuilds.{client_method}`\n\n"
        f"{_prose(str(operation.get('description', '')))}\n\n"
        f"{_IDEMPOTENCY.get(operation.get('x-idempotency', ''), '')}\n\n"
        f"Request: {_type(request)}. Response: {_type(response)}.\n"
    )


def _component(name: str, schema: Json) -> str:
    text = f"\n### {name}\n\n{_prose(schema.get('description', ''))}\n\n"
    if "enum" in schema:
        numbers, meanings = schema.get("x-enum-numbers", {}), schema.get("x-enum-descriptions", {})
        lines = ["| value | number | meaning |", "|---|---|---|"]
        lines += [f"| `{each}` | {numbers.get(each, '')} | {cell(meanings.get(each, ''))} |" for each in schema["enum"]]
        return text + "\n".join(lines) + "\n"
    required = set(schema.get("required", ()))
    lines = ["| field | no. | type | meaning |", "|---|---|---|---|"]
    for field, each in schema.get("properties", {}).items():
        marks = [*(["required"] if field in required else []), *(["deprecated"] if each.get("deprecated") else [])]
        mark = f" ({', '.join(marks)})" if marks else ""
        number, meaning = each.get("x-protobuf-number", ""), cell(each.get("description", ""))
        lines.append(f"| `{field}`{mark} | {number} | {_type(each)} | {meaning} |")
    return text + ("\n".join(lines) + "\n" if len(lines) > 2 else "It has no fields.\n")


def _type(schema: Json) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{anchor(name)})"
    if schema.get("type") == "array":
        most = f", at most {schema['maxItems']}" if "maxItems" in schema else ""
        return f"list of {_type(schema['items'])}{most}"
    bounds = [f"{schema[key]}" for key in ("minimum", "maximum") if key in schema]
    kind = schema.get("format") or schema.get("type", "any")
    return f"{kind} ({' to '.join(bounds)})" if bounds else str(kind)


def _prose(text: str) -> str:
    """A description; its notes on assumptions begin lines of their own."""
    return re.sub(r"\s*ASSUMPTION:", "\n\nAssumption:", text.strip()).replace("<", "&lt;")
