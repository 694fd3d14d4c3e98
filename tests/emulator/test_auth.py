from __future__ import annotations

import httpx
import pytest

from prebuild_wire import OPERATIONS
from prebuilds.emulator import EmulatorServer, ManualClock, Tokens
from prebuilds.emulator.server import run

from .driver import NOBODY, PROJECT, SERVICE

READS = {name for name, operation in OPERATIONS.items() if operation.idempotency == "no_side_effects"}


@pytest.fixture(scope="module")
def url():
    tokens = {"tokens": ["first", "second", "grün"], "read_only_tokens": ["reader"]}
    with EmulatorServer(clock=ManualClock(), **tokens) as server:
        yield server.url


def post(url, method, token, body=None):
    headers = {"Authorization": f"Bearer {token}".encode()}
    response = httpx.post(f"{url}{SERVICE}/{method}", json=body or {}, headers=headers)
    return response.status_code, response.json().get("code")


@pytest.mark.parametrize("token", ["first", "second", "grün"])
def test_the_given_tokens_open_everything(url, token):
    assert post(url, "ListPrebuilds", token) == (200, None)
    assert post(url, "CreatePrebuild", token, {"projectId": PROJECT, "spec": {}}) == (200, None)


@pytest.mark.parametrize("token", ["third", "firs", "firstt", "First", "gr\u00fc", "first,second"])
@pytest.mark.parametrize("method", [*OPERATIONS])
def test_any_other_token_is_unauthenticated(url, token, method):
    assert post(url, method, token) == (401, "unauthenticated")


@pytest.mark.parametrize("method", [*OPERATIONS])
def test_a_read_only_token_reads_and_is_denied_the_rest(url, method):
    ids = {"prebuildId": NOBODY, "warmPoolId": NOBODY}
    status, code = post(url, method, "reader", ids)
    assert (status, code) == ((403, "permission_denied") if method not in READS else (status, code))
    assert (code in (None, "not_found")) == (method in READS)


def test_a_GET_takes_the_same_tokens(url):
    def get(token):
        query = "encoding=json&message={}"
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.get(f"{url}{SERVICE}/ListPrebuilds?{query}", headers=headers).status_code

    assert [get("first"), get("reader"), get("third"), get("")] == [200, 200, 401, 401]


def test_with_read_only_tokens_alone_any_other_token_writes():
    with EmulatorServer(clock=ManualClock(), read_only_tokens=["reader"]) as server:
        body = {"projectId": PROJECT, "spec": {}}
        assert post(server.url, "CreatePrebuild", "anything", body) == (200, None)
        assert post(server.url, "CreatePrebuild", "reader", body) == (403, "permission_denied")


def test_a_logs_token_opens_no_method_and_an_API_token_no_log():
    with EmulatorServer(clock=(clock := ManualClock()), tokens=["first"]) as server:
        http = httpx.Client(base_url=server.url, headers={"Authorization": "Bearer first"})
        created = http.post(f"{SERVICE}/CreatePrebuild", json={"projectId": PROJECT, "spec": {}}).json()["prebuild"]
        clock.advance(1000)
        body = {"prebuildId": created["id"]}
        logs_token = http.post(f"{SERVICE}/CreatePrebuildLogsToken", json=body).json()["accessToken"]
        assert post(server.url, "ListPrebuilds", logs_token) == (401, "unauthenticated")
        log = f"/logs/{created['id']}"
        assert http.get(log).status_code == 401
        assert http.get(log, headers={"Authorization": ""}).status_code == 401
        assert http.get(log, headers={"Authorization": f"Bearer {logs_token}"}).status_code == 200
        http.close()


@pytest.mark.parametrize("token", ["", " ", "two words", "line\n", "nul\x00"])
def test_what_no_header_can_carry_is_no_token(token, capsys):
    with pytest.raises(ValueError, match="token") as caught:
        EmulatorServer(tokens=[token])
    assert run(tokens=[token]) == 1
    for said in (str(caught.value), capsys.readouterr().err):
        assert not token.strip() or token not in said


def test_a_token_cannot_be_of_both_kinds(capsys):
    with pytest.raises(ValueError, match="read-only") as caught:
        EmulatorServer(tokens=["secret"], read_only_tokens=["secret"])
    assert "secret" not in str(caught.value)
    assert run(tokens=["secret"], read_only_tokens=["secret"]) == 1
    assert "secret" not in capsys.readouterr().err


def test_no_token_is_shown():
    tokens = Tokens(["secret"], ["hidden"])
    server = EmulatorServer(tokens=["secret"], read_only_tokens=["hidden"])
    assert "secret" not in repr(tokens) + str(tokens) + repr(server)
    assert "hidden" not in repr(tokens) + str(tokens) + repr(server)
