"""The control plane: its interface, the time, the state as a document, and who may use it."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator, meta
from schemathesis.generation import GenerationMode

from prebuild_wire.enums import PrebuildPhase
from prebuilds.emulator import (
    ControlError,
    EmulatorControl,
    EmulatorServer,
    InProcessEmulator,
    ManualClock,
    Outcome,
    ScaledClock,
    StatusFault,
)
from prebuilds.emulator.clock import END_OF_TIME, Clock
from prebuilds.emulator.control import ROUTES, openapi

from .driver import ENVIRONMENT_CLASS, NOBODY, OTHER_PROJECT, PROJECT, Driver

DOCUMENT = openapi()


# -- The document


def schemas(node: Any) -> Any:
    """Every schema of an object that the document has."""
    if isinstance(node, dict):
        if node.get("type") == "object" and "properties" in node:
            yield node
        for value in node.values():
            yield from schemas(value)
    elif isinstance(node, list):
        for value in node:
            yield from schemas(value)


def test_the_document_is_served_as_it_is(emulator: Driver):
    assert emulator.http.get("/_emulator/openapi.json").json() == DOCUMENT


def test_the_document_is_in_order():
    for name, schema in DOCUMENT["components"]["schemas"].items():
        meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})
        assert re.fullmatch(r"[A-Za-z0-9._-]+", name)
    names = [operation["operationId"] for path in DOCUMENT["paths"].values() for operation in path.values()]
    assert len(set(names)) == len(names) == len(ROUTES)
    for reference in re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(DOCUMENT)):
        node: Any = DOCUMENT
        for part in reference.split("/"):
            node = node[part]
    # schemathesis reads it the way that other tools do.
    assert {operation.ok().label for operation in SCHEMA.get_all_operations()} == {
        f"{method.upper()} {path}" for path, item in DOCUMENT["paths"].items() for method in item
    }


def test_every_field_says_what_it_means():
    for schema in schemas(DOCUMENT["components"]):
        if schema.get("title", "").endswith(("Record", "Step")):
            continue  # what is stored, told by the emulator to itself
        for name, field in schema["properties"].items():
            assert field.get("description") or "$ref" in field, (schema["title"], name)
    for path in DOCUMENT["paths"].values():
        for operation in path.values():
            assert operation["summary"].endswith(".")


SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)


@SCHEMA.parametrize()
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
def test_each_operation_does_what_the_document_says(case):
    with InProcessEmulator() as emulator, httpx.Client(transport=emulator.transport(), base_url=emulator.url) as http:
        request = {name: value for name, value in case.as_transport_kwargs().items() if value is not None}
        request.pop("cookies", None)
        if isinstance(request.get("data"), (bytes, str)):
            request["content"] = request.pop("data")
        request["url"] = httpx.URL(emulator.url).join(request["url"])
        response = http.request(**request)
        if case.method != case.operation.method.upper():
            assert response.status_code in (200, 400, 404, 405, 415)  # another operation of the path, or none
            return
        assert response.status_code in (200, 400, 404, 415), response.text
        assert "control plane has no" not in response.text
        if case.meta.generation.mode is GenerationMode.NEGATIVE and "requestBody" in case.operation.definition.raw:
            assert response.status_code != 200, (request, response.text)
        content = case.operation.definition.raw["responses"]
        answer = content["200" if response.status_code == 200 else "default"]["content"]["application/json"]["schema"]
        validator = Draft202012Validator({**answer, "components": DOCUMENT["components"]})
        validator.validate(response.json())


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.http_method} {route.path}")
def test_what_the_document_does_not_know_is_refused(emulator: Driver, route):
    path = "/_emulator" + re.sub(r"\{.*?\}", PROJECT if "projects" in route.path else "1", route.path)
    taken = {other.http_method for other in ROUTES if other.path == route.path}
    for method in {"GET", "PUT", "POST", "DELETE", "PATCH"} - taken:
        response = emulator.http.request(method, path, json={})
        assert (response.status_code, {*response.headers["allow"].split(", ")}) == (405, taken)
    assert emulator.http.request(route.http_method, f"{path}?tpyo=1", json={}).status_code == 400
    typo = emulator.http.request(route.http_method, path, json={"tpyo": 1})
    assert typo.status_code == 400
    assert typo.json()["message"]
    if route.body is not None:
        for body in (b"", b"{", b"[]", b"null", b"\xff", b'{"seconds": NaN}', b"[" * 100_000):
            headers = {"Content-Type": "application/json"}
            response = emulator.http.request(route.http_method, path, content=body, headers=headers)
            assert response.status_code == 400, body
        assert emulator.http.request(route.http_method, path, content=b"{}").status_code == 415


def test_a_path_that_leads_nowhere_is_told(emulator: Driver):
    for path in ("", "/", "/tpyo", "/clock/", "/clock/advance/more", "/projects/"):
        response = emulator.http.get(f"/_emulator{path}")
        assert response.status_code == 404
        assert "message" in response.json()


# -- Who may use it


def test_it_can_be_switched_off(start):
    emulator: Driver = start(control=False)
    assert emulator.http.get("/_emulator/clock").status_code == 404
    with pytest.raises(ControlError, match="is this an emulator, with its control plane on"):
        emulator.control.clock()
    emulator.create()


def test_it_can_need_a_token(start):
    emulator: Driver = start(control_token="secret")
    for token in (None, "secre", "secret2", "somebody"):
        with EmulatorControl(emulator.url, token=token) as other, pytest.raises(ControlError) as caught:
            other.reset()
        assert caught.value.status == 401
    assert emulator.http.get("/_emulator/openapi.json").status_code == 401
    with EmulatorControl(emulator.url, token="secret") as control:
        assert control.clock().frozen
    document = emulator.http.get("/_emulator/openapi.json", headers={"Authorization": "Bearer secret"}).json()
    assert document["security"] == [{"controlToken": []}]
    emulator.create()


# -- Time


def test_time_is_moved_frozen_and_resumed(emulator: Driver):
    control, begin = emulator.control, ManualClock().now()
    assert control.clock().frozen
    assert control.advance(90.5).now == begin + timedelta(seconds=90.5)
    assert control.move_to(begin + timedelta(days=1)).now == begin + timedelta(days=1)
    running = control.resume(speed=1000)
    assert (running.frozen, running.speed) == (False, 1000)
    while control.clock().now <= running.now + timedelta(seconds=1):
        pass
    frozen = control.freeze()
    assert control.clock() == frozen
    assert frozen.frozen
    assert control.resume().speed == 1000


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("advance", {"seconds": -1}),
        ("advance", {"seconds": 1e300}),
        ("advance", {"seconds": "1"}),
        ("move", {"now": "2029-12-31T23:59:59Z"}),
        ("move", {"now": "2031-01-01T00:00:00"}),
        ("move", {"now": "9999-01-01T00:00:00Z"}),
        ("resume", {"speed": 0}),
        ("resume", {"speed": 1e9}),
    ],
)
def test_a_time_that_makes_no_sense_is_refused(emulator: Driver, path, body):
    before = emulator.control.clock()
    response = emulator.http.post(f"/_emulator/clock/{path}", json=body)
    assert response.status_code == 400
    assert emulator.control.clock() == before


def test_nothing_is_lost_at_the_end_of_time(emulator: Driver):
    prebuild = emulator.create()
    emulator.control.declare_project(OTHER_PROJECT, daily_at_hour=3)
    emulator.control.move_to(END_OF_TIME)
    assert emulator.refused("GetPrebuild", prebuildId=prebuild) == "not_found"
    emulator.create()
    with pytest.raises(ControlError, match="beyond the year"):
        emulator.control.advance(1)


def test_tasks_that_sleep_at_the_same_time_do_so_side_by_side():
    clock = ManualClock()
    begin = clock.now()

    async def story() -> None:
        await asyncio.gather(*(clock.async_sleep(seconds) for seconds in (10, 7, 10, 3)))

    asyncio.run(story())
    assert clock.now() - begin == timedelta(seconds=10)
    clock.sleep(5)
    assert clock.now() - begin == timedelta(seconds=15)


def test_a_clock_that_runs_stands_still_at_the_end_of_time():
    clock = Clock(END_OF_TIME - timedelta(seconds=1), speed=1_000_000)
    while clock.now() < END_OF_TIME:
        pass
    assert clock.now() == END_OF_TIME


@given(st.lists(st.one_of(st.floats(0, 1e6), st.sampled_from(["freeze", "resume"])), max_size=20))
def test_a_clock_never_runs_backwards(moves):
    clock = Clock(datetime(2030, 1, 1, tzinfo=UTC), speed=100)
    last = clock.now()
    for move in moves:
        if isinstance(move, float):
            clock.advance(move)
        else:
            getattr(clock, move)()
        assert clock.now() >= last
        last = clock.now()


# -- Everything


def populate(emulator: Driver) -> None:
    control = emulator.control
    control.declare_project(PROJECT, environment_class_ids=[ENVIRONMENT_CLASS], daily_at_hour=5)
    control.disable_prebuilds(OTHER_PROJECT)
    emulator.create_pool(minSize=0, maxSize=2)
    for outcome in (Outcome(), Outcome(fails_in="RUNNING", message="m"), Outcome(stalls_in="CANCELLING")):
        control.plan_outcome(outcome)
    made = [emulator.create() for _ in range(4)]
    emulator.call("CancelPrebuild", prebuildId=made[2])
    emulator.clock.advance(250)
    emulator.call("DeletePrebuild", prebuildId=made[3])
    control.plan_outcome(Outcome(warning="later"), project_id=PROJECT, times=2)
    control.put_plan(control.plan().model_copy(update={"draining": 5.0}))


def everything(emulator: Driver) -> Any:
    found = emulator.prebuilds(), emulator.call("ListWarmPools"), emulator.control.projects()
    text = repr((found, emulator.control.outcomes(), emulator.control.plan(), emulator.control.clock()))
    return text.replace(emulator.url, "")


def test_a_loaded_state_is_the_one_that_was_dumped(start):
    emulator: Driver = start()
    populate(emulator)
    page = emulator.call("ListPrebuilds", pagination={"pageSize": 2})
    prebuild = page["prebuilds"][0]["id"]
    logs_token = emulator.call("CreatePrebuildLogsToken", prebuildId=prebuild)["accessToken"]
    state, before = emulator.control.dump_state(), everything(emulator)
    other: Driver = start()
    other.create(OTHER_PROJECT)
    other.clock.advance(10**7)
    other.control.load_state(json.loads(json.dumps(state)))
    assert everything(other) == before
    assert other.control.dump_state() == state
    # Tokens that were handed out stay valid.
    rest = other.call("ListPrebuilds", pagination={"token": page["pagination"]["nextToken"]})
    assert [item["id"] for item in rest["prebuilds"]] == [item["id"] for item in emulator.prebuilds()[2:]]
    headers = {"Authorization": f"Bearer {logs_token}"}
    assert other.http.get(f"/logs/{prebuild}", headers=headers).status_code == 200
    # Life goes on in both alike.
    for each in (emulator, other):
        each.clock.advance(24 * 3600)
    ids = [
        [item["id"] for item in each.prebuilds() if item["metadata"]["triggeredBy"].endswith("MANUAL")]
        for each in (emulator, other)
    ]
    assert ids[0] == ids[1]
    assert len(emulator.prebuilds()) == len(other.prebuilds()) == len(ids[0]) + 1
    assert other.create() == other.prebuilds()[0]["id"]


def test_a_loaded_state_outlives_the_program(start, tmp_path):
    emulator: Driver = start()
    populate(emulator)
    token = emulator.call("ListPrebuilds", pagination={"pageSize": 2})["pagination"]["nextToken"]
    state = emulator.control.dump_state()
    clock, data = ManualClock(), tmp_path / "data"
    with EmulatorServer(clock=clock, data=data) as server, closing(Driver(server, clock)) as driver:
        driver.create(OTHER_PROJECT)
        driver.control.load_state(state)
    with EmulatorServer(clock=clock, data=data) as server, closing(Driver(server, clock)) as driver:
        assert driver.control.dump_state() == state
        assert len(driver.call("ListPrebuilds", pagination={"token": token})["prebuilds"]) == 2


def test_a_state_with_relaxed_ids_needs_an_emulator_that_takes_them(start):
    emulator: Driver = start(relaxed_ids=True)
    assert emulator.post("CreatePrebuild", {"projectId": "my-project", "spec": {}}).status_code == 200
    state = emulator.control.dump_state()
    strict: Driver = start()
    with pytest.raises(ControlError, match="'my-project' is no UUID, and the emulator takes others with relaxed ids"):
        strict.control.load_state(state)
    assert strict.prebuilds() == []
    other: Driver = start(relaxed_ids=True)
    other.control.load_state(state)
    assert other.control.dump_state() == state


def test_a_state_goes_back_in_time(emulator: Driver):
    prebuild = emulator.create()
    state = emulator.control.dump_state()
    for _ in range(2):
        emulator.clock.advance(300)
        assert emulator.phase(prebuild) == "COMPLETED"
        emulator.control.load_state(state)
        assert emulator.phase(prebuild) == "PENDING"


def broken_states() -> list[tuple[str, Any, str]]:
    def change(**fields: Any) -> Any:
        return lambda state: {**state, **fields}

    def twice(name: str) -> Any:
        return lambda state: {**state, name: [*state[name], {**state[name][0], "sequence": 1000}]}

    def record(name: str, **fields: Any) -> Any:
        def change(state: Any) -> Any:
            state[name][0]["record"].update(fields)
            return state

        return change

    def backwards(state: Any) -> Any:
        (item,) = [item for item in state["prebuilds"] if len(item["record"]["timeline"]) > 2]
        item["record"]["timeline"].reverse()
        return state

    def naive(state: Any) -> Any:
        state["prebuilds"][0]["record"]["created_at"] = "2030-01-01T00:00:00"
        return state

    def phase(state: Any) -> Any:
        state["prebuilds"][0]["record"]["phase"] = "PREBUILD_PHASE_UNKNOWN"
        return state

    def sequence(state: Any) -> Any:
        for item in state["prebuilds"]:
            item["sequence"] = 5
        return state

    return [
        ("newer", change(version=2), "written by a newer emulator"),
        ("other", lambda state: {"prebuilds": []}, "no state of the emulator"),
        ("typo", change(prebuild=[]), "broken: prebuild"),
        ("missing", lambda state: {name: value for name, value in state.items() if name != "clock"}, "broken: clock"),
        ("wrong type", change(prebuilds={}), "broken: prebuilds"),
        ("secret", change(secret="?"), "broken: secret"),
        ("speed", change(clock={"now": "2030-01-01T00:00:00Z", "speed": 0, "frozen": True}), "broken: clock.speed"),
        ("naive time", naive, "has no time zone"),
        ("steps backwards", backwards, "not in the order of their times"),
        ("huge number", record("prebuilds", status_version=2**63), "status_version: 9223372036854775808 is out of"),
        ("percentage", record("prebuilds", percentage=101), "percentage: 101 is out of range"),
        ("pool size", record("warm_pools", max_size=21), "max_size: 21 is out of range"),
        ("timeout", record("prebuilds", timeout="soon"), "value must be a duration"),
        ("far future", record("prebuilds", updated_at="9999-12-31T23:59:59-12:00"), "prebuilds.0.record"),
        ("no UUID", record("prebuilds", id="number-one"), "prebuilds.0.record.id: 'number-one' is no UUID"),
        ("capitals", record("warm_pools", project_id=PROJECT.upper()), "warm_pools.0.record.project_id: .* lower case"),
        ("unknown phase", phase, "broken: prebuilds.0.record.phase"),
        ("prebuild twice", twice("prebuilds"), "contradicts itself"),
        ("pool twice", twice("warm_pools"), "contradicts itself"),
        ("one place", sequence, "contradicts itself"),
    ]


@pytest.mark.parametrize(
    ("change", "reason"), [item[1:] for item in broken_states()], ids=[item[0] for item in broken_states()]
)
def test_a_broken_state_is_refused_whole(emulator: Driver, change, reason):
    populate(emulator)
    before = emulator.control.dump_state()
    with pytest.raises(ControlError, match=reason) as caught:
        emulator.control.load_state(change(json.loads(json.dumps(before))))
    assert caught.value.status == 400
    assert emulator.control.dump_state() == before


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_state_cut_anywhere_is_refused(data):
    with InProcessEmulator() as emulator, httpx.Client(transport=emulator.transport()) as http:
        document = json.dumps(emulator.control.dump_state()).encode()
        length = data.draw(st.integers(0, len(document) - 1))
        headers = {"Content-Type": "application/json"}
        url = f"{emulator.url}/_emulator/state"
        assert http.put(url, content=document[:length], headers=headers).status_code == 400
        assert http.put(url, content=document, headers=headers).status_code == 200


@given(
    phase=st.sampled_from([phase for phase in PrebuildPhase if phase.number]),
    advance=st.floats(0, 10**6),
    outcome=st.sampled_from([Outcome(), Outcome(fails_in="STARTING"), Outcome(stalls_in="STOPPING"), Outcome(takes=1)]),
)
@settings(max_examples=40, deadline=None)
def test_any_state_survives_a_dump(phase, advance, outcome):
    with InProcessEmulator() as emulator, InProcessEmulator() as other:
        headers = {"Authorization": "Bearer t"}
        with httpx.Client(transport=emulator.transport(), base_url=emulator.url, headers=headers) as http:
            emulator.control.plan_outcome(outcome)
            body = {"projectId": PROJECT, "spec": {}}
            prebuild = http.post("/gitpod.v1.PrebuildService/CreatePrebuild", json=body).json()["prebuild"]["id"]
            emulator.clock.advance(advance)
            if phase is PrebuildPhase.CANCELLING:
                http.post("/gitpod.v1.PrebuildService/CancelPrebuild", json={"prebuildId": prebuild})
            if phase is PrebuildPhase.DELETING:
                http.post("/gitpod.v1.PrebuildService/DeletePrebuild", json={"prebuildId": prebuild})
        state = emulator.control.dump_state()
        other.control.load_state(state)
        assert other.control.dump_state() == state


def test_a_reset_begins_anew(emulator: Driver):
    populate(emulator)
    emulator.control.plan_fault(StatusFault(status=503))
    emulator.control.resume(speed=5)
    emulator.control.reset()
    fresh = emulator.control.dump_state()
    assert (fresh["prebuilds"], fresh["warm_pools"], fresh["projects"], fresh["outcomes"]) == ([], [], [], [])
    assert fresh["clock"]["now"] == "2030-01-01T00:00:00Z"
    assert emulator.control.clock().frozen
    assert emulator.control.plan().draining == 60
    assert (emulator.control.faults(), emulator.control.requests()) == ([], [])
    emulator.create(OTHER_PROJECT)


def test_a_reset_goes_back_to_real_time_where_time_runs():
    with InProcessEmulator(clock=ScaledClock(speed=1)) as emulator:
        emulator.control.advance(10**9)
        emulator.control.reset()
        assert abs(emulator.clock.now() - datetime.now(UTC)) < timedelta(minutes=1)


def test_requests_are_recorded_without_their_secrets(emulator: Driver):
    prebuild = emulator.create()
    emulator.post("GetPrebuild", {"prebuildId": NOBODY})
    emulator.post("Nothing", {})
    emulator.http.get(f"/logs/{prebuild}", headers={"Authorization": "Bearer top-secret"})
    found = emulator.control.requests()
    assert [(item.method, item.http_method, item.codec, item.status, item.code) for item in found] == [
        ("CreatePrebuild", "POST", "json", 200, None),
        ("GetPrebuild", "POST", "json", 404, "not_found"),
        (None, "POST", "json", 404, "unimplemented"),
        ("logs", "GET", None, 401, "unauthenticated"),
    ]
    assert [item.number for item in found] == [1, 2, 3, 4]
    assert all(0 < item.milliseconds < 10_000 for item in found)
    raw = emulator.http.get("/_emulator/requests").text
    assert "somebody" not in raw
    assert "top-secret" not in raw
    assert emulator.control.requests(limit=1) == found[-1:]
    emulator.control.forget_requests()
    assert emulator.control.requests() == []
