from __future__ import annotations

import math

from google.protobuf import json_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prebuild_wire import OPERATIONS
from prebuild_wire.descriptors import message_class, request_class, response_class
from prebuilds.emulator import binary

from .driver import ENVIRONMENT_CLASS, NOBODY, PROJECT, SERVICE


def request(method, **fields):
    return request_class(method)(**fields)


def ask(emulator, method, **fields):
    """The response to a binary call, which says the same as that to one in JSON would."""
    response = emulator.proto(method, request(method, **fields))
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/proto"
    return response_class(method).FromString(response.content)


def code(response):
    assert response.headers["content-type"] == "application/json"
    return response.status_code, response.json()["code"]


def send(emulator, data, method="ListPrebuilds"):
    return emulator.http.post(
        f"{SERVICE}/{method}", content=data, headers={"Content-Type": "application/proto", "Accept": "*/*"}
    )


# -- All methods


def test_a_prebuild_from_beginning_to_end(emulator):
    created = ask(
        emulator,
        "CreatePrebuild",
        project_id=PROJECT,
        environment_class_id=ENVIRONMENT_CLASS,
        spec={"timeout": {"seconds": 300, "nanos": 500_000_000}},
    ).prebuild
    assert created.spec.timeout.seconds == 300
    assert created.spec.timeout.nanos == 500_000_000
    assert created.metadata.created_at.seconds == int(emulator.clock.now().timestamp())
    emulator.clock.advance(1000)

    found = ask(emulator, "GetPrebuild", prebuild_id=created.id).prebuild
    assert found.status.snapshot_size_bytes > 2**32
    assert found.status.phase == 60
    assert json_format.MessageToDict(found) == emulator.prebuild(created.id)
    assert list(ask(emulator, "ListPrebuilds", filter={"phases": [60], "project_ids": [PROJECT]}).prebuilds) == [found]
    assert ask(emulator, "CreatePrebuildLogsToken", prebuild_id=created.id).access_token

    other = ask(emulator, "CreatePrebuild", project_id=PROJECT, spec={}).prebuild
    assert ask(emulator, "CancelPrebuild", prebuild_id=other.id).prebuild.status.phase in (75, 80)
    assert emulator.proto("DeletePrebuild", request("DeletePrebuild", prebuild_id=other.id)).content == b""


def test_a_warm_pool_from_beginning_to_end(emulator):
    made = ask(
        emulator, "CreateWarmPool", project_id=PROJECT, environment_class_id=ENVIRONMENT_CLASS, min_size=0, max_size=3
    )
    assert made.warm_pool.spec.HasField("min_size")
    assert made.warm_pool.spec.min_size == 0
    pool_id = made.warm_pool.id
    changed = ask(emulator, "UpdateWarmPool", warm_pool_id=pool_id, max_size=4).warm_pool
    assert (changed.spec.min_size, changed.spec.max_size) == (0, 4)
    assert ask(emulator, "UpdateWarmPool", warm_pool_id=pool_id, min_size=2).warm_pool.spec.min_size == 2
    assert ask(emulator, "UpdateWarmPool", warm_pool_id=pool_id, min_size=0).warm_pool.spec.min_size == 0
    found = ask(emulator, "GetWarmPool", warm_pool_id=pool_id).warm_pool
    assert json_format.MessageToDict(found) == emulator.pool(pool_id)
    assert list(ask(emulator, "ListWarmPools", filter={"environment_class_ids": [ENVIRONMENT_CLASS]}).warm_pools) == [
        found
    ]
    assert ask(emulator, "DeleteWarmPool", warm_pool_id=pool_id) == response_class("DeleteWarmPool")()


def test_pages_are_turned_in_the_body_and_in_the_query(emulator):
    for _ in range(3):
        emulator.create()
    seen = []
    token = ""
    while True:
        page = ask(emulator, "ListPrebuilds", pagination={"page_size": 1, "token": token})
        seen += [item.id for item in page.prebuilds]
        token = page.pagination.next_token
        if not token:
            break
    assert len(set(seen)) == 3
    first = request("ListPrebuilds", pagination={"page_size": 1})
    token = (
        response_class("ListPrebuilds").FromString(emulator.proto("ListPrebuilds", first).content).pagination.next_token
    )
    again = emulator.proto("ListPrebuilds", first, params={"token": token, "pageSize": "2"})
    assert [item.id for item in response_class("ListPrebuilds").FromString(again.content).prebuilds] == seen[1:]


def test_an_empty_body_is_an_empty_message(emulator):
    response = send(emulator, b"")
    assert (response.status_code, response.content) == (200, b"")


def test_an_error_is_JSON(emulator):
    assert code(emulator.proto("GetPrebuild", request("GetPrebuild", prebuild_id=NOBODY))) == (404, "not_found")
    assert code(send(emulator, b"", "GetPrebuild")) == (400, "invalid_argument")


# -- What is refused, and what is not


