"""What goes over the wire and what becomes of the answer, over a real socket."""

from __future__ import annotations

import asyncio
import socket

import httpx
import pytest

from prebuild_api.api.prebuild_service import get_prebuild, list_prebuilds
from prebuild_api.models import (
    ConnectError,
    GetPrebuildRequest,
    GetPrebuildResponse,
    ListPrebuildsRequest,
    ListPrebuildsResponse,
)
from prebuilds import (
    APIError,
    AsyncPrebuildClient,
    ClientClosedError,
    ConnectionFailedError,
    InternalError,
    PermissionDeniedError,
    PrebuildClient,
    PrebuildsError,
    RequestTimeoutError,
    ResponseError,
    UnauthenticatedError,
    UnavailableError,
    UnimplementedError,
    UnknownError,
    __version__,
)

from .both import ID, KINDS, TOKEN, call
from .scripted import Answer, ScriptedServer, a_prebuild, an_error

pytestmark = pytest.mark.parametrize("kind", KINDS)


def test_a_call_is_a_post_of_json_with_credentials_and_a_deadline(kind):
    with ScriptedServer() as server:
        response = call(kind, server.url + "/api/", prebuild_id=ID, timeout=7)
    assert response.prebuild.status.phase.is_active
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/api/gitpod.v1.PrebuildService/GetPrebuild")
    assert request.body == {"prebuildId": ID}
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["connect-protocol-version"] == "1"
    assert 6000 < int(request.headers["connect-timeout-ms"]) <= 7000
    assert request.headers["user-agent"] == f"prebuilds-python/{__version__}"


def test_without_a_timeout_no_deadline_is_sent(kind):
    with ScriptedServer() as server:
        call(kind, server.url, prebuild_id=ID, timeout=None)
    assert "connect-timeout-ms" not in server.requests[0].headers


def test_a_call_takes_headers_and_unknown_fields_of_its_own(kind):
    with ScriptedServer() as server:
        call(kind, server.url, prebuild_id=ID, headers={"X-Trace": "1"}, extra_body={"newField": [1]})
    assert server.requests[0].headers["x-trace"] == "1"
    assert server.requests[0].body == {"prebuildId": ID, "newField": [1]}


@pytest.mark.parametrize(
    ("method", "arguments", "suggestion"),
    [
        ("retrieve", {"prebuild_id": ID, "time_out": 3}, "timeout"),
        ("retrieve", {"prebuild_id": ID, "max_retries": 3}, "retries"),
        ("list", {"project_id": [ID]}, "project_ids"),
        ("list", {"filters": {}}, "filter"),
    ],
)
def test_an_unknown_keyword_is_a_type_error_that_suggests_the_right_one(kind, method, arguments, suggestion):
    with ScriptedServer() as server, pytest.raises(TypeError, match=f"'{suggestion}'") as caught:
        call(kind, server.url, method, **arguments)
    assert f"prebuilds.{method}()" in str(caught.value)
    assert not server.requests


def test_an_unknown_keyword_without_likeness_suggests_nothing(kind):
    with ScriptedServer() as server, pytest.raises(TypeError, match="'zzz'$"):
        call(kind, server.url, prebuild_id=ID, zzz=1)


def test_an_error_of_the_service_has_everything_it_said(kind):
    detail = {"type": "example.Detail", "value": "AQ"}
    script = an_error("permission_denied", 403, "not yours", details=[detail])
    with ScriptedServer(script) as server, pytest.raises(PermissionDeniedError) as caught:
        call(kind, server.url, "cancel", prebuild_id=ID)
    error = caught.value
    assert (error.code, error.status, error.message) == ("permission_denied", 403, "not yours")
    assert [each.to_dict() for each in error.details] == [detail]
    assert (error.operation, error.retryable, error.maybe_executed) == ("cancel", False, False)
    for text in ("prebuilds.cancel", "permission_denied", "403", "not yours", "read-only"):
        assert text in str(error)


