"""A gateway in front of the PrebuildService that creates prebuilds of some projects only.

    UPSTREAM=https://app.gitpod.io/api PROJECTS=id,id uvicorn --app-dir examples --factory gateway:from_environment

It needs the `emulator` extra, which brings Starlette and uvicorn. `prebuild_wire`, generated from the schema, validates
the requests. `test_gateway.py` tests the gateway with the contract kit.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from prebuild_wire import OPERATIONS

CREATE = OPERATIONS["CreatePrebuild"]
MAX_BODY = 4 * 2**20
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
FORWARDED = ("accept-encoding", "authorization", "connect-timeout-ms", "content-encoding", "content-type")
RETURNED = ("allow", "content-type", "ratelimit-retryafter", "retry-after", "www-authenticate")


def create_gateway(upstream: httpx.AsyncClient, projects: set[str]) -> Starlette:
    """The ASGI application.

    Args:
        upstream: sends requests to the service, whose address is its `base_url`. It is closed with the application.
        projects: the ids of the projects that may get prebuilds, in lower case.
    """

    async def forward(request: Request) -> Response:
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                return error(413, "resource_exhausted", f"expected at most {MAX_BODY} bytes")
        if request.url.path == CREATE.path and (refusal := refuse(request, body)):
            return refusal
        response = await upstream.request(
            request.method,
            request.url.path,
            params=request.url.query,
            content=body,
            headers={name: request.headers[name] for name in FORWARDED if name in request.headers},
        )
        headers = {name: response.headers[name] for name in RETURNED if name in response.headers}
        return Response(response.content, response.status_code, headers)

    def refuse(request: Request, body: bytes) -> Response | None:
        """The response to a create that the gateway does not forward."""
        if request.method != "POST" or "authorization" not in request.headers:
            return None  # the service rejects these itself
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return error(415, "unknown", "this gateway accepts application/json only")
        if request.headers.get("content-encoding", "identity") != "identity":
            return error(501, "unimplemented", "this gateway accepts no compressed creates")
        try:
            project = CREATE.request.model_validate_json(body).model_dump()["project_id"]
        except ValidationError as problem:
            return error(400, "invalid_argument", str(problem.errors()[0]["msg"]))
        if project.lower() not in projects:
            return error(403, "permission_denied", f"this gateway creates no prebuilds of project {project}")
        return None

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        async with upstream:
            yield

    return Starlette(routes=[Route("/{path:path}", forward, methods=METHODS)], lifespan=lifespan)


def error(status: int, code: str, message: str) -> Response:
    """A Connect error."""
    return JSONResponse({"code": code, "message": message}, status)


def from_environment() -> Starlette:
    """The gateway that the environment describes."""
    upstream = httpx.AsyncClient(base_url=os.environ["UPSTREAM"], timeout=60)
    return create_gateway(upstream, set(os.environ["PROJECTS"].lower().split(",")))
