from __future__ import annotations

import gzip
import zlib

import pytest

from prebuild_wire.descriptors import request_class, response_class

from .driver import PROJECT, SERVICE

BODY_LIMIT = 4 * 1024 * 1024


def send(emulator, content, encoding="gzip", method="ListPrebuilds", content_type="application/json"):
    headers = {"Content-Type": content_type, "Content-Encoding": encoding}
    return emulator.http.post(f"{SERVICE}/{method}", content=content, headers=headers)


def code(response):
    return response.status_code, response.json()["code"]


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip"])
def test_a_request_may_be_gzip(emulator, encoding):
    body = gzip.compress(f'{{"projectId": "{PROJECT}", "spec": {{}}}}'.encode())
    assert send(emulator, body, encoding, "CreatePrebuild").status_code == 200
    message = request_class("CreatePrebuild")(project_id=PROJECT, spec={}).SerializeToString()
    answer = send(emulator, gzip.compress(message), encoding, "CreatePrebuild", "application/proto")
    assert answer.status_code == 200


@pytest.mark.parametrize("encoding", ["identity", "Identity", ""])
def test_a_request_may_say_that_it_is_not_compressed(emulator, encoding):
    assert send(emulator, b"{}", encoding).status_code == 200


def test_other_encodings_are_unimplemented_and_the_known_ones_are_told(emulator):
    for encoding in ("br", "deflate", "zstd", "gzip, gzip", "gzip;q=1", "*"):
        response = send(emulator, b"{}", encoding)
        assert code(response) == (501, "unimplemented"), encoding
        assert response.headers["accept-encoding"] == "gzip, identity", encoding


def test_a_header_that_comes_twice_is_a_list(emulator):
    twice = [("Content-Type", "application/json"), ("Content-Encoding", "gzip"), ("Content-Encoding", "identity")]
    assert code(emulator.http.post(f"{SERVICE}/ListPrebuilds", content=b"{}", headers=twice)) == (501, "unimplemented")


PACKED = gzip.compress(b"{}", mtime=0)


def test_damaged_gzip_is_an_invalid_argument(emulator):
    damaged = [PACKED[:-1], PACKED[:5], PACKED + b"x", PACKED + PACKED, PACKED[:-8] + b"\0" * 8]
    for content in (b"{}", *damaged, zlib.compress(b"{}")):
        assert code(send(emulator, content)) == (400, "invalid_argument"), content


def test_an_empty_body_needs_no_unpacking(emulator):
    assert send(emulator, b"", content_type="application/proto").status_code == 200
    assert code(send(emulator, b"")) == (400, "invalid_argument")


def test_the_limit_holds_for_what_is_unpacked(emulator):
    body = b"{}".ljust(BODY_LIMIT)
    assert send(emulator, gzip.compress(body)).status_code == 200
    assert code(send(emulator, gzip.compress(body + b" "))) == (413, "resource_exhausted")
    bomb = gzip.compress(b" " * (10 * BODY_LIMIT), 1)
    assert len(bomb) < BODY_LIMIT
    assert code(send(emulator, bomb)) == (413, "resource_exhausted")


@pytest.fixture
def large(emulator):
    """A list whose page is large enough to be compressed."""
    for _ in range(10):
        emulator.create()
    return emulator


def fetch(emulator, accepted, method="ListPrebuilds", **options):
    return emulator.post(method, {}, headers={"Accept-Encoding": accepted}, **options)


def test_a_large_response_is_compressed_for_those_who_take_it(large):
    ranked = ["gzip;q=0.001", "gzip ; q=1.0", "*;q=0.5", "gzip;q=1, identity;q=0.5"]
    for accepted in ("gzip", "GZIP", "br, gzip", "*", "x-gzip", *ranked):
        response = fetch(large, accepted)
        assert response.headers.get("content-encoding") == "gzip", accepted
        assert response.headers["vary"] == "Accept-Encoding", accepted
        assert len(response.json()["prebuilds"]) == 10
        assert int(response.headers["content-length"]) < len(response.content) / 2


def test_it_is_not_for_those_who_do_not(large):
    ranked = ["gzip;q=0", "gzip;q=0.000", "gzip;q=0, *", "gzip;q=0.5, identity", "gzip;q=much"]
    for accepted in ("", "identity", "br", "gzipped", *ranked):
        response = fetch(large, accepted)
        assert "content-encoding" not in response.headers, accepted
        assert response.headers["vary"] == "Accept-Encoding", accepted
        assert len(response.json()["prebuilds"]) == 10


def test_a_small_response_is_never_compressed(emulator):
    response = fetch(emulator, "gzip")
    assert "content-encoding" not in response.headers
    assert response.json() == {}


def test_a_binary_response_is_compressed_too(large):
    message = request_class("ListPrebuilds")()
    response = large.proto("ListPrebuilds", message, headers={"Accept-Encoding": "gzip"})
    assert response.headers["content-encoding"] == "gzip"
    assert len(response_class("ListPrebuilds").FromString(response.content).prebuilds) == 10
