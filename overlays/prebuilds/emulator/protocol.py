"""The Connect protocol for unary calls: it maps an HTTP request to a method of the service, and back."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from prebuild_wire import OPERATIONS, Operation

from . import compression
from .auth import Tokens, bearer_token, caller_of
from .codec import CODECS, Codec
from .errors import ConnectCode, ConnectError
from .plain import check_of
from .service import Call, PrebuildService

DEFAULT_BODY_LIMIT: Final = 4 * 1024 * 1024
"""The maximum size of a request body in bytes, both compressed and decompressed."""

_TIMEOUT = re.compile(rb"[0-9]{1,10}")
_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?", re.ASCII)
_CHARSETS = ("utf-8", "utf8")

_BY_NAME = {codec.name: codec for codec in CODECS}
_BY_CONTENT_TYPE = {codec.content_type: codec for codec in CODECS}

_logger = logging.getLogger("prebuilds.emulator")

_Headers = Mapping[bytes, bytes]


class ConnectEndpoint:
    """The ASGI application of all methods of the service, below one path prefix.

    Args:
        service: the implementation of the methods.
        prefix: the part of the path before `/gitpod.v1.PrebuildService`, for example `/api`.
        tokens: the accepted tokens.
        body_limit: the maximum size of a body in bytes; a larger body is neither read nor decompressed.
    """

    def __init__(
        self,
        service: PrebuildService,
        prefix: str = "",
        tokens: Tokens | None = None,
        body_limit: int = DEFAULT_BODY_LIMIT,
    ) -> None:
        self._service = service
        self._prefix = prefix
        self._tokens = tokens or Tokens()
        self._body_limit = body_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request. The last segment of its path is the name of the method."""
        try:
            response = await self._answer(scope, receive)
        except ClientDisconnect:
            return
        except ConnectError as error:
            response = error_response(error)
        except Exception:
            _logger.exception("%s %s failed", scope["method"], scope["path"])
            response = error_response(ConnectError(ConnectCode.INTERNAL, "the emulator failed, see its log"))
        await response(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Response:
        # Everything is parsed lazily, because this code runs for each request.
        headers = _headers(scope["headers"])
        operation = OPERATIONS.get(scope["path"].rpartition("/")[2])
        if operation is None or not scope["path"].endswith(operation.path):
            raise not_found(scope["path"])
        reads = operation.idempotency == "no_side_effects"
        by_get = scope["method"] == "GET" and reads
        if scope["method"] != "POST" and not by_get:
            raise method_not_allowed("GET, POST" if reads else "POST")
        token = bearer_token(headers)
        if self._service.is_logs_token(token.decode("latin-1")):
            raise ConnectError(ConnectCode.UNAUTHENTICATED, "a logs token opens logs only, and is no API token")
        self._tokens.check(token, writes=not reads)
        query = _query(scope["query_string"])
        codec = _codec_of_query(query) if by_get else _codec_of_body(headers)
        _check_version(headers, query if by_get else {})
        deadline = _deadline(headers)
        deadline.check()
        if by_get:
            body, encoding = _message_of_query(query), query.get("compression", b"").decode("latin-1")
        else:
            body, encoding = await self._body(headers, receive, deadline), _text(headers, b"content-encoding")
        try:
            body = compression.decompress(body, encoding, self._body_limit)
        except compression.TooLargeError:
            raise self._too_large() from None
        request = _decode(operation, codec, body, query, relaxed_ids=self._service.relaxed_ids)
        call = Call(caller_of(token), base_url(scope, headers, self._prefix))
        deadline.check()
        answer = self._service.answer(operation.name, request, call)
        content = codec.encode(operation, answer)
        # The work is done, but the client has timed out by its own clock. The response should agree with that.
        deadline.check()
        response = Response(content, media_type=codec.content_type)
        return _compressed(response, headers) if len(content) >= compression.WORTHWHILE else response

    async def _body(self, headers: _Headers, receive: Receive, deadline: _Deadline) -> bytes:
        """Read the body within the size limit and the deadline."""
        announced = headers.get(b"content-length", b"")
        if announced.isdigit() and int(announced[:20]) > self._body_limit:
            raise self._too_large()
        if deadline.at is None:
            return await self._chunks(receive)
        try:
            async with asyncio.timeout_at(deadline.at):
                return await self._chunks(receive)
        except TimeoutError:
            raise deadline.exceeded() from None

    async def _chunks(self, receive: Receive) -> bytes:
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            chunk: bytes = message.get("body", b"")
            size += len(chunk)
            if size > self._body_limit:
                raise self._too_large()
            chunks.append(chunk)
            if not message.get("more_body", False):
                return b"".join(chunks)

    def _too_large(self) -> ConnectError:
        # ASSUMPTION: a body that is too large has the HTTP status 413 and the Connect code `resource_exhausted`.
        return ConnectError(
            ConnectCode.RESOURCE_EXHAUSTED,
            f"the body has more than {self._body_limit} bytes",
            http_status=413,
            # The rest of the body stays unread, so that the connection cannot be reused.
            headers={"Connection": "close"},
        )


class _Deadline:
    """The deadline of a request: `at` in the event loop's time; None for no deadline."""

    __slots__ = ("at",)

    def __init__(self, at: float | None) -> None:
        self.at = at

    def check(self) -> None:
        """Raise `deadline_exceeded` after the deadline."""
        if self.at is not None and asyncio.get_running_loop().time() >= self.at:
            raise self.exceeded()

    def exceeded(self) -> ConnectError:
        """Return the error response for an exceeded deadline. Part of the body may be unread."""
        return ConnectError(
            ConnectCode.DEADLINE_EXCEEDED,
            "the call took longer than its Connect-Timeout-Ms",
            headers={"Connection": "close"},
        )


_NO_DEADLINE = _Deadline(None)


def error_response(error: ConnectError) -> Response:
    """Return the response for an error. It is JSON, whatever the codec of the request."""
    body = json.dumps(error.to_json(), separators=(",", ":")).encode()
    return Response(body, error.http_status, error.headers, media_type="application/json")


def not_found(path: str) -> ConnectError:
    """Return the error for an unknown path, including unknown methods of the service."""
    return ConnectError(ConnectCode.UNIMPLEMENTED, f"there is no {path}", http_status=404)


def method_not_allowed(allowed: str) -> ConnectError:
    """Return the error for an HTTP method that the path does not support."""
    # ASSUMPTION: without a Connect error, a client maps the status 405 to `unknown`, so the error has this code.
    return ConnectError(ConnectCode.UNKNOWN, f"this takes {allowed} only", http_status=405, headers={"Allow": allowed})


def base_url(scope: Scope, headers: _Headers, prefix: str) -> str:
    """Return the base URL of a request as the client knows it, without a trailing slash.

    It is taken from the Host header. If that header is invalid, the socket's address is used instead.
    """
    host = _text(headers, b"host")
    if not _HOST.fullmatch(host):
        name, port = scope.get("server") or ("127.0.0.1", None)
        name = f"[{name}]" if ":" in name else name
        host = name if port is None else f"{name}:{port}"
    return f"{scope['scheme']}://{host}{scope.get('root_path', '')}{prefix}"


# -- Headers and query


def _headers(lines: Sequence[tuple[bytes, bytes]]) -> _Headers:
    """Return the headers by lower-case name. The values of a repeated header are joined into a list, as in HTTP."""
    headers = dict(lines)
    if len(headers) < len(lines):
        headers = {}
        for name, value in lines:
            headers[name] = headers[name] + b", " + value if name in headers else value
    return headers


def _text(headers: _Headers, name: bytes) -> str:
    return headers.get(name, b"").decode("latin-1")


def _query(raw: bytes) -> dict[str, bytes]:
    """Return the query parameters; the first of repeated ones counts. Values need not be UTF-8: some are binary."""
    found: dict[str, bytes] = {}
    if raw:
        for part in raw.split(b"&"):
            name, _, value = part.replace(b"+", b" ").partition(b"=")
            found.setdefault(unquote_to_bytes(name).decode("latin-1"), unquote_to_bytes(value))
    return found


def _codec_of_query(query: Mapping[str, bytes]) -> Codec:
    codec = _BY_NAME.get(query.get("encoding", b"").decode("latin-1"))
    if codec is None:
        raise _unsupported(f"the parameter encoding has to be {' or '.join(_BY_NAME)}")
    return codec


def _codec_of_body(headers: _Headers) -> Codec:
    value = headers.get(b"content-type", b"").decode("latin-1")
    codec = _BY_CONTENT_TYPE.get(value)
    if codec is None:
        media_type, *parameters = (part.strip().lower() for part in value.split(";"))
        codec = _BY_CONTENT_TYPE.get(media_type)
        charsets = [part.partition("=")[2].strip('"') for part in parameters if part.startswith("charset=")]
        if codec is None or any(charset not in _CHARSETS for charset in charsets):
            raise _unsupported(f"the body has to be {' or '.join(_BY_CONTENT_TYPE)}")
    return codec


def _unsupported(reason: str) -> ConnectError:
    # ASSUMPTION: without a Connect error, a client maps the status 415 to `unknown`, so the error has this code.
    headers = {"Accept-Post": ", ".join(_BY_CONTENT_TYPE)}
    return ConnectError(ConnectCode.UNKNOWN, reason, http_status=415, headers=headers)


def _check_version(headers: _Headers, query: Mapping[str, bytes]) -> None:
    if headers.get(b"connect-protocol-version", b"1") != b"1":
        raise ConnectError(ConnectCode.INVALID_ARGUMENT, "Connect-Protocol-Version has to be 1")
    if query.get("connect", b"v1") != b"v1":
        raise ConnectError(ConnectCode.INVALID_ARGUMENT, "the parameter connect has to be v1")


def _deadline(headers: _Headers) -> _Deadline:
    timeout = headers.get(b"connect-timeout-ms")
    if timeout is None:
        return _NO_DEADLINE
    if not _TIMEOUT.fullmatch(timeout):
        raise ConnectError(
            ConnectCode.INVALID_ARGUMENT, "Connect-Timeout-Ms has to be a number of milliseconds of at most 10 digits"
        )
    return _Deadline(asyncio.get_running_loop().time() + int(timeout) / 1000)


def _message_of_query(query: Mapping[str, bytes]) -> bytes:
    """Return the request message of a GET, in the form that a POST has in its body."""
    message = query.get("message")
    if message is None:
        raise ConnectError(ConnectCode.INVALID_ARGUMENT, "a GET has its request in the parameter message")
    if query.get("base64") != b"1":
        return message
    # The URL-safe alphabet is used. In the standard alphabet, an unescaped plus sign would have become a space.
    text = message.translate(_URL_ALPHABET).rstrip(b"=")
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise ConnectError(ConnectCode.INVALID_ARGUMENT, "the parameter message is not base64") from None


_URL_ALPHABET = bytes.maketrans(b"+/ ", b"-_-")


def _compressed(response: Response, headers: _Headers) -> Response:
    """Return the response, compressed with gzip if the client accepts that."""
    response.headers["Vary"] = "Accept-Encoding"
    if compression.takes_gzip(_text(headers, b"accept-encoding")):
        response.body = compression.compress(bytes(response.body))
        response.headers["Content-Length"] = str(len(response.body))
        response.headers["Content-Encoding"] = "gzip"
    return response


# -- The request message


def _decode(
    operation: Operation, codec: Codec, body: bytes, query: Mapping[str, bytes], *, relaxed_ids: bool
) -> dict[str, Any]:
    """Return the valid request in its JSON form.

    ASSUMPTION: the pagination of a list may be given in the query as well. There it takes precedence over the body,
    field by field; an empty value is ignored.

    Raises:
        ConnectError: `invalid_argument`, with all violations.
    """
    try:
        fields = codec.decode(operation, body)
    except ValueError as error:
        raise ConnectError(ConnectCode.INVALID_ARGUMENT, str(error)) from None
    page: dict[str, str] = {}
    if operation.paged and query:
        page = {name: query[name].decode("utf-8", "replace") for name in ("token", "pageSize") if query.get(name)}
    if not page and not relaxed_ids and check_of(operation.request_name)(fields):
        return fields
    from .validation import validated  # it imports pydantic; without it, the emulator starts faster

    return validated(operation, fields, page, relaxed_ids=relaxed_ids)
