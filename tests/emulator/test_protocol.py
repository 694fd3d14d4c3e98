from __future__ import annotations

import asyncio
import logging
import socket
import time
from urllib.parse import urlsplit

import httpx
import pytest

from prebuild_wire import OPERATIONS
from prebuilds.emulator import EmulatorServer, ManualClock, PrebuildService, Store, create_app
from prebuilds.emulator.service import METHODS

from .driver import ENVIRONMENT_CLASS, NO_CERTIFICATES, NOBODY, PROJECT, SERVICE, Driver

BODY_LIMIT = 4 * 1024 * 1024


def raw(emulator, body, method="CreatePrebuild", **headers):
    return emulator.http.post(
        f"{SERVICE}/{method}", content=body, headers={"Content-Type": "application/json", **headers}
    )


def code(response):
    return response.status_code, response.json()["code"]


# -- Addresses and methods


@pytest.mark.parametrize("prefix", ["", "/api"])
def test_the_service_stands_under_both_prefixes(emulator, prefix):
    response = emulator.http.post(f"{prefix}{SERVICE}/ListPrebuilds", json={})
    assert (response.status_code, response.json()) == (200, {})


UNKNOWN_PATHS = [
    f"{SERVICE}/Unknown",
    f"{SERVICE}/answer",
    f"{SERVICE}/get_prebuild",
    f"{SERVICE}/GetPrebuild/",
    f"{SERVICE}/",
    f"/logs/{NOBODY}/",
    "/logs",
    "/gitpod.v1.ProjectService/GetProject",
    "/other/gitpod.v1.PrebuildService/GetPrebuild",
    "/%00",
]


def test_an_unknown_path_is_unimplemented(emulator):
    for path in UNKNOWN_PATHS:
        for verb in ("POST", "GET"):
            assert code(emulator.http.request(verb, path)) == (404, "unimplemented"), (verb, path)


@pytest.mark.parametrize("verb", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"])
def test_methods_take_POST_and_those_that_only_read_take_GET(emulator, verb):
    for method, operation in OPERATIONS.items():
        reads = operation.idempotency == "no_side_effects"
        if reads and verb == "GET":
            continue
        response = emulator.http.request(verb, f"{SERVICE}/{method}")
        assert response.status_code == 405, method
        assert response.headers["allow"] == ("GET, POST" if reads else "POST"), method
        if verb != "HEAD":
            assert response.json()["code"] == "unknown", method


def test_a_method_that_the_schema_has_and_the_emulator_has_not_is_unimplemented(emulator, monkeypatch):
    monkeypatch.delitem(METHODS, "CancelPrebuild")
    assert code(emulator.post("CancelPrebuild", {"prebuildId": NOBODY})) == (501, "unimplemented")
    assert code(emulator.post("CancelPrebuild", {})) == (400, "invalid_argument")


# -- Credentials


@pytest.mark.parametrize("value", [None, "", "Bearer", "Basic c29tZWJvZHk=", "somebody", "Bearersomebody"])
def test_without_a_bearer_token_nothing_is_answered(emulator, value):
    del emulator.http.headers["Authorization"]
    if value is not None:
        emulator.http.headers["Authorization"] = value
    for method in OPERATIONS:
        response = emulator.post(method, {})
        assert code(response) == (401, "unauthenticated"), method
        assert response.headers["www-authenticate"] == "Bearer", method


def test_any_token_will_do_and_the_scheme_may_be_written_in_any_case(emulator):
    for value in ("Bearer x", "bearer  x", b"BEARER \xe4"):
        assert emulator.post("ListPrebuilds", {}, headers={"Authorization": value}).status_code == 200, value


# -- Bodies


def test_other_content_types_are_refused(emulator):
    near = ("application/jsonp", "json", "application/json; charset=latin-1")
    for content_type in ("", "text/plain", "application/xml", ";", *near):
        response = emulator.http.post(f"{SERVICE}/ListPrebuilds", content=b"{}", headers={"Content-Type": content_type})
        assert code(response) == (415, "unknown"), content_type
        assert response.headers["accept-post"] == "application/json, application/proto", content_type


def test_a_body_without_a_content_type_is_refused(emulator):
    assert code(emulator.http.post(f"{SERVICE}/ListPrebuilds", content=b"{}")) == (415, "unknown")


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "Application/JSON", "application/json; charset=utf-8", 'application/json;charset="UTF-8"'],
)
def test_json_is_taken_however_its_type_is_written(emulator, content_type):
    response = emulator.http.post(f"{SERVICE}/ListPrebuilds", content=b"{}", headers={"Content-Type": content_type})
    assert response.status_code == 200


