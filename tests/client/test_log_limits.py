"""The limits of time and memory for logs, with servers that break the rules: for both clients and every engine."""

from __future__ import annotations

import functools
import gzip
import itertools
import socket
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from prebuilds import LINE_CONTINUES, LogError, WaitTimeoutError
from prebuilds.logs import lines as log_lines
from prebuilds.logs.lines import MAX_LINE, Lines

from .both import ID, using
from .hostile import MIB, each_engine, raw, repeated, within
from .scripted import Answer, ScriptedServer, a_prebuild

TEXT = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n\r\n"


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(content), content)


def api(log_url: str, phase: str) -> ScriptedServer:
    def reply(request: Any) -> Answer:
        if request.path.endswith("CreatePrebuildLogsToken"):
            return Answer(body={"accessToken": "logs-token"})
        return Answer(body={"prebuild": a_prebuild(f"PREBUILD_PHASE_{phase}", logUrl=log_url)})

    return ScriptedServer(reply)


def read(
    kind: str, engine: str, play: Callable[[socket.socket], None], count: int, phase: str = "RUNNING", **options: Any
) -> list[str]:
    """At most `count` lines of a log whose server does what `play` does."""

    def sync(client: Any) -> list[str]:
        return list(itertools.islice(client.prebuilds.logs(ID, **options), count))

    async def asynchronous(client: Any) -> list[str]:
        lines = []
        async for line in client.prebuilds.logs(ID, **options):
            lines.append(line)
            if len(lines) == count:
                break
        return lines

    with raw(play) as url, api(url, phase) as service:
        work = sync if kind == "sync" else asynchronous
        return using(kind, work, base_url=service.url, engine=engine, retries=0)


@functools.cache
def compressed(content: bytes) -> bytes:
    return gzip.compress(content * (64 * MIB), compresslevel=1)


def peak_of(work: Callable[[], Any]) -> tuple[Any, int]:
    tracemalloc.start()
    try:
        return work(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@each_engine
def test_an_endless_line_arrives_in_pieces_within_bounded_memory(kind, engine):
    play = repeated(chunk(b"x" * 65536), 0, TEXT + CHUNKED)
    lines, peak = peak_of(lambda: read(kind, engine, play, 10))
    assert [len(line) for line in lines] == [MAX_LINE + len(LINE_CONTINUES)] * 10
    assert peak < 24 * MIB  # ten pieces, and what is under way


@each_engine
def test_a_compressed_log_that_expands_without_end_is_read_within_bounded_memory(kind, engine):
    bomb = compressed(b" ")

    def play(connection: socket.socket) -> None:
        head = TEXT + f"content-encoding: gzip\r\ncontent-length: {len(bomb)}\r\n\r\n".encode()
        connection.sendall(head + bomb)

    lines, peak = peak_of(lambda: read(kind, engine, play, 5))
    assert len(lines) == 5
    assert peak < 24 * MIB


def test_a_log_of_empty_lines_is_remembered_within_bounded_memory(monkeypatch):
    monkeypatch.setattr(log_lines, "_MAX_REMEMBERED", 1000)
    lines = Lines()
    assert sum(len(lines.feed(b"\n" * 100)) for _ in range(100)) == 10_000
    assert lines.count == 10_000
    assert len(lines._seen) <= 1000
    # The latest lines are still recognised.
    lines.begin()
    assert lines.feed(b"\n" * 500 + b"end\n") == ["end"]


ENDLESS = {
    "headers that trickle": repeated(b"x", 0.05, b"HTTP/1.1 200 OK\r\nx-long: "),
    "1xx responses": repeated(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n", 0.05),
    "an error that trickles": repeated(b"x", 0.05, b"HTTP/1.1 400 Bad Request\r\ncontent-length: 1000000\r\n\r\n"),
    "a line that trickles": repeated(chunk(b"x"), 0.05, TEXT + CHUNKED),
    "silence": lambda connection: time.sleep(5),
    "a head, and then silence": lambda connection: (connection.sendall(TEXT + CHUNKED), time.sleep(5)),
}


@each_engine
@pytest.mark.parametrize("name", ENDLESS)
def test_the_timeout_bounds_reading_a_log(kind, engine, name):
    def work() -> None:
        with pytest.raises((WaitTimeoutError, LogError)):
            read(kind, engine, ENDLESS[name], 1, timeout=0.4)

    within(0.4, work)


@each_engine
def test_leaving_a_log_does_not_wait_for_its_next_line(kind, engine):
    def play(connection: socket.socket) -> None:
        connection.sendall(TEXT + CHUNKED + chunk(b"first\n"))
        time.sleep(5)

    begin = time.monotonic()
    assert read(kind, engine, play, 1) == ["first"]
    assert time.monotonic() - begin < 1
