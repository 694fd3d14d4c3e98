"""The conditions that the decoders of the client's models check."""

from __future__ import annotations

from . import spec

_UNUSUAL = {
    "int32": "type(value) is not int or not -(2**31) <= value < 2**31",
    "uint32": "type(value) is not int or not 0 <= value < 2**32",
    "double": "type(value) is not float",
    "float": "type(value) is not float or abs(value) > 3.4e38",
    "string": "not isinstance(value, str)",
    "boolean": "not isinstance(value, bool)",
    "json": "value is None",
}


def unusual(field: spec.Field) -> str:
    """A test of `value` that is quick, and false for the form that a field usually has."""
    return _UNUSUAL[field.format if field.kind in ("integer", "number") else field.kind]


def reader(api: spec.Api, field: spec.Field) -> str:
    """The decoder of the field for any form that protobuf JSON allows."""
    if field.kind == "enum":
        return f"{field.type}.from_json"
    if field.kind == "json":
        return "_readers.json_value"
    if field.kind in ("integer", "number"):
        return "_readers.float32" if field.format == "float" else f"_readers.{field.format}"
    declared = api.formats.get(field.format)
    form = declared.base if declared else field.format
    if field.kind == "string" and form in ("int64", "uint64"):
        return f"_readers.{form}"
    return f"_readers.{field.kind}"


def other_names(message: spec.Message) -> dict[str, str]:
    """The alternatives to the JSON names of fields: their names in protobuf and in Python."""
    json_names = {field.json_name for field in message.fields}
    return {
        name: field.json_name
        for field in message.fields
        for name in (field.protobuf_name, field.name)
        if name not in json_names
    }


def cyclic_types(api: spec.Api, message: spec.Message) -> set[str]:
    """The messages among its fields that contain `message` in turn: their modules cannot be imported first."""

    def contained(name: str) -> set[str]:
        found: set[str] = set()
        queue = [name]
        while queue:
            for field in api.messages[queue.pop()].fields:
                if field.kind == "message" and field.type not in found:
                    found.add(field.type)
                    queue.append(field.type)
        return found

    own = {field.type for field in message.fields if field.kind == "message"}
    return {name for name in own if name == message.name or message.name in contained(name)}


def optional_fields(message: spec.Message) -> list[spec.Field]:
    """The fields that a document may leave out."""
    return [field for field in message.fields if field.repeated or field.mapped or not field.required]
