"""Requests and responses in their wire format: a request may contain any bytes, and nothing is hidden."""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, cast

from prebuild_wire import OPERATIONS
from prebuild_wire.enums import ConnectCode

JSON: Final = "application/json"

CODES: Final[Mapping[str, int]] = {code.value: code.http_status for code in ConnectCode}
"""The HTTP status of each Connect code."""

OLDER_STATUSES: Final[Mapping[str, int]] = {
    "canceled": 408,
    "deadline_exceeded": 408,
    "failed_precondition": 412,
    "unimplemented": 404,
}
"""Those that earlier versions of the Connect protocol had in their place."""


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request.

    Attributes:
        method: the RPC that it calls, "" for none.
        body: the content; None for no body at all.
        headers: the headers as sent. The transport adds Host, Content-Length and Connection.
        http_method: the verb.
        path: the path below the base URL, by default the path of the RPC.
        query: the encoded query string.
        stream: whether the beginning of the response body is enough, as for a log that is being written.
    """

    method: str
    body: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()
    http_method: str = "POST"
    path: str | None = None
    query: str = ""
    stream: bool = False

    @property
    def target(self) -> str:
        """Path and query, below the base URL."""
        path = OPERATIONS[self.method].path if self.path is None else self.path
        return f"{path}?{self.query}" if self.query else path

    def header(self, name: str) -> str | None:
        """The value of the first header of that name, in any case."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


@dataclass
class Answer:
    """The response.

    Attributes:
        status: the HTTP status.
        headers: the headers, with lower-case names; of repeated headers, the last.
        body: the decompressed body.
        seconds: the duration.
        request: the request.
        number: its position among the responses of a session, from 0.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float
    request: Request
    number: int = field(default=-1, compare=False)

    @property
    def ok(self) -> bool:
        """Whether it is a success."""
        return 200 <= self.status < 300

    @property
    def media_type(self) -> str:
        """The content type without parameters, in lower case."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @cached_property
    def content(self) -> Any:
        """The body as JSON, None if it is not valid JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    @cached_property
    def json(self) -> dict[str, Any]:
        """The object that the body is in JSON; empty if it is anything else."""
        content: object = self.content
        return cast("dict[str, Any]", content) if isinstance(content, dict) else {}

    @property
    def code(self) -> str | None:
        """The Connect code of an error; None for a success, or without a Connect error."""
        code = self.json.get("code")
        return code if not self.ok and isinstance(code, str) else None

    @property
    def outcome(self) -> str:
        """Status and code in a few words."""
        return f"{self.status} {self.code}" if self.code else str(self.status)

    def at(self, path: str) -> Any:
        """The value at `a.b.c` of the body, None if it is missing."""
        return at(self.json, path)

    def part(self, path: str) -> dict[str, Any]:
        """The object at `a.b.c` of the body, empty if it is missing."""
        found: object = self.at(path)
        return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def at(value: Any, path: str) -> Any:
    """The value at `a.b.c` of nested objects, None if it is missing."""
    for name in _names(path):
        if value.__class__ is not dict:
            return None
        value = value.get(name)
    return value


@functools.cache
def _names(path: str) -> tuple[str, ...]:
    return tuple(path.split("."))


def are_details(value: object) -> bool:
    """Whether something may stand as `details` of an error: nothing, or objects with a type and a value in base64."""
    if value is None:
        return True
    if not isinstance(value, list):
        return False
    return all(
        isinstance(kind := at(item, "type"), str) and kind and _is_base64(at(item, "value"))
        for item in cast("Sequence[Any]", value)
    )


def _is_base64(value: object) -> bool:
    """Whether it is text in base64 of either alphabet, padded or not."""
    if not isinstance(value, str):
        return False
    text = value.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        return False
    return True


def encode(fields: Any) -> bytes:
    """JSON as it is sent: compact, in ASCII, so that lone surrogates can be written as escapes."""
    return json.dumps(fields, separators=(",", ":")).encode("ascii")
