"""Tokens, redirects, proxies, certificates and addresses: what stands between a client and its service."""

from __future__ import annotations

import itertools
import ssl
import traceback
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest

from prebuilds import (
    APIError,
    ConfigurationError,
    ConnectionFailedError,
    PrebuildsError,
    TokenError,
    UnauthenticatedError,
)

from .both import ID, KINDS, LOOPS, TOKEN, call, using
from .scripted import Answer, ScriptedServer, an_error

CERTIFICATE = Path(__file__).parent / "self_signed.pem"
"""For localhost and 127.0.0.1, until 2120."""


def look(client: Any) -> Any:
    return client.prebuilds.retrieve(prebuild_id=ID)


def create(client: Any) -> Any:
    return client.prebuilds.create(project_id=ID, spec={})


def through(kind: str, http: Any, do: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The same work with an HTTP client, which is closed afterwards."""

    def work(client: Any) -> Any:
        with http:
            return do(client)

    async def work_later(client: Any) -> Any:
        async with http:
            return await do(client)

    return work if kind == "sync" else work_later


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


# A token that is asked for


def numbered(kind: str) -> Any:
    """A callable that gives another token each time, asynchronous if the client is."""
    numbers = itertools.count(1)
    if kind == "sync":
        return lambda: f"token-{next(numbers)}"

    async def token() -> str:
        return f"token-{next(numbers)}"

    return token


def tokens(server: ScriptedServer) -> list[str]:
    return [request.headers["authorization"] for request in server.requests]


@pytest.mark.parametrize("kind", LOOPS)
def test_a_token_callable_is_asked_for_each_request(kind):
    with ScriptedServer(Answer(), Answer(503), Answer()) as server:
        using(kind, look, base_url=server.url, bearer_token=numbered(kind))
        assert tokens(server) == ["Bearer token-1"]

        async def twice(client: Any) -> None:
            await look(client)
            await look(client)

        server.requests.clear()
        work = twice if kind != "sync" else lambda client: (look(client), look(client))
        using(kind, work, base_url=server.url, bearer_token=numbered(kind))
        assert tokens(server) == ["Bearer token-1", "Bearer token-2", "Bearer token-3"]


def test_an_asynchronous_client_takes_an_ordinary_callable_too():
    with ScriptedServer() as server:
        using("async", look, base_url=server.url, bearer_token=numbered("sync"))
        assert tokens(server) == ["Bearer token-1"]


@pytest.mark.parametrize("kind", LOOPS)
@pytest.mark.parametrize("do", [look, create])
def test_a_token_that_is_refused_is_asked_for_once_more(kind, do):
    refusal = an_error("unauthenticated", 401, "expired")
    with ScriptedServer(refusal, Answer()) as server:
        using(kind, do, base_url=server.url, bearer_token=numbered(kind))
        assert tokens(server) == ["Bearer token-1", "Bearer token-2"]
    with ScriptedServer(refusal) as server:
        with pytest.raises(UnauthenticatedError, match="the callable bearer_token"):
            using(kind, do, base_url=server.url, bearer_token=numbered(kind))
        assert len(server.requests) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_that_is_given_is_not_tried_again(kind):
    with ScriptedServer(an_error("unauthenticated", 401, "expired")) as server:
        with pytest.raises(UnauthenticatedError):
            call(kind, server.url)
        assert len(server.requests) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (KeyError("vault"), "KeyError.*vault"),
        (httpx.ConnectError("the vault is shut"), "the vault is shut"),
        (TimeoutError("the vault is slow"), "the vault is slow"),
        (None, "NoneType"),
        (b"bytes", "bytes"),
        (5, "int"),
        ("", "empty"),
        ("  ", "empty"),
        ("two words", "characters"),
        ("line\nbreak", "characters"),
        ("tökén", "characters"),
    ],
)
@pytest.mark.parametrize("awaited", [False, True])
def test_a_token_callable_that_fails_or_answers_nonsense_is_a_token_error(kind, answer, said, awaited):
    def token() -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def token_later() -> Any:
        return token()

    if awaited and kind == "sync":
        said = "AsyncPrebuildClient"
    with ScriptedServer() as server:
        with pytest.raises(TokenError, match=said) as caught:
            using(kind, create, base_url=server.url, bearer_token=token_later if awaited else token)
        assert server.requests == []
    if isinstance(answer, Exception) and not (awaited and kind == "sync"):
        assert caught.value.__cause__ is answer
    if isinstance(answer, str) and answer.strip():
        assert answer not in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_that_was_asked_for_is_not_shown(kind):
    def echo(request: Any) -> Answer:
        return an_error("permission_denied", 403, f"bad: {request.headers['authorization']}")

    with ScriptedServer(echo) as server, pytest.raises(APIError) as caught:
        using(kind, look, base_url=server.url, bearer_token=lambda: TOKEN)
    assert "[token]" in str(caught.value)
    assert TOKEN not in str(caught.value) + repr(vars(caught.value))


# Redirects


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("do", [look, create])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_neither_token_nor_body_follow_a_redirect(kind, do, status):
    with ScriptedServer() as elsewhere:
        target = elsewhere.url.replace("127.0.0.1", "localhost")
        with ScriptedServer(Answer(status, b"moved", {"location": f"{target}/gitpod"})) as server:
            with pytest.raises(APIError, match=f"redirects to {target}/gitpod.*right base URL") as caught:
                using(kind, do, base_url=server.url)
            assert len(server.requests) == 1
        assert elsewhere.requests == []
    assert caught.value.status == status
    assert caught.value.maybe_executed is (status not in (307, 308))
    assert not caught.value.retryable


# Proxies


@pytest.mark.parametrize("kind", LOOPS)
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("by", ["environment", "http_client"])
def test_a_proxy_that_wants_credentials_is_told_apart_from_the_service(kind, scheme, by, monkeypatch):
    refusal = Answer(407, b"<html>who are you?</html>", {"proxy-authenticate": "Basic"})
    with ScriptedServer(refusal) as proxy:

        def with_proxy() -> Any:
            if by == "environment":
                monkeypatch.setenv(f"{scheme.upper()}_PROXY", proxy.url)
                return using(kind, create, base_url=f"{scheme}://api.example.com/api")
            http = httpx.Client(proxy=proxy.url) if kind == "sync" else httpx.AsyncClient(proxy=proxy.url)
            work = through(kind, http, create)
            return using(kind, work, base_url=f"{scheme}://api.example.com/api", http_client=http)

        with pytest.raises(PrebuildsError, match="[Pp]roxy.*HTTPS_PROXY.*http_client") as caught:
            with_proxy()
    (request,) = proxy.requests
    assert request.method == ("CONNECT" if scheme == "https" else "POST")
    assert "407" in str(caught.value)
    assert not caught.value.maybe_executed
    assert not caught.value.retryable
    if scheme == "https":
        assert "authorization" not in request.headers
        assert TOKEN not in str(request)


@pytest.mark.parametrize("kind", KINDS)
def test_a_plain_proxy_passes_calls_on(kind, monkeypatch):
    with ScriptedServer() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        using(kind, look, base_url="http://api.example.com/api")
    assert proxy.requests[0].path == "http://api.example.com/api/gitpod.v1.PrebuildService/GetPrebuild"


@pytest.mark.parametrize("kind", KINDS)
def test_a_proxy_that_is_down_for_a_moment_is_asked_again(kind, monkeypatch):
    with ScriptedServer(Answer(503, b""), Answer(403, b"")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with pytest.raises(ConnectionFailedError, match="proxy") as caught:
            using(kind, create, base_url="https://api.example.com/api")
    assert [request.method for request in proxy.requests] == ["CONNECT", "CONNECT"]
    assert not caught.value.maybe_executed


# Certificates


@pytest.fixture
def secure():
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(CERTIFICATE)
    with ScriptedServer(tls=tls) as server:
        yield server


@pytest.mark.parametrize("kind", LOOPS)
@pytest.mark.parametrize("do", [look, create])
def test_a_certificate_that_is_not_trusted_ends_the_call_before_anything_is_sent(kind, do, secure):
    attempts: list[Any] = []
    with pytest.raises(ConnectionFailedError, match=r"not trusted.*ssl.create_default_context") as caught:
        using(kind, do, base_url=secure.url, on_attempt=attempts.append)
    assert len(attempts) == 1
    assert not caught.value.maybe_executed
    assert not caught.value.retryable
    assert secure.requests == []


@pytest.mark.parametrize("kind", LOOPS)
def test_a_certificate_that_the_http_client_trusts_is_fine(kind, secure):
    trusting = ssl.create_default_context(cafile=CERTIFICATE)
    http = httpx.Client(verify=trusting) if kind == "sync" else httpx.AsyncClient(verify=trusting)
    answer = using(kind, through(kind, http, look), base_url=secure.url, http_client=http)
    assert answer.prebuild is not None
    assert tokens(secure) == [f"Bearer {TOKEN}"]


@pytest.mark.parametrize("kind", LOOPS)
def test_tls_spoken_to_a_server_without_it_says_so(kind):
    attempts: list[Any] = []
    with ScriptedServer() as server:
        with pytest.raises(ConnectionFailedError, match="does not speak TLS.*http://") as caught:
            using(kind, create, base_url=server.url.replace("http:", "https:"), on_attempt=attempts.append)
        assert server.requests == []
    assert len(attempts) == 1
    assert not caught.value.maybe_executed


@pytest.mark.parametrize("kind", KINDS)
def test_no_tls_spoken_to_a_server_with_it_is_a_connection_failure_that_says_where(kind, secure):
    url = secure.url.replace("https:", "http:")
    with pytest.raises(ConnectionFailedError, match=url):
        using(kind, look, base_url=url, retries=1)
    assert secure.requests == []


# Addresses


@pytest.mark.parametrize("kind", LOOPS)
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_base_url_may_have_any_host_and_path(kind, host):
    try:
        server = ScriptedServer(host=host)
    except OSError:
        if host == "::1":
            pytest.skip("no IPv6 here")
        raise
    paths = ["", "/", "/api", "/api/", "/a/b//", "/with%20space"]
    with server:
        for path in paths:
            using(kind, look, base_url=server.url + path)
    for path, request in zip(paths, server.requests, strict=True):
        assert request.path == f"{path.rstrip('/')}/gitpod.v1.PrebuildService/GetPrebuild"
        assert request.headers["host"] == f"{'[::1]' if ':' in host else host}:{server.port}"


@pytest.mark.parametrize("kind", LOOPS)
def test_a_host_that_does_not_exist_is_a_connection_failure_that_says_which(kind):
    with pytest.raises(ConnectionFailedError, match="nowhere.invalid") as caught:
        using(kind, create, base_url="https://nowhere.invalid/api", retries=1)
    assert not caught.value.maybe_executed


def test_a_token_error_is_a_configuration_error():
    assert issubclass(TokenError, ConfigurationError)


# What the environment says to httpx


@pytest.mark.parametrize("kind", LOOPS)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALL_PROXY", "socks5://user:hidden-word@127.0.0.1:1"),
        ("https_proxy", "gopher://user:hidden-word@127.0.0.1:1"),
        ("HTTPS_PROXY", "http://user:hidden-word@"),
        ("SSL_CERT_FILE", "/nowhere/certificates.pem"),
    ],
)
def test_an_environment_that_cannot_be_right_is_named(kind, name, value, monkeypatch):
    if name == "ALL_PROXY" and find_spec("socksio"):
        pytest.skip("httpx knows this kind of proxy here")
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=f"check .*{name}") as caught:
        call(kind, "https://api.example.com")
    assert "hidden-word" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("kind", LOOPS)
def test_what_the_environment_says_does_not_concern_an_http_client_that_was_handed_in(kind, monkeypatch):
    http = httpx.Client() if kind == "sync" else httpx.AsyncClient()
    monkeypatch.setenv("ALL_PROXY", "gopher://127.0.0.1:1")
    with ScriptedServer() as server:
        answer = using(kind, through(kind, http, look), base_url=server.url, http_client=http)
    assert answer.prebuild.id
