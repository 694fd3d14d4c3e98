from __future__ import annotations

import asyncio
import json
import socket
from random import Random
from urllib.parse import urlsplit

import pytest
from google.protobuf import json_format
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prebuild_wire import OPERATIONS
from prebuild_wire.descriptors import request_class

from .driver import PROJECT, SERVICE
from .fuzzing import ODD_BYTES, ODD_TEXTS, Fuzzer, Request, damaged, mutated


@pytest.mark.campaign(quick=1500, full=50_000)
def test_no_request_does_harm(size):
    """`make fuzz` sends more of these, and others each time."""
    fuzzer = Fuzzer()
    asyncio.run(fuzzer.run(range(size)))
    assert fuzzer.answers[200] > size / 20
    assert fuzzer.answers[400] > size / 4


@pytest.fixture
def send():
    """Sends a body to an emulator, and looks at what is stored then. Returns the status."""
    fuzzer = Fuzzer()

    async def send(method, body, content_type):
        status, _ = await fuzzer.ask(method, body, content_type)
        await fuzzer.read(limit=100)
        return status

    with asyncio.Runner() as runner:
        yield lambda *arguments: runner.run(send(*arguments))


# The machine may be busy with other tests.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=10)
    | st.sampled_from([*ODD_TEXTS, PROJECT])
    | st.text(st.characters(categories=["Cs"]), max_size=2)
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def bodies(method):
    """Objects with some of the fields of the request, whatever their values, and some that it does not have."""
    names = [name for field in request_class(method).DESCRIPTOR.fields for name in (field.json_name, field.name)]
    return st.dictionaries(st.sampled_from(names) | st.text(max_size=5), VALUES, max_size=4)


@pytest.mark.campaign(quick=40, full=3000)
def test_no_json_does_harm(send, size):
    @settings(UNHURRIED, max_examples=size)
    @given(st.data())
    def harmless(data):
        method = data.draw(st.sampled_from([*OPERATIONS]))
        body = json.dumps(data.draw(bodies(method))).encode(errors="surrogatepass")
        assert send(method, body, b"application/json") in (200, 400, 404, 409)

    harmless()


@pytest.mark.campaign(quick=80, full=3000)
def test_no_bytes_do_harm(send, size):
    @settings(UNHURRIED, max_examples=size)
    @given(st.sampled_from([*OPERATIONS]), st.binary(max_size=60))
    def harmless(method, body):
        assert send(method, body, b"application/proto") in (200, 400, 404, 409)

    harmless()


def test_no_odd_bytes_do_harm(send):
    for method in OPERATIONS:
        for body in ODD_BYTES:
            assert send(method, body, b"application/proto") in (200, 400, 404, 409), (method, body)


@pytest.mark.campaign(quick=1000, full=20_000)
def test_what_is_taken_in_JSON_protobuf_takes_too_and_both_get_the_same_answer(size):
    """The reference for protobuf JSON is more lenient than its specification, but never less."""
    fuzzer = Fuzzer()

    async def run():
        taken = 0
        for seed in range(size):
            random = Random(seed)
            method = random.choice(
                [name for name in OPERATIONS if name.startswith(("Get", "List", "CreateP", "Update"))]
            )
            fields = mutated(random, fuzzer.fields(random, method))
            text = json.dumps(fields)
            status, _ = await fuzzer.ask(method, text.encode(), b"application/json")
            try:
                message = json_format.Parse(text, request_class(method)(), ignore_unknown_fields=True)
            except (json_format.ParseError, UnicodeEncodeError):
                assert status == 400, text
                continue
            if status != 400:
                taken += 1
                assert (await fuzzer.ask(method, message.SerializeToString(), b"application/proto"))[0] == status, text
        return taken

    assert asyncio.run(run()) > size / 10


def test_nothing_on_a_socket_does_harm(emulator):
    """Whole requests with something in them flipped or lost, the lines of HTTP included."""
    address = urlsplit(emulator.url)
    for seed in range(300):
        random = Random(seed)
        method = random.choice([*OPERATIONS])
        body = json.dumps({"projectId": PROJECT, "spec": {}}).encode()
        request = (
            f"POST {SERVICE}/{method} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body
        for _ in range(random.randrange(1, 4)):
            request = damaged(random, request)
        with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            try:
                answer = connection.recv(65536)
            except ConnectionError:
                answer = b""
        assert not answer.startswith(b"HTTP/1.1 500"), request
    assert emulator.http.post(f"{SERVICE}/ListPrebuilds", json={}).status_code == 200


def test_the_harness_notices_a_failure(monkeypatch):
    """What looks for harm has to see it."""
    headers = [(b"authorization", b"Bearer x"), (b"content-type", b"application/json")]
    request = Request("POST", f"{SERVICE}/ListPrebuilds", b"", headers, [b"{}"], "ListPrebuilds")
    fuzzer = Fuzzer()
    asyncio.run(fuzzer.send(request))
    monkeypatch.setattr("prebuilds.emulator.protocol.base_url", None)
    with pytest.raises(AssertionError, match="internal"):
        asyncio.run(fuzzer.send(request))
