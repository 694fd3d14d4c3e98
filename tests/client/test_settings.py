from __future__ import annotations

import logging

import httpx
import pytest

from prebuilds import (
    AsyncPrebuildClient,
    ConfigurationError,
    PrebuildClient,
    PrebuildsError,
)
from prebuilds.options import BASE_URL_VARIABLES, TOKEN_VARIABLES

from .both import ID, KINDS, TOKEN, call
from .scripted import Answer, ScriptedServer, an_error

CLIENTS = (PrebuildClient, AsyncPrebuildClient)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    for name in (*TOKEN_VARIABLES, *BASE_URL_VARIABLES):
        monkeypatch.delenv(name, raising=False)


def test_the_order_of_the_token_variables_is_documented():
    assert TOKEN_VARIABLES == ("GITPOD_API_KEY", "ONA_API_KEY", "ONA_TOKEN")
    positions = [(PrebuildClient.__doc__ or "").index(name) for name in TOKEN_VARIABLES]
    assert positions == sorted(positions)


@pytest.mark.parametrize("client", CLIENTS)
def test_the_first_token_variable_that_is_not_empty_counts(monkeypatch, client):
    monkeypatch.setenv("ONA_TOKEN", "third")
    assert client()._executor.options.token == "third"
    monkeypatch.setenv("ONA_API_KEY", "second")
    assert client()._executor.options.token == "second"
    monkeypatch.setenv("GITPOD_API_KEY", "")
    assert client()._executor.options.token == "second"
    monkeypatch.setenv("GITPOD_API_KEY", "first\n")
    assert client()._executor.options.token == "first"
    assert client("argument")._executor.options.token == "argument"
    assert client(bearer_token="argument")._executor.options.token == "argument"


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("token", [None, "", "  "])
def test_a_missing_token_names_every_variable(client, token):
    with pytest.raises(ConfigurationError) as caught:
        client(token)
    assert isinstance(caught.value, PrebuildsError)
    for name in ("bearer_token", *TOKEN_VARIABLES):
        assert name in str(caught.value)


def test_a_token_with_impossible_characters_is_refused_without_being_shown(monkeypatch):
    monkeypatch.setenv("ONA_API_KEY", "sec\nret")
    with pytest.raises(ConfigurationError, match=r"\$ONA_API_KEY") as caught:
        PrebuildClient()
    assert "ret" not in str(caught.value)


def test_the_base_url_comes_from_the_argument_the_environment_or_the_default(monkeypatch):
    assert PrebuildClient(TOKEN).base_url == "https://app.gitpod.io/api"
    monkeypatch.setenv("ONA_BASE_URL", "https://second.example")
    assert PrebuildClient(TOKEN).base_url == "https://second.example"
    monkeypatch.setenv("GITPOD_BASE_URL", "https://first.example/api/")
    assert PrebuildClient(TOKEN).base_url == "https://first.example/api"
    assert PrebuildClient(TOKEN, base_url="http://x").base_url == "http://x"


@pytest.mark.parametrize(
    "url",
    [
        "app.gitpod.io/api",
        "ftp://host/api",
        "https://",
        "/api",
        "https://user:pass@host/api",
        "https://host/api?x=1",
        "http://[::1/api",
        "http://host:port/",
        "http://host:99999/",
        "http://two words/",
        "http://host..example/",
        f"http://{64 * 'a'}.example/",
    ],
)
def test_a_base_url_that_is_none_is_refused(url, monkeypatch):
    with pytest.raises(ConfigurationError, match="argument base_url"):
        PrebuildClient(TOKEN, base_url=url)
    monkeypatch.setenv("GITPOD_BASE_URL", url)
    with pytest.raises(ConfigurationError, match=r"\$GITPOD_BASE_URL"):
        PrebuildClient(TOKEN)


