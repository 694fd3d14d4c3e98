"""How long it takes from the start of a process to its first answer."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from .measure import Row, medians
from .servers import BARE, SERVICE, emulator, post

LIST = b"{}"


def starting() -> list[Row]:
    """`prebuilds emulator` against a bare Starlette application, to the answer of a first ListPrebuilds."""
    with tempfile.TemporaryDirectory() as folder, emulator() as port:
        answer = Path(folder, "answer")
        answer.write_bytes(post(port, "ListPrebuilds", {}))
        data = str(Path(folder, "data"))
        ours, theirs = medians(
            _started(lambda port: [sys.executable, "-m", "prebuilds", "emulator", "--port", port, "--data", data]),
            _started(lambda port: [sys.executable, "-c", BARE, str(answer), port]),
            rounds=15,
            warm_up=2,
        )
    return [Row("start to first answer", ours, "bare Starlette", theirs, target=1.5)]


def _started(command: Callable[[str], list[str]]) -> Callable[[], float]:
    request = (
        f"POST {SERVICE}/ListPrebuilds HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer somebody\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(LIST)}\r\n\r\n"
    ).encode() + LIST
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}

    def side() -> float:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port: int = free.getsockname()[1]
        start = time.perf_counter()
        with subprocess.Popen(
            command(str(port)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
        ) as process:
            try:
                with _connected(port, start + 30) as connection:
                    connection.sendall(request)
                    head = connection.recv(1000)
                    seconds = time.perf_counter() - start
                    assert head.startswith(b"HTTP/1.1 200 "), head
            finally:
                process.send_signal(signal.SIGTERM)
        return seconds

    return side


def _connected(port: int, deadline: float) -> socket.socket:
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            if time.perf_counter() > deadline:
                raise
            time.sleep(0.001)  # polling: the process says nothing before it listens
