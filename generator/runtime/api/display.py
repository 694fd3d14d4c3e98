"""How messages look: short in `repr` and with rich, and as a table in a notebook."""

from __future__ import annotations

import html
from collections.abc import Iterator
from datetime import datetime
from typing import Any, TypeGuard

from attrs import NOTHING, fields

from .timestamps import encode_timestamp

# Notebooks align cells to the right and join the lines of a text.
_STYLE = 'style="text-align: left; vertical-align: top; white-space: pre-wrap"'


class Verbatim(str):
    """Text that `repr` shows without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


HIDDEN = Verbatim("<hidden>")
"""What is shown of a secret."""


def default_of(attribute: Any) -> object:
    """The value of a field that was not given; `NOTHING` if it has to be."""
    factory = getattr(attribute.default, "factory", None)
    return attribute.default if factory is None else factory()


def shown_fields(message: Any) -> Iterator[tuple[str, Any]]:
    """The fields of `message` that are not at their defaults, as they are shown. Secrets are hidden."""
    for attribute in fields(message.__class__):
        if attribute.name == "_unknown":
            continue
        value = getattr(message, attribute.name)
        default = default_of(attribute)
        if default is NOTHING or value != default:
            yield attribute.name, _shown(value) if attribute.repr else HIDDEN
    if message._unknown:
        yield "additional_properties", message._unknown


def html_table(message: Any) -> str:
    """`message` as a table in HTML, with a row for each field that is shown."""
    return _table(dict(shown_fields(message)), caption=type(message).__name__)


def _shown(value: Any) -> Any:
    if isinstance(value, datetime):
        return Verbatim(_moment(value))
    if _is_list(value):
        return [_shown(item) for item in value]
    if _is_dict(value):
        return {key: _shown(item) for key, item in value.items()}
    return value


def _moment(value: datetime) -> str:
    try:
        return encode_timestamp(value)
    except (ValueError, OverflowError):  # without a time zone, or at the very end of the calendar: show it all the same
        return value.isoformat()


def _table(rows: dict[str, Any], caption: str = "") -> str:
    head = f"<caption>{_escape(caption)}</caption>" if caption else ""
    body = "".join(
        f"<tr><th {_STYLE}>{_escape(name)}</th><td {_STYLE}>{_cell(value)}</td></tr>" for name, value in rows.items()
    )
    return f"<table>{head}{body}</table>"


def _cell(value: Any) -> str:
    if hasattr(value, "_repr_html_"):
        return str(value._repr_html_())
    if _is_dict(value):
        return _table(value)
    if _is_list(value):
        nested = any(hasattr(item, "_repr_html_") or _is_dict(item) for item in value)
        return ("" if nested else ", ").join(map(_cell, value))
    return _escape(value)


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _is_dict(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _escape(value: object) -> str:
    return html.escape(str(value))