@pytest.mark.parametrize("options", [{"timeout": 0}, {"timeout": -1.0}, {"retries": -1}])
def test_impossible_patience_is_a_value_error(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        PrebuildClient(TOKEN, **options)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("bearer_token", b"secret-bytes"),
        ("bearer_token", ["secret-bytes"]),
        ("base_url", 8080),
        ("timeout", "5"),
        ("timeout", httpx.Timeout(5)),
        ("retries", 1.5),
        ("retries", None),
        ("headers", [("X-Secret", "secret-bytes")]),
        ("headers", {"X-Secret": b"secret-bytes"}),
        ("headers", {"X-Number": 5}),
        ("on_attempt", 5),
        ("http_client", 5),
        ("transport", 5),
    ],
)
def test_a_value_of_another_kind_is_a_type_error_that_names_the_option(client, option, value):
    with pytest.raises(TypeError, match=f"^{option}: expected") as caught:
        client(**{"bearer_token": TOKEN, option: value})
    assert "secret-bytes" not in str(caught.value)


def test_what_is_for_the_other_kind_of_client_is_refused():
    for http_client in (httpx.AsyncClient(), httpx.Client):
        with pytest.raises(TypeError, match=r"http_client: expected an httpx\.Client"):
            PrebuildClient(TOKEN, http_client=http_client)
    with pytest.raises(TypeError, match=r"http_client: expected an httpx\.AsyncClient"):
        AsyncPrebuildClient(TOKEN, http_client=httpx.Client())
    with pytest.raises(TypeError, match="handle_request"):
        PrebuildClient(TOKEN, transport=httpx.AsyncHTTPTransport())
    with pytest.raises(TypeError, match="handle_async_request"):
        AsyncPrebuildClient(TOKEN, transport=httpx.HTTPTransport())


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Team": "Zoë"},
        {"X-Team": "a\nX-Other: b"},
        {"X Team": "a"},
        {"": "a"},
        {"Content-Length": "3"},
        {"transfer-encoding": "chunked"},
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_headers_that_cannot_be_sent_are_refused_before_anything_is(kind, headers):
    with pytest.raises(ValueError, match="^headers: "):
        PrebuildClient(TOKEN, headers=headers)
    with pytest.raises(ValueError, match="^headers: "):
        PrebuildClient(TOKEN).with_options(headers=headers)
    with ScriptedServer() as server:
        for wrong in ({"headers": headers}, {"on_attempt": 5}):
            with pytest.raises((TypeError, ValueError), match=next(iter(wrong))):
                call(kind, server.url, "create", project_id=ID, **wrong)
        assert server.requests == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("timeout", "told"), [(1e10, "9999999999"), (1e300, "9999999999"), (float("inf"), None), (None, None)]
)
def test_more_time_than_can_be_told_is_no_failure(kind, timeout, told):
    with ScriptedServer() as server:
        assert call(kind, server.url, prebuild_id=ID, timeout=timeout).prebuild.id
        assert server.requests[0].headers.get("connect-timeout-ms") == told


def test_the_token_is_never_shown(caplog):
    echo = f"you sent {TOKEN}"
    with (
        caplog.at_level(logging.DEBUG),
        ScriptedServer(Answer(), an_error("permission_denied", 403, echo)) as server,
        PrebuildClient(TOKEN, base_url=server.url) as client,
    ):
        client.prebuilds.retrieve(prebuild_id=ID)
        with pytest.raises(PrebuildsError) as caught:
            client.prebuilds.cancel(prebuild_id=ID)
        shown = [
            repr(client),
            str(client),
            repr(client._executor),
            repr(client.get_httpx_client()),
            repr(client.get_httpx_client().headers),
            repr(client.prebuilds),
            repr(caught.value),
            repr(caught.value.__dict__),
            caplog.text,
        ]
    assert server.requests[0].headers["authorization"] == f"Bearer {TOKEN}"
    assert caplog.text
    for text in shown:
        assert TOKEN not in text


@pytest.mark.parametrize("client", CLIENTS)
def test_nothing_is_opened_before_the_first_call(client, monkeypatch):
    monkeypatch.setattr(httpx, "Client", None)
    monkeypatch.setattr(httpx, "AsyncClient", None)
    client(TOKEN)
