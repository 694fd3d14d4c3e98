"""Planned faults, as a client meets them on a socket."""

from __future__ import annotations

import base64
import json
import time

import httpx
import pytest
from google.protobuf.duration_pb2 import Duration

from prebuilds.emulator import (
    ControlError,
    DropFault,
    ErrorFault,
    HtmlFault,
    LatencyFault,
    RepeatTokenFault,
    SlowFault,
    StatusFault,
    TruncateFault,
)

from .driver import PROJECT, Driver

CREATE = {"projectId": PROJECT, "spec": {}}


def count(emulator: Driver) -> int:
    return len(emulator.prebuilds())


@pytest.mark.parametrize(("when", "made"), [("before", 0), ("after", 1)])
@pytest.mark.parametrize(
    ("fault", "status", "content_type"),
    [
        (StatusFault(status=503, body="try later", headers={"X-Proxy": "p"}), 503, "text/plain"),
        (HtmlFault(status=504), 504, "text/html"),
        (ErrorFault(code="unavailable"), 503, "application/json"),
    ],
)
def test_a_call_is_answered_in_place_of_the_service(emulator: Driver, fault, status, content_type, when, made):
    emulator.control.plan_fault(fault.model_copy(update={"when": when, "method": "CreatePrebuild"}))
    assert count(emulator) == 0
    response = emulator.post("CreatePrebuild", CREATE)
    assert response.status_code == status
    assert response.headers["content-type"].startswith(content_type)
    assert count(emulator) == made
    emulator.create()


def test_the_parts_of_an_answer_are_as_planned(emulator: Driver):
    emulator.control.plan_fault(StatusFault(status=418, body="tea", headers={"X-Proxy": "p"}))
    response = emulator.post("ListPrebuilds", {})
    assert (response.text, response.headers["x-proxy"]) == ("tea", "p")
    emulator.control.plan_fault(HtmlFault())
    assert emulator.post("ListPrebuilds", {}).text.startswith("<!doctype html>")


def test_an_error_says_when_to_come_back(emulator: Driver):
    for hint, header in (("rate_limit", "RateLimit-RetryAfter"), ("retry_after", "Retry-After")):
        emulator.control.plan_fault(ErrorFault(code="resource_exhausted", retry_after=7, hint=hint))
        response = emulator.post("ListPrebuilds", {})
        assert (response.status_code, response.headers[header]) == (429, "7")
        assert response.json() == {"code": "resource_exhausted", "message": "planned fault"}
    emulator.control.plan_fault(ErrorFault(code="resource_exhausted", message="slowly", retry_after=1.5))
    body = emulator.post("ListPrebuilds", {}).json()
    assert (body["code"], body["message"]) == ("resource_exhausted", "slowly")
    (detail,) = body["details"]
    assert detail["type"] == "google.rpc.RetryInfo"
    value = base64.b64decode(detail["value"] + "=" * (-len(detail["value"]) % 4))
    assert value[:2] == bytes([0x0A, len(value) - 2])  # field 1, a message
    assert Duration.FromString(value[2:]).ToMilliseconds() == 1500


@pytest.mark.parametrize(("when", "made"), [("before", 0), ("after", 1)])
def test_a_connection_is_dropped(emulator: Driver, when, made):
    emulator.control.plan_fault(DropFault(when=when))
    with pytest.raises(httpx.TransportError):
        emulator.post("CreatePrebuild", CREATE)
    assert count(emulator) == made


@pytest.mark.parametrize("keep", [None, 0, 1, 10_000])
@pytest.mark.parametrize(("method", "body"), [("CreatePrebuild", CREATE), ("ListPrebuilds", {})])
def test_a_body_is_cut_off(emulator: Driver, keep, method, body):
    emulator.control.plan_fault(TruncateFault(keep=keep))
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message body"):
        emulator.post(method, body)
    assert count(emulator) == (method == "CreatePrebuild")


def test_a_body_trickles(emulator: Driver):
    usual = emulator.post("ListPrebuilds", {}).text
    emulator.control.plan_fault(SlowFault(chunks=4, pause=0.02))
    begin = time.monotonic()
    response = emulator.post("ListPrebuilds", {})
    assert time.monotonic() - begin >= 0.04  # two characters, in a part each
    assert (response.status_code, response.text) == (200, usual)
    emulator.control.plan_fault(SlowFault(chunks=2, pause=30))
    with pytest.raises(httpx.ReadTimeout):
        emulator.post("ListPrebuilds", {}, timeout=0.05)


def test_an_answer_is_late(emulator: Driver):
    emulator.control.plan_fault(LatencyFault(seconds=0.05))
    begin = time.monotonic()
    assert emulator.create()
    assert time.monotonic() - begin >= 0.05
    emulator.control.plan_fault(LatencyFault(seconds=30))
    with pytest.raises(httpx.ReadTimeout):
        emulator.post("ListPrebuilds", {}, timeout=0.05)


