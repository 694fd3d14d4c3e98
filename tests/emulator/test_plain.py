"""Requests that are plainly in order: what is taken for one means what its pydantic model makes of it."""

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

# Some of what may stand in the place of a value; much of it is what another field takes, or nearly so.
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 101),
    st.sampled_from([0.0, 1.0, 20.5, 2**31, -(2**31) - 1, "", ID, ID.upper(), f"{ID} ", ID[:-1], "5", "a\x00b"]),
    st.sampled_from(["299s", "300s", "7200s", "7200.000000001s", "1e3s", "+300s", "1h", "PREBUILD_PHASE_UNSPECIFIED"]),
    st.sampled_from(["PREBUILD_PHASE_FAILED", "PREBUILD_PHASE_LOST", "PREBUILD_TRIGGER_SCHEDULED", 30, 31]),
)


def fields_of(message):
    """A strategy for something like the message: its own fields for the most part, with values that may fit."""
    schema = OPERATIONS[message].request if message in OPERATIONS else message
    return document(schema)


def document(model):
    fields = {}
    for name, info in model.model_fields.items():
        inner = next((kind for kind in parts(info.annotation) if hasattr(kind, "model_fields")), None)
        value = VALUES if inner is None else st.one_of(document(inner), VALUES)
        fields[info.alias or name] = st.one_of(value, st.lists(VALUES, max_size=27))
        if info.alias and info.alias != name:
            fields[name] = value
    return st.fixed_dictionaries({}, optional={**fields, "unheardOf": VALUES})


def parts(annotation):
    yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from parts(part)


def without_zeros(value):
    """The document without what means nothing in protobuf's JSON."""
    if isinstance(value, dict):
        return {name: without_zeros(item) for name, item in value.items() if item not in ("", [], 0)}
    return value


@pytest.mark.parametrize(("method", "fields"), USUAL)
def test_what_clients_usually_send_is_plain(method, fields):
    assert check_of(OPERATIONS[method].request_name)(fields)


@pytest.mark.parametrize("method", OPERATIONS)
def test_what_is_plain_is_what_its_model_makes_of_it(method):
    operation = OPERATIONS[method]
    is_plain = check_of(operation.request_name)

    @settings(max_examples=300, deadline=None)
    @given(st.one_of(fields_of(method), st.sampled_from([fields for name, fields in USUAL if name == method])))
    def holds(fields):
        if is_plain(fields):
            assert without_zeros(fields) == without_zeros(operation.request.model_validate(fields).to_json())

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
