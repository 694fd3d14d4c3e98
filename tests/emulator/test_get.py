from __future__ import annotations

import base64
import gzip
import json
from urllib.parse import quote

import pytest

from prebuild_wire import OPERATIONS
from prebuild_wire.descriptors import request_class, response_class

from .driver import NOBODY, SERVICE


def get(emulator, query, method="GetPrebuild", **headers):
    return emulator.http.get(f"{SERVICE}/{method}?{query}", headers=headers)


def code(response):
    assert response.headers["content-type"] == "application/json"
    return response.status_code, response.json()["code"]


def message(prebuild_id):
    return json.dumps({"prebuildId": prebuild_id}).encode()


def test_a_method_that_reads_takes_its_request_from_the_query(emulator):
    prebuild_id = emulator.create()
    pool_id = emulator.create_pool()
    requests = {
        "GetPrebuild": {"prebuildId": prebuild_id},
        "ListPrebuilds": {"pagination": {"pageSize": 1}},
        "GetWarmPool": {"warmPoolId": pool_id},
        "ListWarmPools": {},
    }
    assert set(requests) == {name for name, item in OPERATIONS.items() if item.idempotency == "no_side_effects"}
    for method, fields in requests.items():
        response = get(emulator, f"encoding=json&message={quote(json.dumps(fields))}&connect=v1", method)
        assert response.status_code == 200, response.text
        assert response.headers["content-type"] == "application/json"
        assert response.json() == emulator.call(method, **fields)


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("encode", [base64.urlsafe_b64encode, base64.b64encode], ids=["url", "standard"])
@pytest.mark.parametrize("compressed", [True, False])
def test_a_binary_request_is_base64_of_any_kind(emulator, padded, encode, compressed):
    pool_id = emulator.create_pool()
    # An unknown field makes the base64 have the letters in which the alphabets differ.
    data = request_class("GetWarmPool")(warm_pool_id=pool_id).SerializeToString() + b"\xfa\x07\x05\xff\xfb\xef\xbe\xfe"
    text = encode(gzip.compress(data, mtime=0) if compressed else data).decode()
    query = f"encoding=proto&base64=1&message={text if padded else text.rstrip('=')}"
    response = get(emulator, query + "&compression=gzip" * compressed, "GetWarmPool")
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/proto"
    assert response_class("GetWarmPool").FromString(response.content).warm_pool.id == pool_id


def test_a_binary_request_may_be_escaped_byte_by_byte(emulator):
    prebuild_id = emulator.create()
    data = quote(request_class("GetPrebuild")(prebuild_id=prebuild_id).SerializeToString())
    response = get(emulator, f"encoding=proto&message={data}")
    assert response_class("GetPrebuild").FromString(response.content).prebuild.id == prebuild_id
    assert get(emulator, "encoding=proto&message=", "ListPrebuilds").status_code == 200


def test_json_may_be_base64_as_well(emulator):
    prebuild_id = emulator.create()
    text = base64.urlsafe_b64encode(message(prebuild_id)).decode()
    for query in (f"base64=1&message={text}", f"base64=0&message={quote(message(prebuild_id))}"):
        assert get(emulator, f"encoding=json&{query}").json()["prebuild"]["id"] == prebuild_id


def test_a_plus_is_a_blank(emulator):
    assert get(emulator, "encoding=json&message={+}", "ListPrebuilds").json() == {}


QUERIES = [
    ("", (415, "unknown")),
    ("message={}", (415, "unknown")),
    ("encoding=xml&message={}", (415, "unknown")),
    ("encoding=json", (400, "invalid_argument")),
    ("encoding=json&message=", (400, "invalid_argument")),
    ("encoding=json&message=%ff", (400, "invalid_argument")),
    ("encoding=json&message={}&connect=v2", (400, "invalid_argument")),
    ("encoding=json&message={}&compression=br", (501, "unimplemented")),
    ("encoding=json&message={}&compression=gzip", (400, "invalid_argument")),
    ("encoding=json&base64=1&message=*", (400, "invalid_argument")),
    ("encoding=json&base64=1&message=abcde", (400, "invalid_argument")),
    ("encoding=proto&message=%0a", (400, "invalid_argument")),
    ("&&=&%&encoding=json&message={}&message=[]", (200, None)),
]


def test_a_query_that_is_not_in_order(emulator):
    for query, expected in QUERIES:
        response = get(emulator, query, "ListPrebuilds")
        assert (response.status_code, response.json().get("code")) == expected, query


def test_errors_and_headers_are_those_of_a_POST(emulator):
    query = f"encoding=json&message={quote(message(NOBODY))}"
    assert code(get(emulator, query)) == (404, "not_found")
    assert code(get(emulator, query, **{"Connect-Protocol-Version": "2"})) == (400, "invalid_argument")
    assert code(get(emulator, query, **{"Connect-Timeout-Ms": "0"})) == (504, "deadline_exceeded")


def test_pages_are_turned_as_in_a_POST(emulator):
    made = [emulator.create() for _ in range(3)]
    query = f"encoding=json&message={quote(json.dumps({'pagination': {'pageSize': 1}}))}"
    first = get(emulator, query, "ListPrebuilds").json()
    assert [item["id"] for item in first["prebuilds"]] == made[2:]
    second = get(emulator, f"{query}&token={first['pagination']['nextToken']}&pageSize=5", "ListPrebuilds").json()
    assert [item["id"] for item in second["prebuilds"]] == made[1::-1]
