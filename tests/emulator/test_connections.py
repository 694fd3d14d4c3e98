"""What a connection to the emulator takes, byte by byte."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from urllib.parse import urlsplit

import h11
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .driver import PROJECT, SERVICE, Driver


class Wire:
    """A connection on which every byte is sent as it is wanted, and h11 reads what comes."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._reader = h11.Connection(h11.CLIENT)

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.sock.sendall(piece)

    def answer(self, verb: str = "POST") -> tuple[int, dict[str, str], bytes]:
        """The next answer, to a request with that method."""
        self._reader.send(h11.Request(method=verb, target="/", headers=[("Host", "x")]))
        self._reader.send(h11.EndOfMessage())
        status, headers, body = 0, {}, b""
        while True:
            event = self._reader.next_event()
            match event:
                case h11.NEED_DATA:
                    self._reader.receive_data(self.sock.recv(65536))
                case h11.Response():
                    status = event.status_code
                    headers = {name.decode(): value.decode() for name, value in event.headers}
                case h11.Data():
                    body += event.data
                case h11.EndOfMessage():
                    if self._reader.our_state is h11.DONE and self._reader.their_state is h11.DONE:
                        self._reader.start_next_cycle()
                    return status, headers, body
                case _:
                    raise AssertionError(event)


@contextmanager
def connected(emulator: Driver) -> Iterator[Wire]:
    address = urlsplit(emulator.url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield Wire(sock)


def request(method: str, fields: object, *headers: str, verb: str = "POST") -> bytes:
    body = json.dumps(fields).encode()
    lines = [
        f"{verb} {SERVICE}/{method} HTTP/1.1",
        "Host: localhost",
        "Authorization: Bearer x",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@settings(max_examples=40, deadline=None, suppress_health_check=[*HealthCheck])
@given(cuts=st.lists(st.integers(0, 600), max_size=6))
def test_requests_may_come_in_any_pieces_and_one_behind_the_other(emulator, cuts):
    stream = request("CreatePrebuild", {"projectId": PROJECT, "spec": {}}) + request("ListPrebuilds", {})
    stream += request("GetPrebuild", {"prebuildId": PROJECT})
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    with connected(emulator) as wire:
        wire.send(*[stream[start:end] for start, end in pairwise(places)])
        status, _, body = wire.answer()
        assert status == 200
        made = json.loads(body)["prebuild"]["id"]
        status, _, body = wire.answer()
        assert (status, json.loads(body)["prebuilds"][0]["id"]) == (200, made)
        assert wire.answer()[0] == 404


@pytest.mark.parametrize("verb", ["BREW", "MKCALENDAR", "CONNECT", "M-SEARCH", "get", "X"])
def test_a_method_that_nobody_knows_is_refused_by_its_name(emulator, verb):
    with connected(emulator) as wire:
        for _ in range(2):  # the connection goes on
            wire.send(request("GetPrebuild", {}, verb=verb))
            status, headers, _ = wire.answer()
            assert (status, headers["allow"]) == (405, "GET, POST")
        wire.send(request("ListPrebuilds", {}))
        assert wire.answer()[0] == 200
    assert [record.http_method for record in emulator.control.requests()][:2] == [verb, verb]


def test_a_head_may_be_long_but_not_too_long(emulator):
    with connected(emulator) as wire:
        wire.send(request("ListPrebuilds", {}, f"X-Long: {'x' * 60_000}"))
        assert wire.answer()[0] == 200
        wire.send(request("ListPrebuilds", {}, f"X-Long: {'x' * 66_000}"))
        status, headers, _ = wire.answer()
        assert (status, headers["connection"]) == (431, "close")
        assert wire.sock.recv(1) == b""


@pytest.mark.parametrize("piece", [b"x" * 1000, b"y\r\nX: "])
def test_a_head_without_an_end_is_not_read_for_ever(emulator, piece):
    with connected(emulator) as wire:
        wire.send(f"POST {SERVICE}/ListPrebuilds HTTP/1.1\r\nHost: localhost\r\nX: ".encode())
        for _ in range(70_000 // len(piece)):
            try:
                wire.send(piece)
            except ConnectionError:
                break
        with suppress(ConnectionError):  # the end of what was sent may have met a closed connection
            assert wire.answer()[0] == 431


@pytest.mark.parametrize(
    "headers", [("Connection: Upgrade", "Upgrade: websocket"), ("Connection: Upgrade", "Upgrade: h2c")]
)
def test_an_upgrade_is_not_taken_up(emulator, headers):
    with connected(emulator) as wire:
        wire.send(request("ListPrebuilds", {}, *headers))
        assert wire.answer()[0] == 200


def test_a_body_is_sent_for_where_it_is_expected(emulator):
    whole = request("ListPrebuilds", {}, "Expect: 100-continue")
    with connected(emulator) as wire:
        wire.send(whole[:-2])
        assert wire.sock.recv(100).startswith(b"HTTP/1.1 100 ")
        wire.send(whole[-2:])
        assert wire.answer()[0] == 200


@pytest.mark.parametrize(
    "line", ["POST", "POST / HTTP/3.0", "POST / HTTP/1.1\r\nNo header at all", "\0\1\2", "POST /\xe4 HTTP/1.1"]
)
def test_what_is_no_request_is_refused_and_the_connection_closed(emulator, line):
    with connected(emulator) as wire:
        wire.send(line.encode("latin-1") + b"\r\n\r\n")
        assert wire.answer()[0] == 400
        assert wire.sock.recv(1) == b""


def test_an_answer_comes_in_one_piece(emulator):
    with connected(emulator) as wire:
        wire.send(request("ListPrebuilds", {}))
        head, _, body = wire.sock.recv(65536).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert body == b"{}"
