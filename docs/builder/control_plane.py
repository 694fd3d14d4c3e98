"""The reference of the emulator's control plane, from the OpenAPI document that the emulator serves."""

from __future__ import annotations

import json
from typing import Any

import httpx

from prebuilds.emulator import EmulatorServer

from .markdown import anchor, cell, prose, table

Json = dict[str, Any]


def control_plane_page() -> str:
    """A section for each operation, then one for each schema."""
    with EmulatorServer() as server:
        document: Json = httpx.get(f"{server.url}/_emulator/openapi.json").raise_for_status().json()
    text = (
        "# Control plane reference\n\nGenerated from the OpenAPI document that the emulator serves at "
        "`/_emulator/openapi.json`. `EmulatorControl` has a method for each operation. Requests need a JSON content "
        "type.\n\n## Operations\n"
    )
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            text += _operation(method.upper(), path, operation)
    text += "\n## Schemas\n"
    for name, schema in sorted(document["components"]["schemas"].items()):
        text += _schema(name, schema)
    return text


def _operation(method: str, path: str, operation: Json) -> str:
    meaning = f"{operation.get('summary', '')} {operation.get('description', '')}"
    text = f"\n### `{method} {path}`\n\n{prose(meaning.strip())}\n"
    rows = [(f"`{each['name']}`", each["in"], each.get("description", "")) for each in operation.get("parameters", ())]
    if rows:
        text += "\n" + table(("parameter", "in", "meaning"), rows)
    success = next((each for status, each in operation["responses"].items() if status.startswith("2")), None)
    for title, message in (("Request", operation.get("requestBody")), ("Response", success)):
        if message and "content" in message:
            text += f"\n{title}: {_type(message['content']['application/json']['schema'])}\n"
    return text


def _schema(name: str, schema: Json) -> str:
    text = f"\n### {name}\n\n{prose(schema.get('description', ''))}\n"
    if "enum" in schema:
        return text + f"\nOne of {', '.join(f'`{each}`' for each in schema['enum'])}.\n"
    required = set(schema.get("required", ()))
    lines = ["| field | type | meaning |", "|---|---|---|"]
    for field, each in schema.get("properties", {}).items():
        meaning = each.get("description", "")
        if "default" in each and each["default"] not in (None, "", [], {}):
            meaning += f" Default: `{json.dumps(each['default'])}`."
        mark = " (required)" if field in required else ""
        lines.append(f"| `{field}`{mark} | {_type(each)} | {cell(meaning)} |")
    return text + ("\n" + "\n".join(lines) + "\n" if len(lines) > 2 else "")


def _type(schema: Json) -> str:
    """The type of a value, with links to schemas."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{anchor(name)})"
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return " or ".join(_type(each) for each in schema[key])
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return ", ".join(f"`{each}`" for each in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    bounds = [f"{sign} {schema[key]}" for key, sign in _BOUNDS.items() if key in schema]
    return " ".join([str(schema.get("type", "any")), *([f"({', '.join(bounds)})"] if bounds else [])])


_BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
