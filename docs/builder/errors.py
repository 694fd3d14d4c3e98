"""The reference of the errors, from their classes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import prebuilds
from prebuilds import ConnectCode, PrebuildsError
from prebuilds.errors import error_class

from .markdown import table


def errors_page() -> str:
    """The tree of classes, and the class of each Connect code."""
    codes = [
        (
            f"`{code.value}`",
            f"`{error_class(code).__name__}`",
            _summary(error_class(code)).partition(": ")[2].rstrip("."),
        )
        for code in ConnectCode
        if error_class(code) is not prebuilds.APIError
    ]
    return (
        "# Errors\n\nEvery error is a `PrebuildsError`. A wrong argument is a `TypeError` or `ValueError`, as "
        "elsewhere in Python. The [client reference](client.md#errors) lists the attributes of each class.\n\n"
        "## Classes\n\n" + "".join(_tree(PrebuildsError, 0)) + "\n## Connect codes\n\n"
        "These classes are subclasses of `APIError`.\n\n" + table(("code", "class", "meaning"), codes)
    )


def _tree(kind: type[PrebuildsError], depth: int) -> Iterator[str]:
    yield f"{'    ' * depth}- `{kind.__name__}`: {_summary(kind)}\n"
    if kind is not prebuilds.APIError:
        for below in kind.__subclasses__():
            if below.__name__ in prebuilds.__all__:
                yield from _tree(below, depth + 1)


def _summary(kind: type[PrebuildsError]) -> str:
    text = inspect.getdoc(kind) or ""
    return " ".join(text.partition("\n\n")[0].split())
