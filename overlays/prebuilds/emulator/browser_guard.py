"""Protects an emulator on this machine from web pages, because any page can make a browser send requests to it.

A page whose name resolves to this machine (DNS rebinding) is detected by the Host header. Any other page is detected
by the Origin and Sec-Fetch-Site headers, and a form by the headers that it cannot send.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from .recording import CONTROL_PATH

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

GUARD_HEADER: Final = "X-Prebuilds-Emulator"
"""The header by which a POST without a body shows that it does not come from a form; its value is ignored."""

_HOST: Final = re.compile(r"(?P<name>[^:\[\]@/?#\s]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?", re.ASCII)
_JSON: Final = re.compile(r"application/json\s*(?:;.*)?", re.IGNORECASE)


class BrowserGuard:
    """An ASGI application that rejects requests that a page of another site makes a browser send.

    Args:
        app: the application behind it.
        hosts: additional host names of the emulator, besides loopback names and the address of the socket.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str] = ()) -> None:
        self._app = app
        self._hosts = frozenset(_normal(host) for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request, or reject it with 403."""
        if scope["type"] == "http":
            reason = self._objection(scope)
            if reason:
                await _refuse(send, reason)
                return
        await self._app(scope, receive, send)

    def _objection(self, scope: Scope) -> str:
        """Return why a request is rejected; empty if it is accepted."""
        lines: Sequence[tuple[bytes, bytes]] = scope["headers"]
        headers = dict(lines)
        hosts = [value for name, value in lines if name == b"host"]
        for value in hosts:
            if not self._is_ours(value.decode("latin-1"), scope):
                return (
                    "the Host header names none of the emulator's addresses; allow a further name with --allowed-host"
                    " (allowed_hosts in Python)"
                )
        origin = headers.get(b"origin")
        if origin is not None and not (hosts and _is_origin(origin.decode("latin-1"), scope, hosts[0])):
            return "the Origin header names another site: pages of other sites may not call the emulator"
        if headers.get(b"sec-fetch-site") in (b"cross-site", b"same-site") and not _is_visit(scope, headers):
            return "the request comes from a page of another site"
        if scope["method"] == "POST" and _is_within(scope["path"], CONTROL_PATH):
            return _looks_like_form(headers)
        return ""

    def _is_ours(self, host: str, scope: Scope) -> bool:
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = _normal(match["name"])
        if name in self._hosts or name == "localhost" or name.endswith(".localhost"):
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        # For a socket on all addresses, this is the address that the client has connected to.
        server = scope.get("server")
        return address.is_loopback or (server is not None and name == _normal(str(server[0])))


def _normal(host: str) -> str:
    return host.strip("[]").partition("%")[0].rstrip(".").lower()


def _is_origin(origin: str, scope: Scope, host: bytes) -> bool:
    """Return whether an Origin header is the origin of the emulator itself."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme == scope["scheme"] and parts.netloc.lower() == host.decode("latin-1").lower()


def _is_visit(scope: Scope, headers: dict[bytes, bytes]) -> bool:
    """Return whether the request comes from following a link to the emulator."""
    return scope["method"] == "GET" and headers.get(b"sec-fetch-mode") == b"navigate"


def _looks_like_form(headers: dict[bytes, bytes]) -> str:
    """Return why a POST that an HTML form could have sent is rejected; empty if no form could have sent it."""
    if GUARD_HEADER.lower().encode() in headers or b"authorization" in headers:
        return ""
    if _JSON.fullmatch(headers.get(b"content-type", b"").decode("latin-1")):
        return ""
    return f"a POST needs the header Content-Type: application/json, or without a body {GUARD_HEADER}: 1"


def _is_within(path: str, prefix: str) -> bool:
    return f"{path}/".startswith(f"{prefix}/")


async def _refuse(send: Send, reason: str) -> None:
    body = json.dumps({"code": "permission_denied", "message": reason}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        # The body of the request is not read.
        (b"connection", b"close"),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": body})
