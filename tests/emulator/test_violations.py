from __future__ import annotations

import base64

import pytest

from prebuild_wire.descriptors import request_class
from prebuilds.emulator import details

from .driver import ENVIRONMENT_CLASS, PROJECT


def fields_of(data):
    """The fields of a protobuf message, read by hand: their numbers with a number or bytes each."""

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    at = 0
    found = []
    while at < len(data):
        tag = number()
        if tag & 7 == 0:
            found.append((tag >> 3, number()))
        else:
            assert tag & 7 == 2
            length = number()
            found.append((tag >> 3, data[at : at + length]))
            at += length
    return found


def path_of(data):
    """A path as the field numbers and names in it, with the index of an item behind its list."""
    steps = []
    for number, element in fields_of(data):
        assert number == 1
        parts = dict(fields_of(element))
        assert isinstance(parts[3], int)
        steps.append(f"{parts[1]}:{parts[2].decode()}" + (f"[{parts[6]}]" if 6 in parts else ""))
    return ".".join(steps)


def violations(response):
    """Each violation of a detail: the paths of field and rule, and the rule's id, by the published numbers."""
    assert (response.status_code, response.json()["code"]) == (400, "invalid_argument")
    (detail,) = response.json()["details"]
    assert detail["type"] == "buf.validate.Violations"
    assert "=" not in detail["value"]
    found = []
    for number, violation in fields_of(base64.b64decode(detail["value"] + "==")):
        assert number == 1
        parts = dict(fields_of(violation))
        assert parts[3].decode() in response.json()["message"]
        found.append((path_of(parts[5]), path_of(parts.get(6, b"")), parts.get(2, b"").decode()))
    return found


UUID = "14:string.22:uuid"
REQUIRED = "25:required"
ITEMS = "18:repeated.4:items."


# What the published validator answers to the same messages.
CASES = [
    (
        "CreatePrebuild",
        {
            "projectId": "x",
            "environmentClassId": "",
            "spec": {"timeout": "1s", "desiredPhase": 7},
        },
        [
            ("1:project_id", UUID, "string.uuid"),
            ("2:environment_class_id", UUID, "string.uuid_empty"),
            ("3:spec.2:desired_phase", "16:enum.2:defined_only", "enum.defined_only"),
            ("3:spec.3:timeout", "21:duration.6:gte", "duration.gte_lte"),
        ],
    ),
    ("CreatePrebuild", {}, [("1:project_id", REQUIRED, "required"), ("3:spec", REQUIRED, "required")]),
    (
        "ListPrebuilds",
        {
            "pagination": {"pageSize": 101},
            "filter": {"projectIds": ["x", "", *[PROJECT] * 25], "phases": [3]},
        },
        [
            ("1:pagination.1:page_size", "3:int32.5:gte", "int32.gte_lte"),
            ("2:filter.1:project_ids", "18:repeated.2:max_items", "repeated.max_items"),
            ("2:filter.1:project_ids[0]", ITEMS + UUID, "string.uuid"),
            ("2:filter.1:project_ids[1]", ITEMS + UUID, "string.uuid_empty"),
            ("2:filter.2:phases[0]", ITEMS + "16:enum.2:defined_only", "enum.defined_only"),
        ],
    ),
    (
        "CreateWarmPool",
        {"projectId": PROJECT, "environmentClassId": ENVIRONMENT_CLASS, "desiredSize": 21, "minSize": -1, "maxSize": 0},
        [
            ("3:desired_size", "3:int32.5:gte", "int32.gte_lte"),
            ("4:min_size", "3:int32.5:gte", "int32.gte_lte"),
            ("5:max_size", "3:int32.5:gte", "int32.gte_lte"),
        ],
    ),
]


@pytest.mark.parametrize(("method", "fields", "expected"), CASES)
@pytest.mark.parametrize("codec", ["json", "proto"])
def test_every_broken_bound_is_told_at_once(emulator, method, fields, expected, codec):
    if codec == "json":
        response = emulator.post(method, fields)
    else:
        snake = {"projectIds": "project_ids", "pageSize": "page_size"}

        def arguments(value):
            if not isinstance(value, dict):
                return value
            return {
                snake.get(key, "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in key)): (
                    {"seconds": 1} if key == "timeout" else arguments(item)
                )
                for key, item in value.items()
            }

        response = emulator.proto(method, request_class(method)(**arguments(fields)))
    assert sorted(violations(response)) == sorted(expected)


def test_values_of_the_wrong_type_are_told_beside_broken_bounds(emulator):
    response = emulator.post(
        "ListPrebuilds", {"pagination": {"pageSize": "many"}, "filter": {"projectIds": [5, "x"], "phases": [None]}}
    )
    assert violations(response) == [
        ("1:pagination.1:page_size", "", ""),
        ("2:filter.1:project_ids[0]", "", ""),
        ("2:filter.1:project_ids[1]", ITEMS + UUID, "string.uuid"),
        ("2:filter.2:phases[0]", "", ""),
    ]


def test_the_order_of_the_bounds_of_a_pool_has_an_id_of_its_own(emulator):
    sizes = {"projectId": PROJECT, "environmentClassId": ENVIRONMENT_CLASS, "minSize": 3, "maxSize": 2}
    assert violations(emulator.post("CreateWarmPool", sizes)) == [("4:min_size", "", "min_size.ordered")]


@pytest.mark.parametrize(("size", "expected"), [("minSize", "3:min_size"), ("maxSize", "4:max_size")])
def test_a_bound_that_does_not_go_with_the_stored_one_is_told_of_as_well(emulator, size, expected):
    pool_id = emulator.create_pool(minSize=5, maxSize=5)
    given = {"warmPoolId": pool_id, size: 6 if size == "minSize" else 4}
    assert violations(emulator.post("UpdateWarmPool", given)) == [(expected, "", f"{size[:3]}_size.ordered")]


def test_the_query_and_the_body_are_told_of_together(emulator):
    response = emulator.http.post(
        "/gitpod.v1.PrebuildService/ListPrebuilds?pageSize=101", json={"filter": {"creatorIds": ["x"]}}
    )
    assert violations(response) == [
        ("2:filter.4:creator_ids[0]", ITEMS + UUID, "string.uuid"),
        ("1:pagination.1:page_size", "3:int32.5:gte", "int32.gte_lte"),
    ]


def test_a_hundred_violations_are_told_and_the_rest_is_counted(emulator):
    response = emulator.post("ListPrebuilds", {"filter": {"projectIds": ["x"] * 150}})
    assert len(violations(response)) == 100
    assert response.json()["message"].endswith("and 51 more")


def test_the_hint_when_to_come_back_is_a_duration():
    detail = details.retry_info(1.5)
    assert detail["type"] == "google.rpc.RetryInfo"
    ((number, duration),) = fields_of(base64.b64decode(detail["value"] + "=="))
    assert number == 1
    assert fields_of(duration) == [(1, 1), (2, 500_000_000)]
    assert detail["debug"] == {"retryDelay": "1.500s"}
    for seconds in (-1, float("nan")):
        with pytest.raises(ValueError, match="number of seconds"):
            details.retry_info(seconds)
