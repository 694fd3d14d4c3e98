"""The control plane: its interface, the time, the state as a document, and who may use it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from random import Random
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from jsonschema_rs import Draft202012Validator, meta

from prebuilds.emulator import (
    ControlError,
    EmulatorControl,
    EmulatorServer,
    InProcessEmulator,
    ManualClock,
    Outcome,
    Plan,
    ScaledClock,
    StatusFault,
)
from prebuilds.emulator.clock import END_OF_TIME, Clock
from prebuilds.emulator.control import ROUTES, openapi

from .driver import ENVIRONMENT_CLASS, NO_CERTIFICATES, NOBODY, OTHER_PROJECT, PROJECT, SERVICE, Driver

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
    assert {*operations()} == {
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


def operations() -> dict[str, Any]:
    """What schemathesis finds in the document, by method and path."""
    import schemathesis  # which takes its time, and is for two tests only

    schema = schemathesis.openapi.from_dict(DOCUMENT)
    return {operation.ok().label: operation.ok() for operation in schema.get_all_operations()}


@cache
def validator(schema: str) -> Draft202012Validator:
    """What a schema in the document allows; it is given as text."""
    return Draft202012Validator({**json.loads(schema), "components": DOCUMENT["components"]}, validate_formats=True)


def check_answer(http_method: str, path: str, response: httpx.Response) -> None:
    """That the document has this answer."""
    assert response.status_code in (200, 400, 404, 415), response.text
    assert "control plane has no" not in response.text
    answers = DOCUMENT["paths"][path][http_method.lower()]["responses"]
    answer = answers["200" if response.status_code == 200 else "default"]["content"]["application/json"]["schema"]
    validator(json.dumps(answer)).validate(response.json())


@contextmanager
def in_process() -> Iterator[tuple[InProcessEmulator, httpx.Client]]:
    headers = {"Authorization": "Bearer somebody"}
    with (
        InProcessEmulator() as emulator,
        httpx.Client(transport=emulator.transport(), base_url=emulator.url, headers=headers) as http,
    ):
        yield emulator, http


OUTCOME = {"takes": 900, "fails_in": "RUNNING", "message": "no space left"}
COMMON = {"method": "ListPrebuilds", "times": 2, "after": 1}
# Bodies that have all that they can have. What a state has is dumped.
FULL = [
    (
        "PUT",
        f"/projects/{PROJECT}",
        {
            "id": PROJECT,
            "prebuilds": {
                "environment_class_ids": [ENVIRONMENT_CLASS],
                "default_environment_class_id": ENVIRONMENT_CLASS,
                "daily_at_hour": 23,
                "executor": {"id": NOBODY, "principal": "USER"},
            },
            "outcome": OUTCOME,
        },
    ),
    ("POST", "/outcomes", {"outcome": OUTCOME, "project_id": PROJECT, "times": 2}),
    ("POST", "/outcomes", {"outcome": {"durations": {"RUNNING": 5, "PENDING": 0}, "warning": "w"}}),
    ("POST", "/outcomes", {"outcome": {"stalls_in": "CANCELLING"}}),
    ("PUT", "/plan", Plan().model_dump(mode="json")),
    ("POST", f"/warm-pools/{NOBODY}/degrade", {"message": "no capacity"}),
    ("POST", "/faults", COMMON | {"kind": "status", "status": 503, "body": "b", "headers": {"X": "x"}}),
    ("POST", "/faults", COMMON | {"kind": "html", "status": 504, "when": "before"}),
    ("POST", "/faults", COMMON | {"kind": "error", "code": "aborted", "message": "m", "when": "before"}),
    ("POST", "/faults", COMMON | {"kind": "error", "code": "aborted", "retry_after": 2, "hint": "retry_after"}),
    ("POST", "/faults", COMMON | {"kind": "latency", "seconds": 1.5}),
    ("POST", "/faults", COMMON | {"kind": "drop", "when": "after"}),
    ("POST", "/faults", COMMON | {"kind": "truncate", "keep": 5}),
    ("POST", "/faults", COMMON | {"kind": "slow", "chunks": 3, "pause": 0.5}),
    ("POST", "/faults", COMMON | {"kind": "repeat_token"}),
    ("POST", "/clock/advance", {"seconds": 90.5}),
    ("POST", "/clock/move", {"now": "2030-01-02T00:00:00Z"}),
    ("POST", "/clock/resume", {"speed": 2.5}),
    ("PUT", "/state", None),
]


def resolved(schema: Any) -> Iterator[dict[str, Any]]:
    """The schema, or those of its alternatives, without references."""
    if "$ref" in schema:
        schema = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    alternatives = schema.get("anyOf") or schema.get("oneOf")
    if alternatives is None:
        yield schema
    else:
        for alternative in alternatives:
            yield from resolved(alternative)


ODD = (None, True, -1, 0.5, "", "x", "\0", [], ["x"], {}, {"x": 1})
FEW = (None, True, -1, "x", [])


def instead_of(value: Any, schemas: list[dict[str, Any]], odd: Iterable[Any]) -> Iterator[Any]:
    """What may stand in the place of a value; much of it does not fit, or only just."""
    yield from (other for other in odd if other != value)
    for schema in schemas:
        for name, limit in schema.items():
            if name in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
                yield from (limit - 1, limit, limit + 1)
            elif name in ("minLength", "maxLength"):
                yield from ("x" * (limit - 1), "x" * limit, "x" * (limit + 1))
            elif name in ("minItems", "maxItems") and value:
                yield from (value * (limit - 1), value * limit, value * (limit + 1))


def variants(value: Any, schema: Any, odd: Iterable[Any]) -> Iterator[Any]:
    """The value with one thing changed in it, in each place, and with one thing more or less."""
    schemas = [*resolved(schema)]
    yield from instead_of(value, schemas, odd)
    if isinstance(value, dict):
        yield {**value, "tpyo": 1}
        for name, item in value.items():
            yield {other: kept for other, kept in value.items() if other != name}
            within = [each["properties"][name] for each in schemas if name in each.get("properties", ())]
            yield from ({**value, name: changed} for changed in variants(item, {"anyOf": within}, odd))
    elif isinstance(value, list) and value:
        within = [each["items"] for each in schemas if "items" in each]
        yield from ([changed, *value[1:]] for changed in variants(value[0], {"anyOf": within}, odd))


BEYOND_A_SCHEMA = re.compile(
    "there is no method|takes whole seconds|is no UUID|is not that of the path|names a class twice|is none of|"
    "needs fails_in|does not go with|not base64|a duration in seconds|-1 is out of range"
)


@pytest.mark.parametrize(("http_method", "path", "body"), FULL)
def test_a_body_is_taken_if_the_document_has_it_and_no_other(http_method, path, body):
    template = next(route.path for route in ROUTES if route.http_method == http_method and match(route.path, path))
    described = DOCUMENT["paths"][f"/_emulator{template}"][http_method.lower()]
    schema = described["requestBody"]["content"]["application/json"]["schema"]
    with in_process() as (emulator, http):
        state = a_small_state(emulator, http)
        pool = state["warm_pools"][0]["record"]["id"]
        for changed in (body or state, *variants(body or state, schema, ODD if body else FEW)):
            response = http.request(http_method, f"/_emulator{path}".replace(NOBODY, pool), json=changed)
            check_answer(http_method, f"/_emulator{template}", response)
            fits = validator(json.dumps(schema)).is_valid(changed)
            if response.status_code == 200:
                assert fits, changed
            else:
                assert changed is not (body or state), response.text
                assert not fits or BEYOND_A_SCHEMA.search(response.json()["message"]), (changed, response.text)
            if "clock" in path:
                emulator.control.reset()


def match(template: str, path: str) -> bool:
    return re.fullmatch(re.sub(r"\{.*?\}", "[^/]+", template), path) is not None


def a_small_state(emulator: InProcessEmulator, http: httpx.Client) -> dict[str, Any]:
    """A state that has one of everything."""
    emulator.control.declare_project(PROJECT, environment_class_ids=[ENVIRONMENT_CLASS], daily_at_hour=5)
    for method, fields in (("CreateWarmPool", {}), ("CreatePrebuild", {"spec": {}})):
        http.post(f"{SERVICE}/{method}", json={"projectId": PROJECT, "environmentClassId": ENVIRONMENT_CLASS, **fields})
    emulator.control.plan_outcome(Outcome(**OUTCOME))
    return emulator.control.dump_state()


@pytest.mark.parametrize(
    ("http_method", "path", "status"),
    [
        ("GET", "/requests?limit=0", 400),
        ("GET", "/requests?limit=1", 200),
        ("GET", "/requests?limit=1000", 200),
        ("GET", "/requests?limit=1001", 400),
        ("GET", "/requests?limit=", 400),
        ("GET", "/requests?limit=many", 400),
        ("GET", "/requests?limit=1.5", 400),
        ("GET", "/faults/0", 400),
        ("DELETE", "/faults/-1", 400),
        ("GET", "/faults/first", 400),
        ("GET", "/faults/9007199254740991", 404),
        ("GET", "/faults/9007199254740992", 400),
        ("GET", f"/projects/{NOBODY}", 404),
        ("DELETE", f"/projects/{NOBODY}", 404),
        ("GET", f"/projects/{'x' * 256}", 400),
        ("POST", f"/warm-pools/{NOBODY}/recover", 404),
        ("POST", "/warm-pools/first/recover", 404),
        *((route.http_method, route.path, 200) for route in ROUTES if route.body is None and "{" not in route.path),
    ],
)
def test_each_operation_without_a_body_does_what_the_document_says(http_method, path, status):
    route = next(
        route for route in ROUTES if route.http_method == http_method and match(route.path, path.partition("?")[0])
    )
    with in_process() as (_, http):
        response = http.request(http_method, f"/_emulator{path}")
    assert response.status_code == status
    check_answer(http_method, "/_emulator" + route.path, response)


@pytest.mark.campaign(full=50)
@pytest.mark.parametrize("label", [f"{route.http_method} /_emulator{route.path}" for route in ROUTES])
def test_each_operation_does_what_the_document_says(label, size):
    from schemathesis.generation import GenerationMode

    operation = operations()[label]
    for mode in GenerationMode:
        negative = mode is GenerationMode.NEGATIVE

        @settings(max_examples=size, deadline=None, suppress_health_check=list(HealthCheck))
        @given(operation.as_strategy(generation_mode=mode), st.just(negative))
        def answered(case, negative):
            request = {name: value for name, value in case.as_transport_kwargs().items() if value is not None}
            request.pop("cookies", None)
            if isinstance(request.get("data"), (bytes, str)):
                request["content"] = request.pop("data")
            with in_process() as (emulator, http):
                request["url"] = httpx.URL(emulator.url).join(request["url"])
                response = http.request(**request)
            check_answer(operation.method, operation.path, response)
            if negative and "requestBody" in operation.definition.raw:
                assert response.status_code != 200, (request, response.text)

        try:
            answered()
        except Unsatisfiable:
            # There is nothing in which the request could be wrong.
            assert negative
            assert "requestBody" not in operation.definition.raw


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
        with httpx.Client(verify=NO_CERTIFICATES) as http, pytest.raises(ControlError) as caught:
            EmulatorControl(emulator.url, token=token, http_client=http).reset()
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


SENSELESS_TIMES = [
    ("advance", {"seconds": -1}),
    ("advance", {"seconds": 1e300}),
    ("advance", {"seconds": "1"}),
    ("move", {"now": "2029-12-31T23:59:59Z"}),
    ("move", {"now": "2031-01-01T00:00:00"}),
    ("move", {"now": "9999-01-01T00:00:00Z"}),
    ("resume", {"speed": 0}),
    ("resume", {"speed": 1e9}),
]


def test_a_time_that_makes_no_sense_is_refused(emulator: Driver):
    before = emulator.control.clock()
    for path, body in SENSELESS_TIMES:
        response = emulator.http.post(f"/_emulator/clock/{path}", json=body)
        assert response.status_code == 400, (path, body)
        assert emulator.control.clock() == before, (path, body)


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


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
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
    state, before = emulator.control.dump_state(), everything(emulator)
    other: Driver = start()
    other.create(OTHER_PROJECT)
    other.clock.advance(10**7)
    other.control.load_state(json.loads(json.dumps(state)))
    assert everything(other) == before
    assert other.control.dump_state() == state
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


def test_tokens_stay_valid_in_the_emulator_that_returned_them(start):
    emulator: Driver = start()
    populate(emulator)
    page = emulator.call("ListPrebuilds", pagination={"pageSize": 2})
    prebuild = page["prebuilds"][0]["id"]
    logs_token = emulator.call("CreatePrebuildLogsToken", prebuildId=prebuild)["accessToken"]
    state, before = emulator.control.dump_state(), emulator.prebuilds()
    assert "secret" not in state
    emulator.control.reset()
    emulator.control.load_state(state)
    rest = emulator.call("ListPrebuilds", pagination={"token": page["pagination"]["nextToken"]})
    assert [item["id"] for item in rest["prebuilds"]] == [item["id"] for item in before[2:]]
    headers = {"Authorization": f"Bearer {logs_token}"}
    assert emulator.http.get(f"/logs/{prebuild}", headers=headers).status_code == 200


def test_a_loaded_state_outlives_the_program(start, tmp_path):
    emulator: Driver = start()
    populate(emulator)
    state = emulator.control.dump_state()
    clock, data = ManualClock(), tmp_path / "data"
    with EmulatorServer(clock=clock, data=data) as server, closing(Driver(server, clock)) as driver:
        driver.create(OTHER_PROJECT)
        driver.control.load_state(state)
    with EmulatorServer(clock=clock, data=data) as server, closing(Driver(server, clock)) as driver:
        assert driver.control.dump_state() == state


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


@pytest.mark.campaign(quick=40, full=1000)
def test_a_state_cut_anywhere_is_refused(size):
    with in_process() as (emulator, http):
        document = json.dumps(emulator.control.dump_state()).encode()
        headers = {"Content-Type": "application/json"}
        for number in range(size):
            cut = document[: len(document) * number // size]
            assert http.put("/_emulator/state", content=cut, headers=headers).status_code == 400, cut
        assert http.put("/_emulator/state", content=document, headers=headers).status_code == 200


@pytest.mark.campaign(quick=40, full=400)
def test_any_state_survives_a_dump(size):
    outcomes = [Outcome(), Outcome(fails_in="STARTING"), Outcome(stalls_in="STOPPING"), Outcome(takes=1)]
    methods = [None, "CancelPrebuild", "DeletePrebuild"]
    chance = Random(1)
    with in_process() as (emulator, http), InProcessEmulator() as other:
        for _ in range(size):
            emulator.control.reset()
            emulator.control.plan_outcome(outcome := chance.choice(outcomes))
            body = {"projectId": PROJECT, "spec": {}}
            prebuild = http.post(f"{SERVICE}/CreatePrebuild", json=body).json()["prebuild"]["id"]
            emulator.clock.advance(advanced := chance.uniform(0, 500) if chance.random() < 0.8 else 10**6)
            if method := chance.choice(methods):
                http.post(f"{SERVICE}/{method}", json={"prebuildId": prebuild})
            state = emulator.control.dump_state()
            other.control.load_state(state)
            assert other.control.dump_state() == state, (outcome, advanced, method)


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
