"""The contract of the engines, with servers that do their worst: the same for both clients and every engine."""

from __future__ import annotations

import asyncio
import copy
import functools
import gc
import gzip
import json
import os
import pickle
import socket
import subprocess
import sys
import time
import tracemalloc
import warnings
from typing import Any

import httpx
import pytest

from prebuilds import (
    AsyncPrebuildClient,
    ConnectionFailedError,
    PrebuildClient,
    PrebuildsError,
    RequestTimeoutError,
    ResponseError,
    UnavailableError,
)

from .both import ID, KINDS, TOKEN, using
from .hostile import MIB, OK, each_engine, each_name, raw, repeated, retrieve, within
from .scripted import Answer, ScriptedServer, a_prebuild, an_error

OTHER = "another-token-0123456789"

ENDLESS = {
    "1xx responses": repeated(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n", 0.05),
    "100 responses": repeated(b"HTTP/1.1 100 Continue\r\n\r\n", 0.05),
    "headers that trickle": repeated(b"x", 0.05, b"HTTP/1.1 200 OK\r\nx-long: "),
    "a status line that trickles": repeated(b"O", 0.05, b"HTTP/1.1 200 "),
    "a body that trickles": repeated(b" ", 0.05, OK + b"content-length: 1000000\r\n\r\n"),
    "a chunked body that trickles": repeated(b"1\r\n \r\n", 0.05, OK + b"transfer-encoding: chunked\r\n\r\n"),
    "silence": lambda connection: time.sleep(5),
}


@each_engine
@pytest.mark.parametrize("name", ENDLESS)
def test_the_timeout_bounds_the_whole_call(kind, engine, name):
    def work() -> None:
        with pytest.raises(ConnectionFailedError) as caught:
            retrieve(kind, engine, url, timeout=0.4, retries=0)
        assert caught.value.maybe_executed
        assert isinstance(caught.value, RequestTimeoutError) or "interim" in str(caught.value) or "1xx" in name

    with raw(ENDLESS[name]) as url:
        within(0.4, work)


@each_engine
def test_connecting_is_bounded_too(kind, engine):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        # Its queue is full, so that the system answers no further attempt to connect.
        waiting = [socket.socket() for _ in range(3)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(address)

        def work() -> None:
            with pytest.raises(RequestTimeoutError) as caught:
                retrieve(kind, engine, f"http://127.0.0.1:{address[1]}", timeout=0.4, retries=0)
            assert not caught.value.maybe_executed

        within(0.4, work)
        for each in waiting:
            each.close()


@functools.cache
def bomb(megabytes: int) -> bytes:
    return gzip.compress(b'{"a": "' + b" " * megabytes * MIB, compresslevel=1)


@each_engine
@pytest.mark.parametrize("form", ["announced", "endless", "gzip bomb"])
def test_a_response_that_is_too_large_is_an_error_and_not_kept(kind, engine, form):
    limit = 2 * MIB
    if form == "announced":
        play = repeated(b" " * 65536, 0, OK + b"content-length: 1000000000\r\n\r\n")
    elif form == "endless":
        play = repeated(b"10000\r\n" + b" " * 65536 + b"\r\n", 0, OK + b"transfer-encoding: chunked\r\n\r\n")
    else:
        content = bomb(48)
        head = OK + f"content-encoding: gzip\r\ncontent-length: {len(content)}\r\n\r\n".encode()

        def play(connection: socket.socket) -> None:
            connection.sendall(head + content)

    with raw(play) as url:
        tracemalloc.start()
        try:
            with pytest.raises(ResponseError, match="max_response_bytes") as caught:
                retrieve(kind, engine, url, max_response_bytes=limit)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 6 * limit
    assert caught.value.status == 200
    assert caught.value.maybe_executed


@each_engine
def test_no_cookie_is_kept(kind, engine):
    with ScriptedServer(Answer(headers={"set-cookie": "session=of-the-first-token; Path=/"})) as server:

        def twice(client: Any) -> Any:
            other = client.with_options(bearer_token=OTHER)
            if kind == "sync":
                client.prebuilds.retrieve(prebuild_id=ID)
                return other.prebuilds.retrieve(prebuild_id=ID)

            async def both() -> Any:
                await client.prebuilds.retrieve(prebuild_id=ID)
                return await other.prebuilds.retrieve(prebuild_id=ID)

            return both()

        using(kind, twice, base_url=server.url, engine=engine)
    assert [request.headers["authorization"] for request in server.requests] == [f"Bearer {TOKEN}", f"Bearer {OTHER}"]
    assert not any("cookie" in request.headers for request in server.requests)


def test_no_cookie_is_kept_in_an_http_client_of_the_caller():
    with ScriptedServer(Answer(headers={"set-cookie": "session=1; Path=/"})) as server, httpx.Client() as http:
        http.cookies.set("mine", "1")
        with PrebuildClient(TOKEN, base_url=server.url, http_client=http) as client:
            client.prebuilds.retrieve(prebuild_id=ID)
            client.prebuilds.retrieve(prebuild_id=ID)
        assert "session" not in http.cookies
    assert not any("cookie" in request.headers for request in server.requests)


@each_name
def test_leaving_a_list_does_not_wait_for_the_next_page(engine):
    page = json.dumps({"prebuilds": [a_prebuild(), a_prebuild()], "pagination": {"nextToken": "1"}}).encode()
    pages = iter([page])

    def play(connection: socket.socket) -> None:
        body = next(pages, None)
        if body is None:
            time.sleep(10)
            return
        connection.sendall(OK + f"content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body)

    with raw(play) as url, PrebuildClient(TOKEN, base_url=url, engine=engine) as client:
        for number, _ in enumerate(client.prebuilds.list()):
            if number == 1:
                begin = time.monotonic()
                break
        assert time.monotonic() - begin < 0.2


@each_name
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_has_connections_permits_and_locks_of_its_own(engine):
    with ScriptedServer() as server, PrebuildClient(TOKEN, base_url=server.url, engine=engine) as client:
        client.prebuilds.retrieve(prebuild_id=ID)
        held = [client._connections.limiter().acquire(timeout=0) for _ in range(100)]
        assert all(held)
        client._connections._lock.acquire()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the server is a thread of this process
            child = os.fork()
        if child == 0:
            code = 1
            try:
                code = 0 if client.prebuilds.retrieve(prebuild_id=ID, timeout=5).prebuild else 2
            finally:
                os._exit(code)
        client._connections._lock.release()
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


@each_engine
def test_a_token_that_the_server_echoes_is_nowhere(kind, engine, caplog):
    caplog.set_level("DEBUG", "prebuilds")
    echo = an_error("unavailable", 503, f"not you, {TOKEN}", headers={"x-request-id": TOKEN, "x-echo": f"<{TOKEN}>"})
    attempts: list[Any] = []
    with ScriptedServer(echo) as server, pytest.raises(UnavailableError) as caught:
        retrieve(kind, engine, server.url, retries=1, on_attempt=attempts.append)
    error = caught.value
    kept = [str(error), repr(error.headers), error.message, repr(error.__cause__), caplog.text]
    kept += [f"{each.response.content!r} {dict(each.response.headers)} {each.request_id}" for each in attempts]
    assert not any(TOKEN in text for text in kept)
    assert "[token]" in error.message


@each_engine
def test_a_garbled_response_that_echoes_the_token_has_no_cause_that_shows_it(kind, engine):
    with (
        raw(lambda connection: connection.sendall(f"{TOKEN} {TOKEN}\r\n\r\n".encode())) as url,
        pytest.raises(ConnectionFailedError) as caught,
    ):
        retrieve(kind, engine, url, retries=0)
    link: BaseException | None = caught.value
    while link is not None:
        assert TOKEN not in f"{link} {link.args}"
        link = link.__cause__


GARBLED = {
    "a negative length": OK + b"content-length: -5\r\n\r\n{}",
    "a length with a sign": OK + b"content-length: +2\r\n\r\n{}",
    "two different lengths": OK + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{} ",
    "a chunk that is too large": OK + b"transfer-encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFFFF\r\n{}",
    "a body and no head": b'{"prebuild": {}}',
    "bytes of another protocol": bytes(range(256)) * 20,
    "no status": b"HTTP/1.1 1 X\r\n\r\n",
    "nothing": b"",
}


@each_engine
@pytest.mark.parametrize("name", GARBLED)
def test_a_response_that_breaks_the_rules_of_http_is_an_error_in_one_line(kind, engine, name):
    with (
        raw(lambda connection: connection.sendall(GARBLED[name])) as url,
        pytest.raises(ConnectionFailedError) as caught,
    ):
        retrieve(kind, engine, url, retries=0)
    assert caught.value.maybe_executed
    assert "\n" not in str(caught.value)


@each_engine
def test_another_protocol_is_not_waited_for(kind, engine):
    def play(connection: Any) -> None:
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n")
        time.sleep(5)

    begin = time.monotonic()
    with raw(play) as url, pytest.raises(PrebuildsError) as caught:
        retrieve(kind, engine, url, retries=0, timeout=4)
    assert time.monotonic() - begin < 2
    assert not isinstance(caught.value, RequestTimeoutError)


@pytest.mark.parametrize("make", [PrebuildClient, AsyncPrebuildClient])
def test_a_client_says_why_it_cannot_be_copied(make):
    client = make(TOKEN)
    for work in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="with_options"):
            work(client)


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_says_why_it_cannot_be_copied(kind):
    with ScriptedServer(Answer(body={"prebuilds": [a_prebuild()]})) as server:
        page = using(kind, lambda client: client.prebuilds.list(), base_url=server.url)
    for work in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match="take its items"):
            work(page)
    assert pickle.loads(pickle.dumps(page.items)) == page.items


@each_name
def test_a_client_can_be_used_in_several_event_loops_without_a_warning(engine):
    with ScriptedServer() as server, warnings.catch_warnings():
        warnings.simplefilter("error")
        client = AsyncPrebuildClient(TOKEN, base_url=server.url, engine=engine)
        for _ in range(3):
            assert asyncio.run(settled(client)).prebuild
            gc.collect()


async def settled(client: AsyncPrebuildClient) -> Any:
    return await client.prebuilds.retrieve(prebuild_id=ID)


@each_name
def test_a_list_can_be_a_task(engine):
    async def main() -> Any:
        async with AsyncPrebuildClient(TOKEN, base_url=server.url, engine=engine) as client:
            return await asyncio.create_task(client.prebuilds.list())

    with ScriptedServer(Answer(body={"prebuilds": [a_prebuild()]})) as server:
        assert len(asyncio.run(main()).prebuilds) == 1


@each_engine
def test_a_proxy_is_not_used_for_this_machine(kind, engine, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with ScriptedServer() as server:
        assert retrieve(kind, engine, server.url).prebuild


@pytest.mark.parametrize("kind", KINDS)
def test_the_fast_engine_does_not_load_httpx(kind):
    program = """
import asyncio, inspect, sys
import prebuilds
client = getattr(prebuilds, sys.argv[2])("a-token-0123456789", base_url=sys.argv[1], engine="fast")
outcome = client.prebuilds.retrieve(prebuild_id="1")
if inspect.isawaitable(outcome):
    asyncio.run(asyncio.wait_for(outcome, 10))
print("httpx" in sys.modules)
"""
    with ScriptedServer() as server:
        name = "PrebuildClient" if kind == "sync" else "AsyncPrebuildClient"
        command = [sys.executable, "-c", program, server.url, name]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.stdout, done.stderr) == ("False\n", "")


@each_engine
def test_redirects_are_not_followed(kind, engine):
    with ScriptedServer() as target, ScriptedServer(Answer(307, b"", {"location": target.url})) as server:
        with pytest.raises(PrebuildsError, match="redirects"):
            retrieve(kind, engine, server.url, retries=0)
        assert target.requests == []


class LyingTransport(httpx.HTTPTransport):
    """Sends the request, and calls a lost response a failure to connect."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        super().handle_request(request).close()
        raise httpx.ConnectError("all connection attempts failed")


def test_what_a_foreign_transport_calls_not_sent_is_not_repeated():
    with ScriptedServer() as server:
        with (
            PrebuildClient(TOKEN, base_url=server.url, transport=LyingTransport()) as client,
            pytest.raises(ConnectionFailedError) as caught,
        ):
            client.prebuilds.create(project_id=ID)
        assert len(server.requests) == 1
    assert caught.value.maybe_executed
