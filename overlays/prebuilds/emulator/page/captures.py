"""The requests to the service with their bodies, for as long as somebody watches.

Bodies are bounded in number and size. Of the headers, only those are kept that never hold a credential, and the
response that holds a logs token is not kept at all.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Final
from urllib.parse import parse_qsl

from starlette.types import Message, Receive, Scope, Send

from prebuild_wire import OPERATIONS
from prebuilds.emulator import compression
from prebuilds.emulator.errors import ConnectError
from prebuilds.emulator.recording import RequestRecord, call_name

MAX_CAPTURES: Final = 200
"""How many requests are kept with their bodies, the latest ones."""

MAX_BODY: Final = 32 * 1024
"""How many bytes of a body are kept."""

MAX_NEWS: Final = 500
"""How many requests can be reported at once."""

_HEADERS: Final = frozenset(
    {
        "accept",
        "accept-encoding",
        "accept-post",
        "allow",
        "connect-protocol-version",
        "connect-timeout-ms",
        "content-encoding",
        "content-length",
        "content-type",
        "ratelimit-retryafter",
        "retry-after",
        "traceparent",
        "transfer-encoding",
        "user-agent",
        "x-request-id",
    }
)
"""The headers that are kept. A list of those to leave out would miss the credential that nobody has thought of."""

_PARAMETERS: Final = frozenset({"base64", "compression", "connect", "encoding", "message", "pageSize"})
"""The parameters of a query that are kept, for the same reason."""

_SECRETS: Final = ("Token", "Secret", "Key", "Credentials")
"""What the name of a method ends with whose response is a secret."""


@dataclass(slots=True)
class _Body:
    """The first bytes of a body."""

    content: bytearray = field(default_factory=bytearray)
    length: int = 0

    def add(self, chunk: bytes) -> None:
        self.length += len(chunk)
        self.content += chunk[: MAX_BODY - len(self.content)]


class Captures:
    """Sees the requests as they come. It implements `Observer`."""

    def __init__(self) -> None:
        self._captures: OrderedDict[int, _Capture] = OrderedDict()
        self._news: OrderedDict[int, dict[str, Any]] = OrderedDict()
        self.forgotten = False
        """Whether the requests were forgotten since this was last set to False."""

    def begin(self, number: int, at: datetime, scope: Scope, receive: Receive, send: Send) -> _Capture:
        """A request comes."""
        capture = self._captures[number] = _Capture(scope, receive, send, self._report)
        while len(self._captures) > MAX_CAPTURES:
            self._captures.popitem(last=False)
        arrived = RequestRecord(
            number=number,
            at=at,
            method=capture.method,
            http_method=scope["method"],
            path=scope["path"][:300],
            codec=None,
            status=None,
            code=None,
            milliseconds=0.0,
            fault=None,
        )
        self._report(arrived, done=False)
        return capture

    def forget(self) -> None:
        """Forget all requests."""
        self._captures.clear()
        self._news.clear()
        self.forgotten = True

    def news(self) -> list[dict[str, Any]]:
        """The requests that came or ended since the last call, the latest `MAX_NEWS` of them."""
        news = list(self._news.values())
        self._news.clear()
        return news

    def describe(self, number: int) -> dict[str, Any] | None:
        """The request of that number with its bodies; None if it is not kept."""
        capture = self._captures.get(number)
        return None if capture is None else capture.describe()

    def _report(self, record: RequestRecord, *, done: bool = True) -> None:
        self._news.pop(record.number, None)
        self._news[record.number] = request_row(record, done=done)
        while len(self._news) > MAX_NEWS:
            self._news.popitem(last=False)


def request_row(record: RequestRecord, *, done: bool = True) -> dict[str, Any]:
    """A request as the page lists it."""
    return {**asdict(record), "at": record.at.timestamp() * 1000, "done": done}


class _Capture:
    """A request and its response. It implements `Observation`."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, report: Callable[[RequestRecord], None]) -> None:
        self.method = call_name(scope["path"])
        self._query: bytes = scope.get("query_string", b"")
        self._request_headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
        self._response_headers: Iterable[tuple[bytes, bytes]] = ()
        self._request, self._response = _Body(), _Body()
        self._receive, self._send, self._report = receive, send, report
        self._status: int | None = None

    async def receive(self) -> Message:
        message = await self._receive()
        self._request.add(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status, self._response_headers = message["status"], message["headers"]
        elif self._is_public:
            self._response.add(message.get("body", b""))
        await self._send(message)

    def finish(self, record: RequestRecord) -> None:
        self._report(record)

    @property
    def _is_public(self) -> bool:
        return not (self.method or "").endswith(_SECRETS) or (self._status or 0) >= 400

    def describe(self) -> dict[str, Any]:
        query = [
            [name, value]
            for name, value in parse_qsl(self._query[:MAX_BODY].decode("latin-1"), errors="replace")
            if name in _PARAMETERS
        ]
        request, response = _kept(self._request_headers), _kept(self._response_headers)
        return {
            "query": query,
            "request": {"headers": request, **_readable(self._request, request, self.method, is_request=True)},
            "response": {
                "headers": response,
                **_readable(self._response, response, self.method, is_request=False),
                "secret": not self._is_public,
            },
        }


def _kept(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    texts = ((name.decode("latin-1").lower(), value.decode("latin-1")[:1000]) for name, value in headers)
    return {name: value for name, value in texts if name in _HEADERS}


def _readable(body: _Body, headers: dict[str, str], method: str | None, *, is_request: bool) -> dict[str, Any]:
    """A body as a person reads it, and how long it was on its way."""
    found: dict[str, Any] = {"length": body.length, "truncated": body.length > len(body.content)}
    if is_request and not body.length and headers.get("content-length", "0") != "0":
        # A request that meets a fault, or is refused, is answered before its body is read.
        return found | {"text": None, "note": "the body was not read"}
    content = bytes(body.content)
    try:
        content = compression.decompress(content, headers.get("content-encoding", ""), MAX_BODY)
    except (compression.TooLargeError, ConnectError):
        return found | {"text": None, "note": "compressed, and too large or damaged"}
    if headers.get("content-type", "").startswith("application/proto"):
        return found | _from_protobuf(content, method, is_request=is_request)
    text = content.decode("utf-8", "replace")
    with suppress(ValueError, RecursionError):
        text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    return found | {"text": text}


def _from_protobuf(content: bytes, method: str | None, *, is_request: bool) -> dict[str, Any]:
    from prebuilds.emulator.binary import decode, request_class, response_class

    if method in OPERATIONS:
        try:
            fields = decode((request_class if is_request else response_class)(method), content)
        except (ValueError, RecursionError):
            pass
        else:
            return {"text": json.dumps(fields, indent=2, ensure_ascii=False), "note": "binary, shown as JSON"}
    return {"text": content.hex(" "), "note": "binary"}
