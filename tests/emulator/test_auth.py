from __future__ import annotations

import subprocess
import sys

import httpx
import pytest

from prebuild_wire import OPERATIONS
from prebuilds.emulator import EmulatorServer, InProcessEmulator, ManualClock, Options, Tokens

from .driver import NOBODY, PROJECT, SERVICE

READS = {name for name, operation in OPERATIONS.items() if operation.idempotency == "no_side_effects"}


@pytest.fixture(scope="module")
def url():
    options = Options(tokens=("first", "second", "grün"), read_only_tokens=("reader",))
    with EmulatorServer(clock=ManualClock(), options=options) as server:
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
    with EmulatorServer(clock=ManualClock(), options=Options(read_only_tokens=("reader",))) as server:
        body = {"projectId": PROJECT, "spec": {}}
        assert post(server.url, "CreatePrebuild", "anything", body) == (200, None)
        assert post(server.url, "CreatePrebuild", "reader", body) == (403, "permission_denied")


def test_a_logs_token_opens_no_method_and_an_API_token_no_log():
    with EmulatorServer(clock=(clock := ManualClock()), options=Options(tokens=("first",))) as server:
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
def test_what_no_header_can_carry_is_no_token(token):
    with pytest.raises(ValueError, match="token") as caught:
        Options(tokens=(token,))
    assert not token.strip() or token not in str(caught.value)


@pytest.mark.parametrize("token", ["", " ", "two words", "ü"])
def test_what_no_header_can_carry_is_no_control_token(token):
    with pytest.raises(ValueError, match="the control token"):
        Options(control_token=token)
    command = [sys.executable, "-m", "prebuilds", "emulator", "--control-token", token]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "the control token has to be" in done.stderr


def test_tokens_count_without_a_socket_as_well():
    options = Options(tokens=("writer",), read_only_tokens=("reader",))
    with InProcessEmulator(options=options) as emulator, httpx.Client(transport=emulator.transport()) as http:

        def status(token: str, method: str) -> int:
            url = f"{emulator.url}{SERVICE}/{method}"
            body = {"projectId": PROJECT, "spec": {}} if method == "CreatePrebuild" else {}
            return http.post(url, json=body, headers={"Authorization": f"Bearer {token}"}).status_code

        given = [
            status(token, method)
            for token in ("writer", "reader", "other")
            for method in ("ListPrebuilds", "CreatePrebuild")
        ]
    assert given == [200, 200, 200, 403, 401, 401]


def test_a_token_cannot_be_of_both_kinds():
    command = [sys.executable, "-m", "prebuilds", "emulator", "--token", "secret", "--read-only-token", "secret"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "read-only" in done.stderr
    assert "secret" not in done.stderr


def test_no_token_is_shown():
    options = Options(tokens=("secret",), read_only_tokens=("hidden",), control_token="private")
    shown = repr(Tokens(["secret"], ["hidden"])) + repr(options) + repr(EmulatorServer(options=options))
    assert not any(token in shown for token in ("secret", "hidden", "private"))