def test_a_refused_token_says_where_it_came_from(kind, monkeypatch):
    with ScriptedServer(an_error("unauthenticated", 401, "invalid token")) as server:
        with pytest.raises(UnauthenticatedError, match="argument bearer_token"):
            call(kind, server.url)
        monkeypatch.setenv("ONA_TOKEN", TOKEN)
        monkeypatch.delenv("GITPOD_API_KEY", raising=False)
        monkeypatch.delenv("ONA_API_KEY", raising=False)
        with (
            PrebuildClient(base_url=server.url) as client,
            pytest.raises(UnauthenticatedError, match=r"\$ONA_TOKEN"),
        ):
            client.prebuilds.retrieve(prebuild_id=ID)


HTML = b"<html><body><h1>502 Bad Gateway</h1>" + b"x" * 100_000 + b"</body></html>"


@pytest.mark.parametrize(
    ("answer", "kind_of_error", "excerpt"),
    [
        (Answer(502, HTML, {"content-type": "text/html"}), UnavailableError, "502 Bad Gateway"),
        (Answer(500, b""), UnknownError, "empty body"),
        (Answer(400, b'{"code": "not_fou'), InternalError, "not_fou"),
        (Answer(401, b"nope"), UnauthenticatedError, "nope"),
        (Answer(404, b"page not found"), UnimplementedError, "right base URL"),
        (Answer(407, b"proxy says no"), UnknownError, "proxy says no"),
        (Answer(418, b"[]"), UnknownError, "418"),
        (an_error("brand_new_code", 500), APIError, "brand_new_code"),
    ],
)
def test_an_answer_that_is_no_connect_error_is_mapped_by_its_status(kind, answer, kind_of_error, excerpt):
    with ScriptedServer(answer) as server, pytest.raises(APIError) as caught:
        call(kind, server.url, prebuild_id=ID, retries=0)
    assert type(caught.value) is kind_of_error
    assert caught.value.status == answer.status
    assert excerpt in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("answer", "path"),
    [
        (Answer(204, b""), ""),
        (Answer(200, b""), ""),
        (Answer(200, b"<html>log in</html>", {"content-type": "text/html"}), ""),
        (Answer(200, {}), "prebuild"),
        (Answer(200, {"prebuild": {**a_prebuild(), "id": 5}}), "prebuild.id"),
    ],
)
def test_a_success_that_is_not_what_was_promised_is_a_response_error(kind, answer, path):
    with ScriptedServer(answer) as server, pytest.raises(ResponseError) as caught:
        call(kind, server.url, "create", project_id=ID)
    error = caught.value
    assert isinstance(error, PrebuildsError)
    assert error.status == answer.status
    assert error.__cause__.path == path
    assert error.maybe_executed
    assert not error.retryable
    assert "may have taken effect" in str(error)
    assert len(server.requests) == 1


def test_a_redirect_is_not_followed_and_the_token_stays(kind):
    with ScriptedServer() as elsewhere:
        target = f"{elsewhere.url.replace('127.0.0.1', 'localhost')}/login?next=secret"
        with (
            ScriptedServer(Answer(307, b"", {"location": target})) as server,
            pytest.raises(APIError, match="redirects to http://localhost") as caught,
        ):
            call(kind, server.url)
    assert caught.value.status == 307
    assert "next=" not in str(caught.value)
    assert not elsewhere.requests


def test_a_redirect_is_not_followed_by_an_http_client_that_would(kind):
    def look(url: str) -> None:
        if kind == "sync":
            with (
                httpx.Client(follow_redirects=True) as http,
                PrebuildClient(TOKEN, base_url=url, http_client=http) as client,
            ):
                client.prebuilds.retrieve(prebuild_id=ID)
            return

        async def main() -> None:
            async with (
                httpx.AsyncClient(follow_redirects=True) as http,
                AsyncPrebuildClient(TOKEN, base_url=url, http_client=http) as client,
            ):
                await client.prebuilds.retrieve(prebuild_id=ID)

        asyncio.run(main())

    with ScriptedServer() as elsewhere:
        script = Answer(307, b"", {"location": f"{elsewhere.url}/x"})
        with ScriptedServer(script) as server, pytest.raises(APIError, match="redirects"):
            look(server.url)
    assert not elsewhere.requests


def test_nobody_listening_is_a_connection_failure_that_surely_did_nothing(kind):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    with pytest.raises(ConnectionFailedError, match="127.0.0.1") as caught:
        call(kind, url, "create", project_id=ID, retries=0)
    assert caught.value.__cause__ is not None
    assert not caught.value.maybe_executed
    assert caught.value.retryable


