"""What the kit's HTTP client makes of what a server sends, byte by byte."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from itertools import pairwise

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prebuilds.contract import http1
from prebuilds.contract.http1 import Connection, HttpError, NothingCameError
from prebuilds.contract.transports import HttpTransport
from prebuilds.contract.wire import Request

TOKEN = st.text("abcXYZ-09", min_size=1, max_size=12).map(lambda text: f"x-{text}")
VALUE = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30)


@contextmanager
def served(*pieces: bytes, close: bool = True):
    """A connection to a server that sends these pieces, whatever it is asked, and no more then."""
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with suppress(ConnectionError):  # they may have seen enough
            for piece in pieces:
                theirs.sendall(piece)
            if close:
                theirs.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=serve)
    thread.start()
    connection = Connection(ours)
    try:
        yield connection
    finally:
        connection.close()
        thread.join()
        theirs.close()


def ask(*pieces: bytes, verb: str = "POST", enough: int | None = None):
    with served(*pieces) as connection:
        return connection.exchange(verb, b"", timeout=5, enough=enough)


@settings(max_examples=200, deadline=None)
@given(
    status=st.sampled_from((200, 204, 304, 400, 404, 500, 599)),
    headers=st.dictionaries(TOKEN, VALUE, max_size=5),
    parts=st.lists(st.binary(min_size=1, max_size=300), max_size=4),
    framing=st.sampled_from(("length", "chunks", "close")),
    verb=st.sampled_from(("POST", "GET", "HEAD")),
    informed=st.booleans(),
    cuts=st.lists(st.integers(0, 1500), max_size=5),
)
def test_an_answer_is_what_h11_has_written_in_whatever_pieces_it_comes(
    status, headers, parts, framing, verb, informed, cuts
):
    bodiless = verb == "HEAD" or status in (204, 304)
    body = b"" if bodiless else b"".join(parts)
    server = h11.Connection(h11.SERVER)
    server.receive_data(f"{verb} / HTTP/1.{0 if framing == 'close' else 1}\r\nHost: x\r\n\r\n".encode())
    server.next_event()
    sent = [*headers.items()]
    if framing == "length" and status not in (204, 304):
        sent.append(("Content-Length", str(len(b"".join(parts)))))
    stream = server.send(h11.InformationalResponse(status_code=103, headers=[("link", "x")])) if informed else b""
    stream = stream or b""
    stream += server.send(h11.Response(status_code=status, headers=sent)) or b""
    for part in () if bodiless else parts:
        stream += server.send(h11.Data(data=part)) or b""
    stream += server.send(h11.EndOfMessage()) or b""
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    response = ask(*(stream[start:end] for start, end in pairwise(places)), verb=verb)
    assert (response.status, response.body) == (status, body)
    assert {name: value for name, value in response.headers.items() if name.startswith("x-")} == {
        name.lower(): value for name, value in headers.items()
    }
    assert response.closes == (framing == "close")


def test_one_answer_comes_after_another_on_the_same_connection():
    first = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\n{}\r\n0\r\nX-Trailer: x\r\n\r\n"
    ours, theirs = socket.socketpair()
    connection = Connection(ours)
    with theirs:
        for body in (b"{}", b"[1]"):
            theirs.sendall(first if body == b"{}" else b"HTTP/1.1 200 \r\ncontent-length: 3\r\n\r\n[1]")
            response = connection.exchange("POST", b"question", timeout=5)
            assert (response.body, response.closes) == (body, False)
            assert theirs.recv(100) == b"question"
    connection.close()


@pytest.mark.parametrize(
    ("stream", "body", "closes"),
    [
        (b"HTTP/1.1 200 OK\n content\nContent-Length: 2\n\n{}", None, None),
        (b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}", b"{}", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}", b"{}", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: x, Close\r\n\r\n{}", b"{}", True),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", b"{}", True),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\n{}", b"{}", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 500 What\r\n\r\n", b"{}", True),
        (b"HTTP/1.1 100 Go on\r\n\r\nHTTP/1.1 200\r\nContent-Length: 2\r\n\r\n{}", b"{}", False),
    ],
)
def test_what_is_unusual(stream, body, closes):
    if body is None:
        with pytest.raises(HttpError):
            ask(stream)
        return
    response = ask(stream)
    assert (response.status, response.body, response.closes) == (200, body, closes)


def test_a_header_may_go_on_in_the_next_line():
    response = ask(b"HTTP/1.1 200 OK\r\nX-Long: one\r\n  two\r\nX: \xe4\r\nX: last\r\nContent-Length: 0\r\n\r\n")
    assert (response.headers["x-long"], response.headers["x"]) == ("one two", "last")


@pytest.mark.parametrize(
    ("stream", "said"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Le", "has no end"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "no status"),
        (b"HTTP/1.1 99 Low\r\n\r\n", "no status"),
        (b"HTTP/2 200\r\n\r\n", "no status"),
        (b"HTTP/1.1 101 Switching\r\n\r\n", "another protocol"),
        (b"HTTP/1.1 200 OK\r\nno header\r\n\r\n", "no header"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}", "too early, after 2 of 3"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\n{}", "content-length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", "content-length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n{}", "more than"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n{}", "transfer encoding gzip"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzwei\r\n{}\r\n0\r\n\r\n", "no size"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n", "longer than"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", "too early"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffff\r\n{}", "more than"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50_000, "more than"),
    ],
)
def test_what_is_no_answer_is_told(stream, said):
    with pytest.raises(HttpError, match=said):
        ask(stream)


def test_nothing_at_all_is_something_else():
    with pytest.raises(NothingCameError):
        ask(b"")


@pytest.mark.parametrize("head", [b"", b"Content-Length: 10\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_the_beginning_of_a_stream_is_enough(head):
    stream = b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + (b"5\r\n" if b"chunked" in head else b"")
    with served(stream, b"12345", close=False) as connection:
        response = connection.exchange("GET", b"", timeout=5, enough=3)
    assert response.closes
    assert b"123".startswith(response.body)
    assert response.body


def test_an_answer_that_drips_ends_in_time():
    """The time is for all of it, and not for each of its bytes."""
    ours, theirs = socket.socketpair()
    over = threading.Event()

    def drip() -> None:
        theirs.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        while not over.wait(0.01):
            theirs.sendall(b"x")

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        with pytest.raises(TimeoutError):
            Connection(ours).exchange("POST", b"", timeout=0.1)
    finally:
        over.set()
        thread.join()
        ours.close()
        theirs.close()


def test_an_answer_to_half_a_request_is_read():
    """A server that takes no body of that size has answered, and closed the connection, long before its end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 413 Too large\r\nContent-Length: 2\r\n\r\n{}")
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass

        thread = threading.Thread(target=refuse)
        thread.start()
        connection = Connection(socket.create_connection(listener.getsockname()))
        try:
            assert connection.exchange("POST", b"x" * 10_000_000, timeout=10).status == 413
        finally:
            connection.close()
            thread.join()


