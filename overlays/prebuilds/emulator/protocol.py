"""The Connect protocol for unary calls: from an HTTP request to a call of the service, and back."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar

from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from prebuild_wire import OPERATIONS, Message, Operation
from prebuild_wire.models import PaginationRequest

from .codec import CODECS, Codec
from .errors import ConnectCode, ConnectError
from .ids import derived_id
from .lifecycle import SubjectRecord
from .service import Call, PrebuildService

DEFAULT_BODY_LIMIT: Final = 4 * 1024 * 1024
"""The most bytes that the body of a request may have."""

_MOST_VIOLATIONS = 100
_TIMEOUT = re.compile(r"[0-9]{1,10}", re.ASCII)
_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?", re.ASCII)
_CHARSETS = ("utf-8", "utf8")

_logger = logging.getLogger("prebuilds.emulator")

MessageT = TypeVar("MessageT", bound=Message)


class ConnectEndpoint:
    """The ASGI application of all methods of the service, below one prefix of the path.

    Args:
        service: what answers the calls.
        prefix: what stands before `/gitpod.v1.PrebuildService` in the path, `/api` for instance.
        body_limit: the most bytes that a body may have; beyond that it is not read.
        operations: the methods, each with the model that its request has to fit.
    """

    def __init__(
        self,
        service: PrebuildService,
        prefix: str = "",
        body_limit: int = DEFAULT_BODY_LIMIT,
        operations: Mapping[str, Operation] = OPERATIONS,
    ) -> None:
        self._operations = operations
        self._service = service
        self._prefix = prefix
        self._body_limit = body_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. The route has put the method's name into the path parameter `method`."""
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except ClientDisconnect:
            return
        except ConnectError as error:
            response = error_response(error)
        except Exception:
            _logger.exception("%s %s failed", request.method, request.scope["path"])
            response = error_response(ConnectError(ConnectCode.INTERNAL, "the emulator failed, see its log"))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        operation = self._operations.get(request.path_params["method"])
        if operation is None:
            raise not_found(request)
        if request.method != "POST":
            raise method_not_allowed("POST")
        token = bearer_token(request)
        if self._service.is_logs_token(token):
            raise ConnectError(ConnectCode.UNAUTHENTICATED, "a logs token opens logs only, and is no API token")
        codec = _codec(request)
        _check_headers(request)
        message = _decode(operation, codec, await self._body(request))
        if operation.paged:
            message = _with_query(message, request)
        # ASSUMPTION: every token is that of a user of its own. The real service knows whose it is.
        caller = SubjectRecord(derived_id("user", hashlib.sha256(token.encode()).hexdigest()))
        call = Call(caller, base_url(request.scope, self._prefix))
        answer = self._service.answer(operation.name, message, call)
        return Response(codec.encode(operation, answer), media_type=codec.content_type)

    async def _body(self, request: Request) -> bytes:
        """The body, as long as it keeps within the limit."""
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > self._body_limit:
            raise self._too_large()
        chunks: list[bytes] = []
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > self._body_limit:
                raise self._too_large()
            chunks.append(chunk)
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


def error_response(error: ConnectError) -> Response:
    """The answer that tells the caller of a failure. It is JSON, whatever the codec of the call."""
    body = json.dumps(error.to_json(), separators=(",", ":")).encode()
    return Response(body, error.http_status, error.headers, media_type="application/json")


def not_found(request: Request) -> ConnectError:
    """The answer to a path that leads nowhere, unknown methods of the service among them."""
    return ConnectError(ConnectCode.UNIMPLEMENTED, f"there is no {request.scope['path']}", http_status=404)


def method_not_allowed(allowed: str) -> ConnectError:
    """The answer to an HTTP method that the path does not take."""
    # ASSUMPTION: a client that gets no Connect error takes the status 405 for `unknown`, so this is what it says.
    return ConnectError(ConnectCode.UNKNOWN, f"this takes {allowed} only", http_status=405, headers={"Allow": allowed})


def bearer_token(request: Request) -> str:
    """The token of the Authorization header.

    ASSUMPTION: any token will do, as the emulator has no users.

    Raises:
        ConnectError: `unauthenticated`, there is none.
    """
    scheme, _, token = request.headers.get("authorization", "").strip().partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise ConnectError(
            ConnectCode.UNAUTHENTICATED,
            "a bearer token is needed: Authorization: Bearer <token>",
            headers={"WWW-Authenticate": "Bearer"},
        )
    return token