MALFORMED = [
    b"\x0a",  # breaks off behind a tag
    b"\x0a\x05\x08\x01",  # breaks off in a message
    b"\x0a\xff\xff\xff\xff\x0f",  # a length beyond everything
    b"\x0a\x04\x12\x02\xff\xfe",  # a token that is no UTF-8
    b"\x0a\x05\x12\x03\xed\xa0\x80",  # a token with a lone surrogate
    b"\x08" + b"\xff" * 11,  # a number without an end
    b"\x0f\x0f",  # no such wire type
    b"\x00\x01",  # a field with the number 0
    b"\x1b" * 5000,  # groups within groups
    b"\x0c",  # the end of a group that has not begun
    b"{}",
]


def test_a_malformed_message_is_an_invalid_argument(emulator):
    for data in MALFORMED:
        assert code(send(emulator, data)) == (400, "invalid_argument"), data


def test_fields_that_nobody_knows_are_ignored(emulator):
    known = request("CreatePrebuild", project_id=PROJECT, spec={}).SerializeToString()
    unknown = b"\xfa\x07\x03abc" + b"\xf8\x07\x01" + b"\xf3\x07\xf4\x07"
    assert send(emulator, unknown + known + unknown, "CreatePrebuild").status_code == 200


def test_an_enum_number_that_nobody_knows_is_an_invalid_argument(emulator):
    for phase in (7, -1, 2**31 - 1):
        answer = emulator.proto("ListPrebuilds", request("ListPrebuilds", filter={"phases": [60, phase]}))
        assert code(answer) == (400, "invalid_argument")
        assert "filter.phases[1]" in answer.json()["message"]


DURATIONS = [
    (300, 0, 200),
    (299, 999_999_999, 400),
    (7200, 0, 200),
    (7200, 1, 400),
    (-300, 0, 400),
    (2**62, 0, 400),
    (0, -1, 400),
]


def test_the_bounds_of_a_duration_are_exact(emulator):
    for seconds, nanos, status in DURATIONS:
        message = request("CreatePrebuild", project_id=PROJECT, spec={})
        message.spec.timeout.seconds = seconds
        message.spec.timeout.nanos = nanos
        assert emulator.proto("CreatePrebuild", message).status_code == status, (seconds, nanos)


# -- Turning messages


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_the_tables_say_what_the_reference_says(data):
    """Random messages of every request and response, against `json_format`."""
    method = data.draw(st.sampled_from([*OPERATIONS]))
    kind = data.draw(st.sampled_from([request_class(method), response_class(method)]))
    message = kind()
    fill(data, message)
    reference = json_format.MessageToDict(message)
    assert binary.encode(kind, reference) == message.SerializeToString()
    fields = binary.decode(kind, message.SerializeToString())
    assert json_format.ParseDict(fields, kind()) == message


def fill(data, message, depth=0):
    for field in message.DESCRIPTOR.fields:
        if not data.draw(st.booleans()):
            continue
        if field.default_value == []:
            values = getattr(message, field.name)
            for _ in range(data.draw(st.integers(1, 2))):
                if field.message_type:
                    fill(data, values.add(), depth + 1)
                else:
                    values.append(data.draw(scalar(field)))
        elif field.message_type is None:
            setattr(message, field.name, data.draw(scalar(field)))
        elif field.message_type.full_name == "google.protobuf.Duration":
            value = data.draw(st.integers(-315_576_000_000 * 10**9, 315_576_000_000 * 10**9))
            getattr(message, field.name).FromNanoseconds(value)
        elif field.message_type.full_name == "google.protobuf.Timestamp":
            value = data.draw(st.integers(-62135596800 * 10**9, 253402300799 * 10**9 + 999_999_999))
            getattr(message, field.name).FromNanoseconds(value)
        else:
            getattr(message, field.name).SetInParent()
            fill(data, getattr(message, field.name), depth + 1)


def scalar(field):
    if field.enum_type:
        return st.sampled_from([value.number for value in field.enum_type.values])
    return {
        field.CPPTYPE_STRING: st.text(st.characters(codec="utf-8"), max_size=5),
        field.CPPTYPE_INT32: st.integers(-(2**31), 2**31 - 1),
        field.CPPTYPE_INT64: st.integers(-(2**63), 2**63 - 1),
        field.CPPTYPE_UINT64: st.integers(0, 2**64 - 1),
    }[field.cpp_type]


def test_what_has_no_field_has_no_binary_form():
    kind = message_class("Subject")
    assert binary.encode(kind, {"id": "a", "nickname": "b"}) == kind(id="a").SerializeToString()


def test_kinds_of_fields_that_no_table_has_are_left_to_the_reference():
    file = FileDescriptorProto(name="extra.proto", syntax="proto3")
    message = file.message_type.add(name="Extra")
    message.field.add(name="share", json_name="share", number=1, type=1, label=1)
    message.field.add(name="blob", json_name="blob", number=2, type=12, label=1)
    pool = DescriptorPool()
    pool.Add(file)
    kind = GetMessageClass(pool.FindMessageTypeByName("Extra"))
    fields = binary.decode(kind, kind(share=math.inf, blob=b"\xff").SerializeToString())
    assert fields == {"share": "Infinity", "blob": "/w=="}
    assert binary.encode(kind, fields) == kind(share=math.inf, blob=b"\xff").SerializeToString()
