"""The Connect protocol for unary calls: from an HTTP request to a call of the service, and back."""

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
"""The most bytes that the body of a request may have, both as it is sent and unpacked."""

_TIMEOUT = re.compile(rb"[0-9]{1,10}")
_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?", re.ASCII)
_CHARSETS = ("utf-8", "utf8")

_BY_NAME = {codec.name: codec for codec in CODECS}
_BY_CONTENT_TYPE = {codec.content_type: codec for codec in CODECS}

_logger = logging.getLogger("prebuilds.emulator")

_Headers = Mapping[bytes, bytes]


class ConnectEndpoint:
    """The ASGI application of all methods of the service, below one prefix of the path.

    Args:
        service: what answers the calls.
        prefix: what stands before `/gitpod.v1.PrebuildService` in the path, `/api` for instance.
        tokens: the tokens that open it.
        body_limit: the most bytes that a body may have; beyond that it is neither read nor unpacked.
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
        """Answer one request. The last segment of its path is the name of the method."""
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
        # Nothing is taken apart before it is needed: this runs for each call.
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
        # The work is done, and yet the caller has been told by its own clock that it is not: the two should agree.
        deadline.check()
        response = Response(content, media_type=codec.content_type)
        return _compressed(response, headers) if len(content) >= compression.WORTHWHILE else response

    async def _body(self, headers: _Headers, receive: Receive, deadline: _Deadline) -> bytes:
        """The body, as long as it keeps within the limit and the time."""
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
        # ASSUMPTION: a body that is too large is HTTP's own 413, and in Connect's words `resource_exhausted`.
        return ConnectError(
            ConnectCode.RESOURCE_EXHAUSTED,
            f"the body has more than {self._body_limit} bytes",
            http_status=413,
            # What is left of the body stays unread, so that the connection is of no further use.
            headers={"Connection": "close"},
        )


class _Deadline:
    """When a call has to be answered, `at` by the time of the event loop; None for whenever."""

    __slots__ = ("at",)

    def __init__(self, at: float | None) -> None:
        self.at = at

    def check(self) -> None:
        """Raise `deadline_exceeded` if it is too late."""
        if self.at is not None and asyncio.get_running_loop().time() >= self.at:
            raise self.exceeded()

    def exceeded(self) -> ConnectError:
        """The answer to a call that takes too long. Of its body, something may be unread."""
        return ConnectError(
            ConnectCode.DEADLINE_EXCEEDED,
            "the call took longer than its Connect-Timeout-Ms",
            headers={"Connection": "close"},
        )


_NO_DEADLINE = _Deadline(None)


def error_response(error: ConnectError) -> Response:
    """The answer that tells the caller of a failure. It is JSON, whatever the codec of the call."""
    body = json.dumps(error.to_json(), separators=(",", ":")).encode()
    return Response(body, error.http_status, error.headers, media_type="application/json")


def not_found(path: str) -> ConnectError:
    """The answer to a path that leads nowhere, unknown methods of the service among them."""
    return ConnectError(ConnectCode.UNIMPLEMENTED, f"there is no {path}", http_status=404)


def method_not_allowed(allowed: str) -> ConnectError:
    """The answer to an HTTP method that the path does not take."""
    # ASSUMPTION: a client that gets no Connect error takes the status 405 for `unknown`, so this is what it says.
    return ConnectError(ConnectCode.UNKNOWN, f"this takes {allowed} only", http_status=405, headers={"Allow": allowed})


def base_url(scope: Scope, headers: _Headers, prefix: str) -> str:
    """The base URL that a request came in on, without a slash at its end, as the caller knows it.

    The Host header is what tells; one that makes no sense is ignored in favour of the socket's address.
    """
    host = _text(headers, b"host")
    if not _HOST.fullmatch(host):
        name, port = scope.get("server") or ("127.0.0.1", None)
        name = f"[{name}]" if ":" in name else name
        host = name if port is None else f"{name}:{port}"
    return f"{scope['scheme']}://{host}{scope.get('root_path', '')}{prefix}"


# -- What the headers and the query say


def _headers(lines: Sequence[tuple[bytes, bytes]]) -> _Headers:
    """The headers by their names in lower case. One that comes several times is a list, as HTTP has it."""
    headers = dict(lines)
    if len(headers) < len(lines):
        headers = {}
        for name, value in lines:
            headers[name] = headers[name] + b", " + value if name in headers else value
    return headers


def _text(headers: _Headers, name: bytes) -> str:
    return headers.get(name, b"").decode("latin-1")


def _query(raw: bytes) -> dict[str, bytes]:
    """The parameters of the query, of equal ones the first. Their values may be no UTF-8: some are binary."""
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
    # ASSUMPTION: a client that gets no Connect error takes the status 415 for `unknown`, so this is what it says.
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
    """The request of a GET, as it would be the body of a POST."""
    message = query.get("message")
    if message is None:
        raise ConnectError(ConnectCode.INVALID_ARGUMENT, "a GET has its request in the parameter message")
    if query.get("base64") != b"1":
        return message
    # The alphabet is that of URLs. With the other, a plus that nobody has escaped has become a blank.
    text = message.translate(_URL_ALPHABET).rstrip(b"=")
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise ConnectError(ConnectCode.INVALID_ARGUMENT, "the parameter message is not base64") from None


_URL_ALPHABET = bytes.maketrans(b"+/ ", b"-_-")


def _compressed(response: Response, headers: _Headers) -> Response:
    """The response in gzip, if the caller takes that."""
    response.headers["Vary"] = "Accept-Encoding"
    if compression.takes_gzip(_text(headers, b"accept-encoding")):
        response.body = compression.compress(bytes(response.body))
        response.headers["Content-Length"] = str(len(response.body))
        response.headers["Content-Encoding"] = "gzip"
    return response


# -- What the request says


def _decode(
    operation: Operation, codec: Codec, body: bytes, query: Mapping[str, bytes], *, relaxed_ids: bool
) -> dict[str, Any]:
    """The request in its JSON form, in order in every respect.

    ASSUMPTION: which page of a list to answer may be said in the query as well. There it counts for more than in the
    body, field by field; an empty value says nothing.

    Raises:
        ConnectError: `invalid_argument`, with all that is wrong.
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
    from .validation import validated  # it brings pydantic along: an emulator starts sooner without

    return validated(operation, fields, page, relaxed_ids=relaxed_ids)