def base_url(scope: Scope, prefix: str) -> str:
    """The base URL that a request came in on, without a slash at its end, as the caller knows it.

    The Host header is what tells; one that makes no sense is ignored in favour of the socket's address.
    """
    host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
    if not _HOST.fullmatch(host):
        name, port = scope.get("server") or ("127.0.0.1", None)
        name = f"[{name}]" if ":" in name else name
        host = name if port is None else f"{name}:{port}"
    return f"{scope['scheme']}://{host}{scope.get('root_path', '')}{prefix}"


def _codec(request: Request) -> Codec:
    """The codec of the request's content type."""
    media_type, *parameters = (part.strip().lower() for part in request.headers.get("content-type", "").split(";"))
    charsets = [part.partition("=")[2].strip('"') for part in parameters if part.startswith("charset=")]
    codec = CODECS.get(media_type)
    if codec is None or any(charset not in _CHARSETS for charset in charsets):
        accepted = ", ".join(CODECS)
        # ASSUMPTION: a client that gets no Connect error takes the status 415 for `unknown`, so this is what it says.
        raise ConnectError(
            ConnectCode.UNKNOWN,
            f"the body has to be {accepted}",
            http_status=415,
            headers={"Accept-Post": accepted},
        )
    return codec


def _check_headers(request: Request) -> None:
    version = request.headers.get("connect-protocol-version")
    if version not in (None, "1"):
        raise ConnectError(ConnectCode.INVALID_ARGUMENT, "Connect-Protocol-Version has to be 1")
    timeout = request.headers.get("connect-timeout-ms")
    if timeout is not None and not _TIMEOUT.fullmatch(timeout):
        raise ConnectError(
            ConnectCode.INVALID_ARGUMENT, "Connect-Timeout-Ms has to be a number of milliseconds of at most 10 digits"
        )
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.lower() not in ("", "identity"):
        raise ConnectError(
            ConnectCode.UNIMPLEMENTED,
            "the body is compressed, and only the encoding identity is known here",
            headers={"Accept-Encoding": "identity"},
        )


def _decode(operation: Operation, codec: Codec, body: bytes) -> Message:
    """The request, in order in every respect.

    Raises:
        ConnectError: `invalid_argument`, with all that is wrong.
    """
    try:
        fields = codec.decode(operation, body)
    except ValueError as error:
        raise ConnectError(ConnectCode.INVALID_ARGUMENT, str(error)) from None
    return _validated(operation.request, fields)


def _with_query(message: Message, request: Request) -> Message:
    """The request of a list, with the page that the query asks for.

    ASSUMPTION: what the query says counts for more than the body, field by field; an empty value says nothing.
    """
    asked = {name: request.query_params.get(name) for name in ("token", "pageSize")}
    given = {name: value for name, value in asked.items() if value}
    if not given:
        return message
    query = _validated(PaginationRequest, given)
    body: PaginationRequest = getattr(message, "pagination", None) or PaginationRequest()
    return message.model_copy(
        update={"pagination": body.model_copy(update={name: getattr(query, name) for name in query.model_fields_set})}
    )


def _validated(kind: type[MessageT], fields: dict[str, Any]) -> MessageT:
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        raise ConnectError(ConnectCode.INVALID_ARGUMENT, f"validation error: {_violations(error)}") from None


def _violations(error: ValidationError) -> str:
    """Every violation, each with the path of its field by its protobuf names."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    texts = [
        f"{_path(violation['loc'])}: {_reason(violation['type'], violation['msg'])}"
        for violation in found[:_MOST_VIOLATIONS]
    ]
    if len(found) > _MOST_VIOLATIONS:
        texts.append(f"and {len(found) - _MOST_VIOLATIONS} more")
    return "; ".join(texts)


def _path(location: tuple[int | str, ...]) -> str:
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            path += ("." if path else "") + re.sub("[A-Z]", lambda match: f"_{match[0].lower()}", part)
    return path or "message"


def _reason(kind: str, message: str) -> str:
    if kind == "model_type":
        return "value must be an object"
    return message.replace("Input should be", "value must be", 1)
