"""Serves the page, its files, and what it asks for: the stream of events, a prebuild with its log, a request."""

from __future__ import annotations

import json
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from prebuilds.emulator.control import ControlError, authorize, refusal
from prebuilds.emulator.errors import ConnectError
from prebuilds.emulator.protocol import base_url

from . import PAGE_PATH
from .feed import MAX_WATCHERS, Feed, TooManyWatchersError
from .files import HEADERS, file_response
from .rows import prebuild_details

if TYPE_CHECKING:
    from prebuilds.emulator.recording import Recorder
    from prebuilds.emulator.service import PrebuildService

_PAGE: Final = "index.html"
_MAX_LINES: Final = 1000
_MAX_DIGITS: Final = 15


class PageEndpoint:
    """The ASGI application of the page.

    Args:
        service: the service that it shows.
        recorder: where the requests to the service are recorded.
        token: the token of the control plane, which opens everything but the files; None for none.
        stopping: whether the server is about to stop. Streams then end.
    """

    def __init__(
        self, service: PrebuildService, recorder: Recorder, token: str | None, stopping: Callable[[], bool]
    ) -> None:
        self._service = service
        self._token = token
        self._feed = Feed(service, recorder, stopping)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        try:
            if scope["method"] not in ("GET", "HEAD"):
                raise ControlError(HTTPStatus.METHOD_NOT_ALLOWED, "the page takes GET only")
            path: str = scope["path"]
            name = path.removeprefix(PAGE_PATH).removeprefix("/")
            # The page links to its files relative to its own place.
            file = file_response(_PAGE if path == "/" else name) if path == "/" or name != _PAGE else None
            if file is not None:
                await file(scope, receive, send)
                return
            authorize(request, self._token)
            if name == "events":
                await self._stream(request, send)
                return
            response = self._answer(name, request)
        except ControlError as error:
            response = refusal(error)
        except ConnectError as error:
            response = refusal(ControlError(error.code.http_status, error.message))
        await response(scope, receive, send)

    async def _stream(self, request: Request, send: Send) -> None:
        if request.method == "HEAD":
            raise ControlError(HTTPStatus.METHOD_NOT_ALLOWED, "the stream takes GET only")
        try:
            with self._feed.watcher():
                events = self._feed.events(request.headers.get("last-event-id", ""))
                response = StreamingResponse(events, headers=HEADERS, media_type="text/event-stream")
                await response(request.scope, request.receive, send)
        except TooManyWatchersError:
            raise ControlError(
                HTTPStatus.SERVICE_UNAVAILABLE, f"{MAX_WATCHERS} pages are open already: close one of them"
            ) from None

    def _answer(self, name: str, request: Request) -> Response:
        kind, _, wanted = name.partition("/")
        found: dict[str, Any] | None = None
        if kind == "prebuilds" and wanted:
            found = self._prebuild(wanted, request)
        elif kind == "requests" and _is_number(wanted):
            found = self._feed.captures.describe(int(wanted))
        if found is None:
            raise ControlError(HTTPStatus.NOT_FOUND, f"the page has no {name}")
        return Response(json.dumps(found), headers=HEADERS, media_type="application/json")

    def _prebuild(self, prebuild_id: str, request: Request) -> dict[str, Any]:
        """A prebuild as the service returns it, and the lines of its log behind the first `from` ones."""
        given = request.query_params.get("from", "0")
        if not _is_number(given):
            raise ControlError(HTTPStatus.BAD_REQUEST, "from: expected the number of the lines that are known")
        service = self._service
        now = service.clock.now()
        with service.transaction(now) as transaction:
            service.settle(transaction, now)
            record = transaction.prebuild(service.projects.canonical(prebuild_id))
        if record is None:
            raise ControlError(HTTPStatus.NOT_FOUND, f"there is no prebuild {prebuild_id}")
        log = service.read_log(record.id)
        lines = [] if log is None else log.lines[int(given) : int(given) + _MAX_LINES]
        address = base_url(request.scope, dict(request.scope["headers"]), "")
        return {
            "prebuild": prebuild_details(record, address),
            "lines": lines,
            "following": log is None or log.following,
        }


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
