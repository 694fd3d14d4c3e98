"""A request and its answer as a mutant sees them, between a caller and the ASGI application of an emulator."""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qs, quote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

SERVICE = "/gitpod.v1.PrebuildService/"


@dataclass(frozen=True)
class Call:
    """A request. `method` is the RPC's name, "" for anything else that is asked, a log for instance."""

    method: str
    body: bytes
    headers: dict[str, str]
    scope: Scope = field(default_factory=dict)

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of the request, none if it is no JSON object."""
        try:
            value = json.loads(self._message())
        except (ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}

    @property
    def by_get(self) -> bool:
        return bool(self.scope.get("method") == "GET")

    def _message(self) -> bytes:
        if not self.by_get:
            return self.body
        asked = {name: values[0] for name, values in parse_qs(self.scope["query_string"].decode("latin-1")).items()}
        message = asked.get("message", "").encode()
        if asked.get("base64") == "1":
            message = base64.urlsafe_b64decode(message + b"=" * (-len(message) % 4))
        return message

    def get(self, *path: str) -> Any:
        """The value at these names, None if there is none."""
        value: Any = self.fields
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        return value

    def having(self, value: Any, *path: str) -> Call:
        """The call with another value at these names; None takes it away."""
        fields = json.loads(json.dumps(self.fields))
        inner = fields
        for name in path[:-1]:
            if not isinstance(inner.get(name), dict):
                inner[name] = {}
            inner = inner[name]
        if value is None:
            inner.pop(path[-1], None)
        else:
            inner[path[-1]] = value
        return self.with_fields(fields)

    def with_fields(self, fields: dict[str, Any]) -> Call:
        """The call with these fields."""
        text = json.dumps(fields)
        if self.by_get:
            query = f"encoding=json&connect=v1&message={quote(text)}"
            return replace(self, scope={**self.scope, "query_string": query.encode()})
        return replace(self, body=text.encode())

    def other(self, method: str, **fields: Any) -> Call:
        """A call of another method by the same caller."""
        prefix = "/api" if self.scope["path"].startswith("/api/") else ""
        path = f"{prefix}{SERVICE}{method}"
        scope = {**self.scope, "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b""}
        headers = {**self.headers, "content-type": "application/json"}
        headers.pop("content-encoding", None)
        return Call(method, json.dumps(fields).encode(), headers, scope)


@dataclass(frozen=True)
class Reply:
    """An answer."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "application/json"})

    @property
    def ok(self) -> bool:
        return self.status == 200

    @property
    def json(self) -> dict[str, Any]:
        """The JSON object of the body, an empty one if it has none."""
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}

    @property
    def code(self) -> str:
        """The code of an error, "" for a success."""
        return "" if self.ok else str(self.json.get("code", ""))

    def with_json(self, value: Any) -> Reply:
        """The answer with another body."""
        return replace(self, body=json.dumps(value, separators=(",", ":")).encode())

    def edited(self, edit: Callable[[dict[str, Any]], object]) -> Reply:
        """The answer after `edit` was called with each prebuild and warm pool in it."""
        if not self.ok:
            return self
        body = self.json
        for item in items(body):
            edit(item)
        return self.with_json(body)


Forward = Callable[[Call], Awaitable[Reply]]


def items(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Each prebuild and warm pool of a response."""
    for name in ("prebuild", "warmPool"):
        if isinstance(body.get(name), dict):
            yield body[name]
    for name in ("prebuilds", "warmPools"):
        yield from body.get(name) or ()


def ok(**body: Any) -> Reply:
    """A successful answer."""
    return Reply(200, json.dumps(body).encode())


def failure(status: int, code: str, message: str = "it went wrong") -> Reply:
    """An error as the Connect protocol has it."""
    return Reply(status, json.dumps({"code": code, "message": message}).encode())


class Between:
    """An ASGI application that lets `answer` have each exchange with `app`."""

    def __init__(self, app: ASGIApp, answer: Callable[[Call, Forward], Awaitable[Reply]]) -> None:
        self._app = app
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/_emulator"):
            await self._app(scope, receive, send)
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        method = scope["path"].partition(SERVICE)[2]

        async def forward(call: Call) -> Reply:
            return await exchange(self._app, call)

        reply = await self._answer(Call(method, body, headers, scope), forward)
        lines = {**reply.headers, "content-length": str(len(reply.body))}
        encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in lines.items()]
        await send({"type": "http.response.start", "status": reply.status, "headers": encoded})
        await send({"type": "http.response.body", "body": reply.body})


async def exchange(app: ASGIApp, call: Call) -> Reply:
    """The answer of an application, whole."""
    headers = {**call.headers, "content-length": str(len(call.body))}
    headers.pop("accept-encoding", None)  # so that the answer can be read here
    lines = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    scope = {**call.scope, "headers": lines}
    start: Message = {}
    parts: list[bytes] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": call.body, "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
        else:
            parts.append(message.get("body", b""))

    await app(scope, receive, send)
    answered = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in start["headers"]}
    answered.pop("content-length", None)
    return Reply(start["status"], b"".join(parts), answered)