def test_a_dropped_create_is_not_repeated_and_may_have_run(kind):
    with (
        ScriptedServer(Answer(drop=True)) as server,
        pytest.raises(ConnectionFailedError, match="may have taken effect") as caught,
    ):
        call(kind, server.url, "create", project_id=ID)
    assert caught.value.maybe_executed
    assert not caught.value.retryable
    assert len(server.requests) == 1


@pytest.mark.parametrize("first", [Answer(drop=True), Answer(cut=5), Answer(503, b"")])
def test_a_look_that_fails_in_passing_is_repeated(kind, first):
    with ScriptedServer(first, Answer()) as server:
        call(kind, server.url)
    assert len(server.requests) == 2


def test_a_server_that_does_not_answer_in_time_is_a_timeout(kind):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(RequestTimeoutError) as caught:
            call(kind, url, prebuild_id=ID, timeout=0.1)
    assert caught.value.maybe_executed


def test_a_closed_client_says_so_and_closing_twice_is_safe(kind):
    with ScriptedServer() as server:
        if kind == "sync":
            client = PrebuildClient(TOKEN, base_url=server.url)
            client.prebuilds.retrieve(prebuild_id=ID)
            client.close()
            client.close()
            with pytest.raises(ClientClosedError, match="PrebuildClient has been closed"):
                client.prebuilds.retrieve(prebuild_id=ID)
            with pytest.raises(ClientClosedError):
                client.__enter__()
        else:

            async def main():
                client = AsyncPrebuildClient(TOKEN, base_url=server.url)
                await client.prebuilds.retrieve(prebuild_id=ID)
                await client.aclose()
                await client.aclose()
                with pytest.raises(ClientClosedError, match="AsyncPrebuildClient has been closed"):
                    await client.prebuilds.retrieve(prebuild_id=ID)
                with pytest.raises(ClientClosedError):
                    await client.__aenter__()

            asyncio.run(main())


def test_an_http_client_of_the_caller_is_used_and_left_open(kind):
    with ScriptedServer() as server:
        if kind == "sync":
            with httpx.Client(headers={"X-Mine": "1"}) as http:
                with PrebuildClient(TOKEN, base_url=server.url, http_client=http) as client:
                    client.prebuilds.retrieve(prebuild_id=ID)
                assert not http.is_closed
        else:

            async def main():
                async with httpx.AsyncClient(headers={"X-Mine": "1"}) as http:
                    async with AsyncPrebuildClient(TOKEN, base_url=server.url, http_client=http) as client:
                        await client.prebuilds.retrieve(prebuild_id=ID)
                    assert not http.is_closed

            asyncio.run(main())
    assert server.requests[0].headers["x-mine"] == "1"
    assert server.requests[0].headers["authorization"] == f"Bearer {TOKEN}"
    assert server.requests[0].path == "/gitpod.v1.PrebuildService/GetPrebuild"


def test_the_endpoint_functions_take_the_client(kind):
    script = [Answer(), an_error("not_found", 404), Answer(200, {})]
    body = GetPrebuildRequest(prebuild_id=ID)
    with ScriptedServer(*script) as server:
        if kind == "sync":
            with PrebuildClient(TOKEN, base_url=server.url + "/api") as client:
                answers = [get_prebuild.sync(client=client, body=body) for _ in range(2)]
                answers.append(list_prebuilds.sync(client=client, body=ListPrebuildsRequest()))
        else:

            async def main():
                async with AsyncPrebuildClient(TOKEN, base_url=server.url + "/api") as client:
                    return [
                        await get_prebuild.asyncio(client=client, body=body),
                        await get_prebuild.asyncio(client=client, body=body),
                        await list_prebuilds.asyncio(client=client, body=ListPrebuildsRequest()),
                    ]

            answers = asyncio.run(main())
    assert [type(each) for each in answers] == [
        GetPrebuildResponse,
        ConnectError,
        ListPrebuildsResponse,
    ]
    assert server.requests[0].path == "/api/gitpod.v1.PrebuildService/GetPrebuild"
    assert server.requests[0].headers["authorization"] == f"Bearer {TOKEN}"
    assert server.requests[0].headers["connect-protocol-version"] == "1"
