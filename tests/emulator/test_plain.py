"""Requests that are plainly in order: what is taken for one means what its pydantic model makes of it."""

import copy
import json
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prebuild_wire import OPERATIONS
from prebuilds.emulator.plain import check_of

ID = "0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d"

USUAL = [
    ("CreatePrebuild", {"projectId": ID, "spec": {}}),
    ("CreatePrebuild", {"projectId": ID, "environmentClassId": ID, "spec": {"timeout": "3600s"}}),
    ("ListPrebuilds", {}),
    ("ListPrebuilds", {"pagination": {"pageSize": 100, "token": "abc"}, "filter": {"projectIds": [ID] * 25}}),
    ("ListPrebuilds", {"filter": {"phases": ["PREBUILD_PHASE_RUNNING"], "triggeredBy": ["PREBUILD_TRIGGER_MANUAL"]}}),
    ("GetPrebuild", {"prebuildId": ID}),
    ("CancelPrebuild", {"prebuildId": ID.upper()}),
    ("DeletePrebuild", {"prebuildId": ID}),
    ("CreatePrebuildLogsToken", {"prebuildId": ID}),
    ("CreateWarmPool", {"projectId": ID, "environmentClassId": ID, "minSize": 0}),
    ("GetWarmPool", {"warmPoolId": ID}),
    ("ListWarmPools", {"filter": {"environmentClassIds": [ID]}}),
    ("UpdateWarmPool", {"warmPoolId": ID, "maxSize": 20}),
    ("DeleteWarmPool", {"warmPoolId": ID}),
]

# All fields of each request, with values that are in order.
FULL = {
    "CreatePrebuild": {"projectId": ID, "environmentClassId": ID, "spec": {"timeout": "300s", "specVersion": "1"}},
    "ListPrebuilds": {
        "pagination": {"pageSize": 100, "token": "abc"},
        "filter": {
            "projectIds": [ID],
            "phases": ["PREBUILD_PHASE_FAILED"],
            "triggeredBy": ["PREBUILD_TRIGGER_SCHEDULED"],
            "creatorIds": [ID],
            "executorIds": [ID],
        },
    },
    "CreateWarmPool": {"projectId": ID, "environmentClassId": ID, "desiredSize": 1, "minSize": 0, "maxSize": 20},
    "ListWarmPools": {"pagination": {"pageSize": 1}, "filter": {"projectIds": [ID], "environmentClassIds": [ID]}},
    "UpdateWarmPool": {"warmPoolId": ID, "desiredSize": 20, "minSize": 0, "maxSize": 1},
    **{method: {"prebuildId": ID} for method, fields in USUAL if "prebuildId" in fields},
    **{method: {"warmPoolId": ID} for method in ("GetWarmPool", "DeleteWarmPool")},
}

# Some of what may stand in the place of a value; much of it is what another field takes, or nearly so.
ODD = [
    *(None, True, False, -1, 0, 1, 19, 20, 21, 100, 101, 0.0, 1.0, 20.5, 2**31, -(2**31) - 1),
    *("", ID, ID.upper(), f"{ID} ", ID[:-1], "5", "a\x00b", "299s", "300s", "7200s", "7200.000000001s", "1h"),
    *("PREBUILD_PHASE_UNSPECIFIED", "PREBUILD_PHASE_FAILED", "PREBUILD_PHASE_LOST", {}, [], [[]], [None], {"a": 1}),
]


def variants(value):
    """The value with each odd one in its place, and with one thing less or changed in it."""
    yield from ODD
    if isinstance(value, dict):
        for name, item in value.items():
            yield {other: kept for other, kept in value.items() if other != name}
            yield from ({**value, name: changed} for changed in variants(item))
    elif isinstance(value, list):
        yield from (value * times for times in range(2, 28))
        yield from ([*value[:-1], changed] for changed in variants(value[-1]))


@st.composite
def near(draw, full):
    """A document like this one: fields are left out, and at most one place has a value that may not fit."""
    document = copy.deepcopy(draw(with_fewer(full)))
    places = [place for place in all_places(document) if place]
    if places and draw(st.integers(0, 9)):
        *way, last = draw(st.sampled_from(places))
        holder = document
        for step in way:
            holder = holder[step]
        if isinstance(holder[last], list) and draw(st.booleans()):
            holder[last] = holder[last] * draw(st.integers(2, 27))
        else:
            holder[last] = copy.deepcopy(draw(st.sampled_from(ODD)))
    return document


def with_fewer(value):
    if not isinstance(value, dict):
        return st.just(value)
    whole = {name: with_fewer(item) for name, item in value.items()}
    return st.one_of(st.fixed_dictionaries({}, optional=whole), st.fixed_dictionaries(whole))


def all_places(value, way=()):
    """The way to each value within a document."""
    yield way
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        yield from all_places(item, (*way, name))


def without_zeros(value):
    """The document without what means nothing in protobuf's JSON."""
    if isinstance(value, dict):
        return {name: without_zeros(item) for name, item in value.items() if item not in ("", [], 0)}
    return value


@pytest.mark.parametrize(("method", "fields"), USUAL)
def test_what_clients_usually_send_is_plain(method, fields):
    assert check_of(OPERATIONS[method].request_name)(fields)


def check(method, fields):
    """That what is plain is what its model makes of it. Whether it is plain."""
    operation = OPERATIONS[method]
    plain = check_of(operation.request_name)(fields)
    if plain:
        assert without_zeros(fields) == without_zeros(operation.request.model_validate(fields).to_json()), fields
    return plain


def test_what_is_plain_is_what_its_model_makes_of_it():
    for method, full in FULL.items():
        fewer = [{name: kept for name, kept in full.items() if name != less} for less in full]
        plain = sum(check(method, fields) for base in (full, *fewer) for fields in variants(base))
        assert plain >= 2, method


@pytest.mark.campaign(full=3000)
@pytest.mark.parametrize("method", OPERATIONS)
def test_whatever_is_plain_is_what_its_model_makes_of_it(method, size):
    @settings(max_examples=size, deadline=None)
    @given(near(FULL[method]))
    def holds(fields):
        check(method, fields)

    holds()


@pytest.mark.parametrize(
    ("method", "fields"),
    [
        ("GetPrebuild", {}),
        ("GetPrebuild", {"prebuildId": ""}),
        ("GetPrebuild", {"prebuildId": uuid.UUID(ID).hex}),
        ("GetPrebuild", {"prebuildId": None}),
        ("GetPrebuild", {"prebuild_id": ID}),
        ("GetPrebuild", {"prebuildId": ID, "more": 1}),
        ("CreatePrebuild", {"projectId": ID}),
        ("CreatePrebuild", {"projectId": ID, "spec": {"timeout": "299s"}}),
        ("CreatePrebuild", {"projectId": ID, "spec": {"specVersion": "007"}}),
        ("ListPrebuilds", {"pagination": {"pageSize": 101}}),
        ("ListPrebuilds", {"pagination": {"pageSize": True}}),
        ("ListPrebuilds", {"pagination": {"pageSize": 5.0}}),
        ("ListPrebuilds", {"filter": {"projectIds": [ID] * 26}}),
        ("ListPrebuilds", {"filter": {"phases": [30]}}),
        ("ListPrebuilds", []),
        ("CreateWarmPool", {"projectId": ID, "environmentClassId": ID, "minSize": 3, "maxSize": 2}),
        ("CreateWarmPool", {"projectId": ID, "environmentClassId": ID, "desiredSize": 0}),
    ],
)
def test_what_is_in_any_doubt_is_not_plain(method, fields):
    assert not check_of(OPERATIONS[method].request_name)(fields), json.dumps(fields)