VALID = f'{{"projectId": "{PROJECT}", "spec": {{}}'


MALFORMED = [
    "",
    " ",
    "{",
    "null",
    "[]",
    "3",
    '"text"',
    "{}{}",
    "\ufeff{}",
    "{'projectId': 1}",
    VALID + ', "extra": NaN}',
    VALID + ', "extra": -Infinity}',
    VALID + ', "extra": 1e999}',
    VALID + f', "extra": {"1" * 5000}}}',
    VALID + ', "extra": {"a": 1, "a": 1}}',
    VALID + ', "spec": {}}',
    VALID + f', "project_id": "{PROJECT}"}}',
    VALID + ', "project_id": null}',
    VALID + r', "extra": ["\ud800"]}',
    VALID + r', "\udc00": 1}',
    VALID + ', "extra": "\x00"}',
    VALID + ', "extra": ' + "[" * 100_000 + "]" * 100_000 + "}",
    '{"a":' * 100_000,
]


def test_a_malformed_body_is_an_invalid_argument(emulator):
    for body in MALFORMED:
        assert code(raw(emulator, body.encode())) == (400, "invalid_argument"), body[:100]
        assert emulator.call("ListPrebuilds") == {}


def test_there_is_no_depth_at_which_a_body_is_read_but_cannot_be_checked(emulator):
    for depth in range(850, 1000):
        nested = "[" * depth + r'"\ud83d\ude00"' + "]" * depth
        assert raw(emulator, f'{{"extra": {nested}}}'.encode(), "ListPrebuilds").status_code in (200, 400)


@pytest.mark.parametrize("body", [b"\xff\xfe{}", b'{"a": "\xed\xa0\x80"}', "{}".encode("utf-16")])
def test_a_body_that_is_no_UTF_8_is_an_invalid_argument(emulator, body):
    assert code(raw(emulator, body)) == (400, "invalid_argument")


@pytest.mark.parametrize(
    "extra",
    [r', "extra": "\ud83d\ude00"}', r', "extra": "\\ud800"}', ', "extra": [1, {"a": null}], "other": 1.5e3}', "}"],
)
def test_unknown_fields_are_ignored(emulator, extra):
    assert raw(emulator, (VALID + extra).encode()).status_code == 200


def test_the_other_forms_of_protobuf_json_are_taken(emulator):
    body = {
        "project_id": PROJECT,
        "environment_class_id": None,
        "spec": {"desired_phase": 10, "spec_version": 7, "timeout": "300.5s"},
    }
    created = emulator.call("CreatePrebuild", **body)["prebuild"]
    assert created["spec"]["timeout"] == "300.500s"
    pool = {"project_id": PROJECT, "environment_class_id": ENVIRONMENT_CLASS, "min_size": "0", "max_size": 3.0}
    assert emulator.call("CreateWarmPool", **pool)["warmPool"]["spec"]["maxSize"] == 3


def test_every_violation_is_told_by_the_protobuf_name_of_its_field(emulator):
    response = emulator.post("CreatePrebuild", {"projectId": "mine", "spec": {"timeout": "1s"}})
    assert code(response) == (400, "invalid_argument")
    assert "project_id: value must be a valid UUID" in response.json()["message"]
    assert "spec.timeout: value must be at least 300s" in response.json()["message"]

    response = emulator.post("ListPrebuilds", {"filter": {"projectIds": [PROJECT, "mine"]}, "pagination": []})
    assert "filter.project_ids[1]: value must be a valid UUID" in response.json()["message"]
    assert "pagination: value must be an object" in response.json()["message"]


@pytest.mark.parametrize("value", [0, 1.5, True, [], {}, "x", "\x00"])
def test_a_field_of_the_wrong_type_is_an_invalid_argument(emulator, value):
    fields = [(method, *field) for method in OPERATIONS for field in OPERATIONS[method].request.model_fields.items()]
    for method, name, field in fields:
        if value in ({}, 0, True, 1.5) and name in ("spec", "filter", "pagination", "desired_size"):
            continue  # an empty message, and the sizes, which have tests of their own
        if name.endswith("_size") and value in (0, True):
            continue
        response = emulator.post(method, {field.alias or name: value})
        assert code(response) == (400, "invalid_argument"), (method, name)


