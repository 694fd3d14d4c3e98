"""Servers on a raw socket that break the rules, and calls to them by either client with either engine."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from .both import ID, using

MIB = 2**20
LEEWAY = 0.5
"""Seconds by which a call may exceed its timeout."""

each_engine = pytest.mark.parametrize(
    ("kind", "engine"), [("sync", "httpx"), ("sync", "fast"), ("async", "httpx"), ("async", "fast")]
)
each_name = pytest.mark.parametrize("engine", ["httpx", "fast"])


@contextmanager
def raw(play: Callable[[socket.socket], None]) -> Iterator[str]:
    """The URL of a server that reads the head of a request, and then does what `play` does with the connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

        def answer(connection: socket.socket) -> None:
            with connection:
                try:
                    connection.recv(65536)
                    play(connection)
                except OSError:
                    pass  # the client has hung up

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def repeated(piece: bytes, pause: float, head: bytes = b"") -> Callable[[socket.socket], None]:
    """Sends a piece again and again."""

    def play(connection: socket.socket) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(piece)
            time.sleep(pause)

    return play


def within(seconds: float, work: Callable[[], object]) -> None:
    """Check that some work takes no longer, and a little. A busy machine may take longer once or twice."""
    for _ in range(3):
        begin = time.monotonic()
        work()
        duration = time.monotonic() - begin
        if duration < seconds + LEEWAY:
            return
    pytest.fail(f"it took {duration:.2f} s, and {seconds + LEEWAY} were allowed")


def retrieve(kind: str, engine: str, url: str, **options: Any) -> Any:
    return using(kind, lambda client: client.prebuilds.retrieve(prebuild_id=ID), base_url=url, engine=engine, **options)


OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
