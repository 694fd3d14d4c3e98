"""The files of the page: what a browser loads before anything happens. They hold no data of the emulator."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Final

from starlette.responses import Response

_TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}

HEADERS: Final = {
    # Only scripts and styles that come as files of their own run, and nothing is loaded from another address.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Another version of the emulator may use the same port next.
    "Cache-Control": "no-store",
}
"""The headers of every response for the page."""


def file_response(name: str) -> Response | None:
    """The response with a file of the page; None if there is no such file."""
    content = _files().get(name)
    if content is None:
        return None
    return Response(content, headers={**HEADERS, "Content-Type": _TYPES[name.rpartition(".")[2]]})


@cache
def _files() -> dict[str, bytes]:
    """The content of each file by its name, also from within a zip file."""
    folder = resources.files(__package__ or "") / "static"
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name.rpartition(".")[2] in _TYPES}
