"""A server of logs on a real socket: what it sends is scripted, and it remembers who asked, and when they hung up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


@dataclass
class Connection:
    """What is sent: pieces of the log, and then its end."""

    pieces: list[bytes] = field(default_factory=list)
    drop: bool = False
    """Break off, so that the client cannot take it for the end."""
    hold: bool = False
    """Send no end, and wait until the client hangs up."""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class LogServer:
    """Answers its script in order, and the last of it for ever."""

    def __init__(self, *script: Connection | Callable[[dict[str, str]], Connection]) -> None:
        self.script = list(script)
        self.asked: list[tuple[str, dict[str, str]]] = []
        """The paths and headers of the requests."""
        self.hung_up = threading.Event()
        """Set once a client has hung up on a connection that was held."""
        lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                headers = {name.lower(): value for name, value in self.headers.items()}
                with lock:
                    outer.asked.append((self.path, headers))
                    step = outer.script.pop(0) if len(outer.script) > 1 else outer.script[0]
                connection = step(headers) if callable(step) else step
                self.close_connection = connection.drop or connection.hold
                self.send_response(connection.status)
                for name, value in {**connection.headers, "transfer-encoding": "chunked"}.items():
                    self.send_header(name, value)
                self.end_headers()
                for piece in filter(None, connection.pieces):
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                    self.wfile.flush()
                if connection.hold:
                    if self.rfile.read(1) == b"":
                        outer.hung_up.set()
                elif not connection.drop:
                    self.wfile.write(b"0\r\n\r\n")

            def log_message(self, *arguments: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                outer.hung_up.set()

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
