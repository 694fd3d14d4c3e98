from __future__ import annotations

import httpx
import pytest

from prebuild_wire import OPERATIONS
from prebuilds.cli import main
from prebuilds.emulator import EmulatorServer, InProcessEmulator, ManualClock, Options, Tokens

from .driver import NO_CERTIFICATES, NOBODY, PROJECT, SERVICE
from .program import exit_code

READS = {name for name, operation in OPERATIONS.items() if operation.idempotency == "no_side_effects"}


def connect(server):
    return httpx.Client(base_url=server.url, verify=NO_CERTIFICATES)


@pytest.fixture(scope="module")
def http():
    """A client of an emulator that nothing here changes but by making prebuilds."""
    options = Options(tokens=("first", "second", "grün"), read_only_tokens=("reader",))
    with EmulatorServer(clock=ManualClock(), options=options) as server, connect(server) as http:
        yield http


def post(http, method, token, body=None):
    headers = {"Authorization": f"Bearer {token}".encode()}
    response = http.post(f"{SERVICE}/{method}", json=body or {}, headers=headers)
    return response.status_code, response.json().get("code")


@pytest.mark.parametrize("token", ["first", "second", "grün"])
def test_the_given_tokens_open_everything(http, token):
    assert post(http, "ListPrebuilds", token) == (200, None)
    assert post(http, "CreatePrebuild", token, {"projectId": PROJECT, "spec": {}}) == (200, None)


@pytest.mark.parametrize("token", ["third", "firs", "firstt", "First", "gr\u00fc", "first,second"])
def test_any_other_token_is_unauthenticated(http, token):
    for method in OPERATIONS:
        assert post(http, method, token) == (401, "unauthenticated"), method


def test_a_read_only_token_reads_and_is_denied_the_rest(http):
    for method in OPERATIONS:
        status, code = post(http, method, "reader", {"prebuildId": NOBODY, "warmPoolId": NOBODY})
        if method in READS:
            assert code in (None, "not_found"), method
        else:
            assert (status, code) == (403, "permission_denied"), method


def test_a_GET_takes_the_same_tokens(http):
    def get(token):
        query = "encoding=json&message={}"
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return http.get(f"{SERVICE}/ListPrebuilds?{query}", headers=headers).status_code

    assert [get("first"), get("reader"), get("third"), get("")] == [200, 200, 401, 401]


def test_with_read_only_tokens_alone_any_other_token_writes():
    options = Options(read_only_tokens=("reader",))
    with EmulatorServer(clock=ManualClock(), options=options) as server, connect(server) as http:
        body = {"projectId": PROJECT, "spec": {}}
        assert post(http, "CreatePrebuild", "anything", body) == (200, None)
        assert post(http, "CreatePrebuild", "reader", body) == (403, "permission_denied")


def test_a_logs_token_opens_no_method_and_an_API_token_no_log():
    clock, options = ManualClock(), Options(tokens=("first",))
    with EmulatorServer(clock=clock, options=options) as server, connect(server) as http:
        http.headers["Authorization"] = "Bearer first"
        created = http.post(f"{SERVICE}/CreatePrebuild", json={"projectId": PROJECT, "spec": {}}).json()["prebuild"]
        clock.advance(1000)
        body = {"prebuildId": created["id"]}
        logs_token = http.post(f"{SERVICE}/CreatePrebuildLogsToken", json=body).json()["accessToken"]
        assert post(http, "ListPrebuilds", logs_token) == (401, "unauthenticated")
        log = f"/logs/{created['id']}"
        assert http.get(log).status_code == 401
        assert http.get(log, headers={"Authorization": ""}).status_code == 401
        assert http.get(log, headers={"Authorization": f"Bearer {logs_token}"}).status_code == 200


@pytest.mark.parametrize("token", ["", " ", "two words", "line\n", "nul\x00"])
def test_what_no_header_can_carry_is_no_token(token):
    with pytest.raises(ValueError, match="token") as caught:
        Options(tokens=(token,))
    assert not token.strip() or token not in str(caught.value)


@pytest.mark.parametrize("token", ["", " ", "two words", "ü"])
def test_what_no_header_can_carry_is_no_control_token(token, capsys):
    with pytest.raises(ValueError, match="the control token"):
        Options(control_token=token)
    assert exit_code(lambda: main(["emulator", "--control-token", token])) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "the control token has to be" in captured.err


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


def test_a_token_cannot_be_of_both_kinds(capsys):
    assert exit_code(lambda: main(["emulator", "--token", "secret", "--read-only-token", "secret"])) == 2
    told = capsys.readouterr().err
    assert "read-only" in told
    assert "secret" not in told


def test_no_token_is_shown():
    options = Options(tokens=("secret",), read_only_tokens=("hidden",), control_token="private")
    shown = repr(Tokens(["secret"], ["hidden"])) + repr(options) + repr(EmulatorServer(options=options))
    assert not any(token in shown for token in ("secret", "hidden", "private"))
