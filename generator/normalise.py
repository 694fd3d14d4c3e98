"""Stage `normalise`: the schema as openapi-python-client can take it, without what it would misread."""

from __future__ import annotations

from typing import Any

from .document import is_list, is_mapping

# Formats that openapi-python-client gives a type of its own. Ids are plain strings in this API's clients.
_AS_PLAIN_STRING = ("uuid",)


def for_openapi_python_client(document: dict[str, Any]) -> dict[str, Any]:
    """A copy of `document` without `x-` keys, examples, keys beside a `$ref`, and formats that change a string's type.

    The templates take all of these from `spec.Api`, so nothing is lost.
    """
    plain: dict[str, Any] = _plain(document)
    return plain


def _plain(value: Any, names: bool = False) -> Any:
    """`names`: the keys of `value` are names that somebody chose, such as fields, and no keywords."""
    if is_list(value):
        return [_plain(item) for item in value]
    if not is_mapping(value):
        return value
    if not names and "$ref" in value:
        return {"$ref": value["$ref"]}
    if not names and "additionalProperties" in value:
        return {}  # A map: openapi-python-client would make it a class of its own.
    result: dict[str, Any] = {}
    for key, item in value.items():
        if not names and (key.startswith("x-") or key == "examples"):
            continue
        if not names and key == "format" and item in _AS_PLAIN_STRING:
            continue
        result[key] = _plain(item, names=key in ("properties", "schemas", "responses", "parameters") and not names)
    return result
