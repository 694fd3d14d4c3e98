"""The emulator and what it is compared with, each in a process of its own, and something that calls them."""

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

SERVICE = "/gitpod.v1.PrebuildService"

# Answers every call with what a file holds, on the same server with the same settings as the emulator's.
BARE = """
import socket, sys
import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

content = open(sys.argv[1], "rb").read()

async def answer(request):
    return Response(content, media_type="application/json")

app = Starlette(routes=[Route("/gitpod.v1.PrebuildService/{method}", answer, methods=["POST"])])
# The protocol is named, or asyncio would not switch Nagle's algorithm off and each answer would wait for it.
listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", int(sys.argv[2])))
listener.listen()
print(f"listening on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
uvicorn.Server(uvicorn.Config(app, access_log=False, lifespan="off", log_config=None)).run(sockets=[listener])
"""

EMULATOR = """
import sys
from pathlib import Path
from prebuilds.emulator.server import run
data, speed = sys.argv[1:]
sys.exit(run(speed=float(speed), data=Path(data) if data else None))
"""


@contextmanager
def bare(content: bytes) -> Iterator[int]:
    """The port of a bare Starlette application that answers `content`."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder, "answer")
        answer.write_bytes(content)
        with _running([sys.executable, "-c", BARE, str(answer), "0"]) as port:
            yield port


@contextmanager
def emulator(data: Path | str = "", speed: float = 60) -> Iterator[int]:
    """The port of an emulator, which keeps everything in the file `data`, if that is given."""
    with _running([sys.executable, "-c", EMULATOR, str(data), str(speed)]) as port:
        yield port


@contextmanager
def _running(command: list[str]) -> Iterator[int]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline().rpartition(":")[2])
        finally:
            process.send_signal(signal.SIGTERM)


def post(port: int, method: str, body: object) -> bytes:
    """What a server answers to one call."""
    with Callers(port, 1) as callers:
        callers.run(method, [json.dumps(body).encode()])
        return callers.last


class Callers:
    """Connections that are kept open, each with one call after the other on it.

    As little as possible is done here for each call, so that it is the server that is measured.
    """

    def __init__(self, port: int, count: int = 8) -> None:
        self._selector = selectors.DefaultSelector()
        self._sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
        for connection in self._sockets:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(connection, selectors.EVENT_READ)
        self.last = b""
        """The body of the latest answer."""

    def __enter__(self) -> "Callers":
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()
        for connection in self._sockets:
            connection.close()

    def timed(self, method: str, bodies: Callable[[], list[bytes]]) -> Callable[[], float]:
        """A side that makes these calls, and returns how long each took with all connections in use."""

        def side() -> float:
            sent = bodies()
            start = time.perf_counter()
            self.run(method, sent)
            return (time.perf_counter() - start) / len(sent)

        return side

    def run(self, method: str, bodies: list[bytes]) -> None:
        """Make these calls, all of which have to succeed."""
        waiting = iter(bodies)
        buffers: dict[socket.socket, bytearray] = {}

        def send(connection: socket.socket) -> None:
            body = next(waiting, None)
            if body is None:
                buffers.pop(connection, None)
                return
            buffers[connection] = bytearray()
            connection.sendall(
                f"POST {SERVICE}/{method} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer somebody\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                + body
            )

        for connection in self._sockets:
            send(connection)
        while buffers:
            for key, _ in self._selector.select():
                connection = key.fileobj
                assert isinstance(connection, socket.socket)
                buffer = buffers[connection]
                more = connection.recv(1 << 20)
                assert more, "the server has closed the connection"
                buffer += more
                end = buffer.find(b"\r\n\r\n") + 4
                if end < 4:
                    continue
                head = bytes(buffer[:end]).lower()
                assert head.startswith(b"http/1.1 200 "), bytes(buffer)
                length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
                if len(buffer) == end + length:
                    self.last = bytes(buffer[end:])
                    send(connection)
