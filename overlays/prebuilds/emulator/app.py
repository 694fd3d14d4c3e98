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
"""The path prefixes of the service: none, or `/api` as at the vendor's."""

HEALTH_PATH: Final = "/health"
"""The health check: it returns 200 and the version without a token, for tools that start containers."""

LOG_INTERVAL: Final = 0.05
"""The interval for polling a followed log, in seconds: in real time, or in emulated time without a socket."""


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
    """Return an ASGI application that serves `service`.

    Args:
        service: the implementation of the methods.
        tokens: the accepted tokens; by default any token is accepted.
        body_limit: the maximum size of a request body in bytes.
        stopping: returns whether the server is about to stop. Followed logs then end.
        control: whether the control plane and the page are available.
        control_token: the bearer token that the control plane requires; None for no token.
        on_record: called with each completed request.
        log_interval: the interval for polling a followed log, in seconds.

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
    # Paths that differ by a slash are different paths: a redirect would lose the body of the request.
    others.router.redirect_slashes = False

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        # Service requests bypass the router, which would take a large part of the time of a short request.
        path = scope["path"].removeprefix(scope.get("root_path", "")) if scope["type"] == "http" else ""
        await endpoints.get(path.rpartition("/")[0], others)(scope, receive, send)

    recorder = Recorder(FaultInjector(app, service.faults), service.clock, on_record)

    @cache
    def control_endpoint() -> ASGIApp:
        from .control import Control, ControlEndpoint  # without it, the emulator starts faster

        return ControlEndpoint(Control(service, recorder), control_token)

    @cache
    def page_endpoint() -> ASGIApp:
        from .page.endpoint import PageEndpoint

        return PageEndpoint(service, recorder, control_token, stopping)

    async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
        # Only requests to the service itself get faults and are recorded.
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
            # ASSUMPTION: as for the logs of environments, 502 means that the environment does not exist yet.
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
    """Yield the lines of a log until the prebuild has ended.

    ASSUMPTION: the stream follows a running prebuild, and ends when the prebuild has ended or is being deleted.
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