@contextmanager
def counting(*, keeps: bool):
    """A server that says it keeps connections open, and perhaps does; and the connections and requests it has seen."""
    seen: list[list[bytes]] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    seen.append([])
                    with connection:
                        while (request := connection.recv(65536)) and request != b"stop":
                            seen[-1].append(request)
                            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
                            if not keeps:
                                break
                        if request == b"stop":
                            return

        thread = threading.Thread(target=serve)
        thread.start()
        transport = HttpTransport(f"http://127.0.0.1:{listener.getsockname()[1]}")
        try:
            yield transport, seen
        finally:
            transport.close()
            with socket.create_connection(listener.getsockname()) as last:
                last.sendall(b"stop")
            thread.join()


def test_what_makes_something_shares_a_connection_once_the_server_has_shown_to_keep_it():
    with counting(keeps=True) as (transport, seen):
        for _ in range(3):
            transport.send(Request("CreatePrebuild", b"{}"))
        assert len(seen) == 3
        for _ in range(40):
            transport.send(Request("GetPrebuild", b"{}"))
        for _ in range(3):
            transport.send(Request("CreatePrebuild", b"{}"))
        assert len(seen) == 3


def test_a_server_that_closes_each_connection_is_sent_everything_once():
    with counting(keeps=False) as (transport, seen):
        for number in range(100):
            method = "CreatePrebuild" if number % 3 else "GetPrebuild"
            assert transport.send(Request(method, b"%d" % number)).status == 200
        bodies = [request.rpartition(b"\r\n")[2] for requests in seen for request in requests]
        assert bodies == [b"%d" % number for number in range(100)]


def test_a_request_is_written_as_it_is_wanted():
    written = http1.request("POST", "/a?b=%20", "[::1]:80", (("X", "y"), ("Z", "\xe4")), b"{}")
    assert written == b"POST /a?b=%20 HTTP/1.1\r\nHost: [::1]:80\r\nContent-Length: 2\r\nX: y\r\nZ: \xe4\r\n\r\n{}"
    assert http1.request("GET", "/", "x", (), None) == b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        ("/a b", ()),
        ("/\xe4", ()),
        ("/\n", ()),
        ("/", (("X", "a\r\nY: b"),)),
        ("/", (("X Y", "a"),)),
        ("/", (("", "a"),)),
    ],
)
def test_what_would_break_a_request_up_is_refused(target, headers):
    with pytest.raises(ValueError, match=r"character"):
        http1.request("GET", target, "x", headers, None)
