"""The ASGI application of the emulator: the methods of the service, and the logs, under `/` and under `/api`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import cache
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from prebuild_wire import OPERATIONS
from prebuilds.version import __version__

from .auth import Tokens, bearer_token, check_control_token
from .errors import ConnectError
from .injection import FaultInjector, connection_of
from .page import is_of_page
from .protocol import DEFAULT_BODY_LIMIT, ConnectEndpoint, error_response, method_not_allowed, not_found
from .recording import CONTROL_PATH, Recorder, RequestRecord
from .service import LogState, PrebuildService

PREFIXES: Final = ("", "/api")
"""What may stand before the service in the path: nothing, or `/api` as at the vendor's."""

HEALTH_PATH: Final = "/health"
"""Answers any request with 200 and the version, without a token: for what starts containers and waits for them."""

LOG_INTERVAL: Final = 0.05
"""How often a log that is followed is looked at, in seconds: real ones, or emulated ones where there is no socket."""


def create_app(
    service: PrebuildService,
    *,
    tokens: Tokens | None = None,
    body_limit: int = DEFAULT_BODY_LIMIT,
    stopping: Callable[[], bool] = lambda: False,
    control: bool = True,
    control_token: str | None = None,
    on_record: Callable[[RequestRecord], None] | None = None,
    log_interval: float = LOG_INTERVAL,
) -> ASGIApp:
    """An ASGI application that serves `service`.

    Args:
        service: what answers the calls.
        tokens: the tokens that open its methods; without this, any token does.
        body_limit: the most bytes that the body of a request may have.
        stopping: whether the server is about to stop. Logs that are being followed then end.
        control: whether there is a control plane, and the page.
        control_token: the bearer token that the control plane asks for; None for none.
        on_record: called with each request that was answered.
        log_interval: how often a log that is followed is looked at, in seconds.

    Raises:
        ValueError: no header can carry the token of the control plane.
    """
    if control_token is not None:
        check_control_token(control_token)
    services = {operation.path.rpartition("/")[0] for operation in OPERATIONS.values()}
    endpoints = {
        f"{prefix}{name}": ConnectEndpoint(service, prefix, tokens, body_limit)
        for prefix in PREFIXES
        for name in services
    }
    read_log = _log_endpoint(service, stopping, log_interval)
    routes = [Route(f"{prefix}/logs/{{prebuild_id}}", read_log, methods=["GET"]) for prefix in PREFIXES]
    others = Starlette(routes=routes, exception_handlers={404: _answer_not_found, 405: _answer_not_allowed})
    # A path that differs by a slash is another path: a redirect would lose the body of the call.
    others.router.redirect_slashes = False

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        # A call needs no router, which would take a good part of the time that a short one takes.
        path = scope["path"].removeprefix(scope.get("root_path", "")) if scope["type"] == "http" else ""
        await endpoints.get(path.rpartition("/")[0], others)(scope, receive, send)

    recorder = Recorder(FaultInjector(app, service.faults), service.clock, on_record)

    @cache
    def control_endpoint() -> ASGIApp:
        from .control import Control, ControlEndpoint  # an emulator starts sooner without

        return ControlEndpoint(Control(service, recorder), control_token)

    @cache
    def page_endpoint() -> ASGIApp:
        from .page.endpoint import PageEndpoint

        return PageEndpoint(service, recorder, control_token, stopping)

    async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
        # Requests that are not for the service itself meet no faults, and are not recorded.
        path = scope["path"] if scope["type"] == "http" else ""
        if path == HEALTH_PATH:
            await JSONResponse({"status": "ok", "version": __version__})(scope, receive, send)
        elif control and is_of_page(scope.get("method", ""), path):
            await page_endpoint()(scope, receive, send)
        elif control and f"{path}/".startswith(f"{CONTROL_PATH}/"):
            await control_endpoint()(scope, receive, send)
        else:
            await recorder(scope, receive, send)

    return dispatch


def _log_endpoint(
    service: PrebuildService, stopping: Callable[[], bool], interval: float
) -> Callable[[Request], Awaitable[Response]]:
    async def read_log(request: Request) -> Response:
        prebuild_id: str = request.path_params["prebuild_id"]
        try:
            token = bearer_token(dict(request.scope["headers"]))
            service.authorize_log(prebuild_id, token.decode("latin-1"))
            state = service.read_log(prebuild_id)
        except ConnectError as error:
            return error_response(error)
        if state is None:
            # ASSUMPTION: as for the logs of environments, 502 says that there is no environment yet.
            return PlainTextResponse("the environment does not exist yet\n", 502)
        idle = connection_of(request.scope).idle
        lines = _follow(service, prebuild_id, state, stopping, lambda: idle(interval))
        return StreamingResponse(lines, media_type="text/plain")

    return read_log


async def _follow(
    service: PrebuildService,
    prebuild_id: str,
    state: LogState,
    stopping: Callable[[], bool],
    pause: Callable[[], Awaitable[None]],
) -> AsyncIterator[str]:
    """The lines of a log, until the prebuild is through.

    ASSUMPTION: the stream follows a prebuild that is under way, and ends when it is through or being deleted.
    """
    sent = 0
    while True:
        fresh = state.lines[sent:]
        if fresh:
            yield "".join(f"{line}\n" for line in fresh)
            sent += len(fresh)
        if not state.following or stopping():
            return
        await pause()
        try:
            later = service.read_log(prebuild_id)
        except ConnectError:
            return
        if later is None:
            return
        state = later


async def _answer_not_found(request: Request, error: Exception) -> Response:
    return error_response(not_found(request.scope["path"]))


async def _answer_not_allowed(request: Request, error: Exception) -> Response:
    allowed = (error.headers or {}).get("Allow", "GET") if isinstance(error, HTTPException) else "GET"
    return error_response(method_not_allowed(allowed))