def test_a_list_answers_its_token_again(emulator: Driver):
    made = [emulator.create() for _ in range(3)]
    planned = emulator.control.plan_fault(RepeatTokenFault(method="ListPrebuilds"))
    first = emulator.call("ListPrebuilds", pagination={"pageSize": 1})
    token = first["pagination"]["nextToken"]
    assert not emulator.control.fault(planned.id).consumed
    asked = {"pageSize": 1, "token": token}
    repeated = emulator.call("ListPrebuilds", pagination=asked)
    assert repeated["pagination"]["nextToken"] == token
    assert [item["id"] for item in repeated["prebuilds"]] == [made[1]]
    assert emulator.call("ListPrebuilds", pagination=asked)["pagination"]["nextToken"] != token
    (call,) = emulator.control.fault(planned.id).calls
    assert [item.number for item in emulator.control.requests()][-2] == call


def test_a_fault_meets_so_many_calls_of_its_method_and_says_which(emulator: Driver):
    planned = emulator.control.plan_fault(StatusFault(method="GetPrebuild", status=502, times=2, after=1))
    prebuild = emulator.create()
    statuses = [emulator.post("GetPrebuild", {"prebuildId": prebuild}).status_code for _ in range(2)]
    state = emulator.control.fault(planned.id)
    assert (state.consumed, state.pending) == (1, True)
    statuses += [emulator.post("GetPrebuild", {"prebuildId": prebuild}).status_code for _ in range(2)]
    assert statuses == [200, 502, 502, 200]
    state = emulator.control.fault(planned.id)
    assert (state.consumed, state.pending) == (2, False)
    met = [item for item in emulator.control.requests() if item.number in state.calls]
    assert [(item.method, item.status, item.fault) for item in met] == [("GetPrebuild", 502, planned.id)] * 2


def test_a_call_meets_the_fault_that_was_planned_first(emulator: Driver):
    first = emulator.control.plan_fault(StatusFault(status=502))
    always = emulator.control.plan_fault(StatusFault(status=503, times=None))
    statuses = [emulator.post("ListPrebuilds", {}).status_code for _ in range(3)]
    assert statuses == [502, 503, 503]
    assert [item.pending for item in emulator.control.faults()] == [False, False]
    emulator.control.remove_fault(always.id)
    assert emulator.post("ListPrebuilds", {}).status_code == 200
    assert [item.id for item in emulator.control.faults()] == [first.id]
    emulator.control.remove_faults()
    assert emulator.control.faults() == []


def test_reading_a_log_meets_faults_too(emulator: Driver):
    prebuild = emulator.create()
    emulator.clock.advance(400)
    token = emulator.call("CreatePrebuildLogsToken", prebuildId=prebuild)["accessToken"]
    address, headers = emulator.status(prebuild)["logUrl"], {"Authorization": f"Bearer {token}"}
    emulator.control.plan_fault(StatusFault(method="logs", status=502))
    assert emulator.http.get(address, headers=headers).status_code == 502
    whole = emulator.http.get(address, headers=headers).text
    emulator.control.plan_fault(TruncateFault(method="logs"))
    with pytest.raises(httpx.RemoteProtocolError):
        emulator.http.get(address, headers=headers)
    emulator.control.plan_fault(SlowFault(method="logs", pause=0.001))
    assert emulator.http.get(address, headers=headers).text == whole


def test_the_control_plane_meets_no_faults(emulator: Driver):
    emulator.control.plan_fault(DropFault(times=None))
    assert len(emulator.control.faults()) == 1


SENSELESS = [
    {},
    {"kind": "earthquake"},
    {"kind": "drop", "tiems": 3},
    {"kind": "drop", "times": 0},
    {"kind": "drop", "method": "DropPrebuild"},
    {"kind": "status"},
    {"kind": "status", "status": 99},
    {"kind": "status", "status": 503, "headers": {"X": "a\r\nSet-Cookie: b"}},
    {"kind": "status", "status": 503, "headers": {"X Y": "a"}},
    {"kind": "error", "code": "out_of_luck"},
    {"kind": "error", "code": "unavailable", "retry_after": 1.5, "hint": "retry_after"},
    {"kind": "latency", "seconds": -1},
    {"kind": "latency", "seconds": 1e9},
]


def test_a_fault_that_makes_no_sense_is_refused(emulator: Driver):
    for fault in SENSELESS:
        response = emulator.http.post("/_emulator/faults", json=fault)
        assert response.status_code == 400, fault
        assert response.json()["problems"], fault
        assert emulator.control.faults() == []


def test_a_fault_that_is_not_there_is_told(emulator: Driver):
    for call in (emulator.control.fault, emulator.control.remove_fault):
        with pytest.raises(ControlError, match="there is no fault 7"):
            call(7)


def test_what_a_fault_leaves_is_a_server_that_goes_on(emulator: Driver, capfd):
    for fault in (DropFault(), DropFault(when="after"), TruncateFault()) * 10:
        emulator.control.plan_fault(fault)
        with pytest.raises(httpx.TransportError):
            emulator.post("ListPrebuilds", {})
        emulator.call("ListPrebuilds")
    assert capfd.readouterr() == ("", "")
    assert json.loads(emulator.post("ListPrebuilds", {}).text) == {}