def test_what_is_required_has_to_be_there(emulator):
    for method in sorted({*OPERATIONS} - {"ListPrebuilds", "ListWarmPools"}):
        for body in ({}, dict.fromkeys(("projectId", "prebuildId", "warmPoolId", "environmentClassId", "spec"))):
            assert code(emulator.post(method, body)) == (400, "invalid_argument"), (method, body)


def test_a_body_may_be_as_large_as_the_limit_and_no_larger(emulator):
    body = b"{}".ljust(BODY_LIMIT)
    assert raw(emulator, body, "ListPrebuilds").status_code == 200
    assert code(raw(emulator, body + b" ", "ListPrebuilds")) == (413, "resource_exhausted")


def test_a_body_that_announces_too_much_is_not_read_at_all(emulator):
    address = urlsplit(emulator.url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(
            f"POST {SERVICE}/ListPrebuilds HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\n"
            f"Content-Type: application/json\r\nContent-Length: {BODY_LIMIT + 1}\r\n\r\n".encode()
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_a_body_of_unknown_length_is_not_read_beyond_the_limit(emulator):
    def endless():
        yield b"{"
        for _ in range(4 * BODY_LIMIT // 65536):
            yield b" " * 65536
        raise AssertionError("the server takes it all")

    # The server closes the connection on a client that goes on sending, which may be all that it notices.
    try:
        response = raw(emulator, endless(), "ListPrebuilds")
    except httpx.WriteError:
        return
    assert code(response) == (413, "resource_exhausted")


# -- Headers


def test_a_malformed_timeout_is_an_invalid_argument(emulator):
    for value in ("", "x", "-1", "1.5", "12345678901", "1s", "\u0663".encode()):
        response = raw(emulator, b"{}", "ListPrebuilds", **{"Connect-Timeout-Ms": value})
        assert code(response) == (400, "invalid_argument"), value


def test_a_timeout_of_ten_digits_is_taken(emulator):
    assert raw(emulator, b"{}", "ListPrebuilds", **{"Connect-Timeout-Ms": "9999999999"}).status_code == 200


def test_a_call_whose_time_is_over_does_nothing(emulator):
    body = {"projectId": PROJECT, "environmentClassId": ENVIRONMENT_CLASS, "spec": {}, "prebuildId": NOBODY}
    for method in OPERATIONS:
        response = emulator.post(method, {**body, "warmPoolId": NOBODY}, headers={"Connect-Timeout-Ms": "0"})
        assert code(response) == (504, "deadline_exceeded"), method
        assert code(raw(emulator, b"{", method, **{"Connect-Timeout-Ms": "0"})) == (504, "deadline_exceeded"), method
    assert emulator.call("ListPrebuilds") == {}
    assert emulator.call("ListWarmPools") == {}


def test_a_body_that_trickles_in_beyond_the_deadline_is_not_waited_for(emulator):
    address = urlsplit(emulator.url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(
            f"POST {SERVICE}/ListPrebuilds HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\n"
            "Connect-Timeout-Ms: 50\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{".encode()
        )
        with connection.makefile("rb") as answer:
            text = answer.read().decode()  # the connection is closed behind it
    assert text.startswith("HTTP/1.1 504 ")
    assert '"deadline_exceeded"' in text


def test_the_work_counts_for_the_deadline_too(emulator, monkeypatch):
    answer = PrebuildService.answer

    def slow(*arguments):
        until = time.monotonic() + 0.02
        while time.monotonic() < until:
            pass
        return answer(*arguments)

    monkeypatch.setattr(PrebuildService, "answer", slow)
    assert code(raw(emulator, b"{}", "ListPrebuilds", **{"Connect-Timeout-Ms": "10"})) == (504, "deadline_exceeded")
    assert raw(emulator, b"{}", "ListPrebuilds", **{"Connect-Timeout-Ms": "10000"}).status_code == 200


@pytest.mark.parametrize(
    "header", ["X-Long: " + "x" * 2_000_000, "\r\n".join(f"X-{i}: {i}" for i in range(200_000)), "X: \0"]
)
def test_headers_beyond_measure_are_refused(emulator, header):
    address = urlsplit(emulator.url)
    request = f"POST {SERVICE}/ListPrebuilds HTTP/1.1\r\nHost: localhost\r\n{header}\r\n"
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        try:
            connection.sendall(f"{request}Content-Length: 2\r\n\r\n{{}}".encode())
            status = connection.recv(12)
        except ConnectionError:
            status = b""  # closed on a client that goes on sending
    assert status in (b"HTTP/1.1 400", b"HTTP/1.1 431", b"")
    assert emulator.call("ListPrebuilds") == {}


def test_the_protocol_version_may_be_left_out_but_not_be_another(emulator):
    assert raw(emulator, b"{}", "ListPrebuilds", **{"Connect-Protocol-Version": "1"}).status_code == 200
    assert code(raw(emulator, b"{}", "ListPrebuilds", **{"Connect-Protocol-Version": "2"})) == (400, "invalid_argument")


# -- Answers


def test_an_error_is_JSON_with_code_and_message(emulator):
    response = emulator.post("GetPrebuild", {"prebuildId": NOBODY})
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {"code": "not_found", "message": f"there is no prebuild {NOBODY}"}


def test_the_log_address_is_the_one_that_the_caller_used(start):
    emulator: Driver = start(allowed_hosts=("gateway.example",))
    prebuild_id = emulator.create()
    emulator.clock.advance(100)

    def log_url(prefix="", **headers):
        response = emulator.http.post(
            f"{prefix}{SERVICE}/GetPrebuild", json={"prebuildId": prebuild_id}, headers=headers
        )
        return response.json()["prebuild"]["status"]["logUrl"]

    assert log_url() == f"{emulator.url}/logs/{prebuild_id}"
    assert log_url("/api") == f"{emulator.url}/api/logs/{prebuild_id}"
    assert log_url("/api", Host="gateway.example:8443") == f"http://gateway.example:8443/api/logs/{prebuild_id}"
    assert log_url(Host="[::1]:80") == f"http://[::1]:80/logs/{prebuild_id}"


def test_an_unexpected_failure_is_internal_without_a_word_about_it(emulator, monkeypatch, caplog):
    def fail(*arguments):
        raise RuntimeError("a secret")

    monkeypatch.setattr(Store, "transaction", fail)
    with caplog.at_level(logging.ERROR, "prebuilds.emulator"):
        response = emulator.post("ListPrebuilds", {})
    assert code(response) == (500, "internal")
    assert "secret" not in response.text
    assert "a secret" in caplog.text


def test_a_caller_that_goes_away_does_no_harm(emulator, caplog):
    address = urlsplit(emulator.url)
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(
            f"POST {SERVICE}/ListPrebuilds HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\n"
            "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{".encode()
        )
    assert emulator.call("ListPrebuilds") == {}
    assert not caplog.records


def test_the_application_works_on_any_ASGI_server_with_its_own_limit():
    store = Store()
    app = create_app(PrebuildService(store, ManualClock()), body_limit=10)
    headers = {"Authorization": "Bearer x", "Content-Type": "application/json"}

    async def post(body):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://local") as client:
            return await client.post(f"{SERVICE}/ListPrebuilds", content=body, headers=headers)

    within, beyond = asyncio.run(post(b"{}".ljust(10))), asyncio.run(post(b"{}".ljust(11)))
    store.close()
    assert (within.status_code, within.json()) == (200, {})
    assert code(beyond) == (413, "resource_exhausted")


def test_real_time_is_sped_up():
    headers = {"Authorization": "Bearer x"}
    with EmulatorServer(speed=100_000) as server, httpx.Client(headers=headers, verify=NO_CERTIFICATES) as http:

        def phase():
            body = {"prebuildId": prebuild_id}
            return http.post(f"{server.url}{SERVICE}/GetPrebuild", json=body).json()["prebuild"]["status"]["phase"]

        created = http.post(f"{server.url}{SERVICE}/CreatePrebuild", json={"projectId": PROJECT, "spec": {}})
        prebuild_id = created.json()["prebuild"]["id"]
        while phase() != "PREBUILD_PHASE_COMPLETED":
            pass
