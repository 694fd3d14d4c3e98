"""A server on a real socket that answers what a test tells it to, and remembers what it was asked."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

TIME = "2026-03-01T09:00:00Z"


def a_prebuild(phase: str = "PREBUILD_PHASE_RUNNING", *, number: int = 1, **status: Any) -> dict[str, Any]:
    return {
        "id": f"00000000-0000-4000-8000-{number:012}",
        "metadata": {"createdAt": TIME, "updatedAt": TIME, "creator": {}},
        "spec": {},
        "status": {"phase": phase, **status},
    }


@dataclass
class Answer:
    status: int = 200
    body: object = field(default_factory=lambda: {"prebuild": a_prebuild()})
    """JSON, unless it is bytes."""
    headers: Mapping[str, str] = field(default_factory=dict)
    drop: bool = False
    """Hang up without an answer."""
    cut: int = 0
    """Hang up so many bytes before the end."""


def an_error(code: str, status: int, message: str = "no", **more: Any) -> Answer:
    headers = more.pop("headers", {})
    return Answer(status, {"code": code, "message": message, **more}, headers)


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: Any


class ScriptedServer:
    """Answers its script in order, and the last of it for ever; over TLS if there is a certificate in `tls`."""

    def __init__(
        self, *script: Answer | Callable[[Request], Answer], host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
    ) -> None:
        self.script = list(script) or [Answer()]
        self.requests: list[Request] = []
        lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # or else each answer waits 40 ms for an acknowledgement

            def do_POST(self):
                size = int(self.headers.get("content-length", 0))
                content = self.rfile.read(size)
                request = Request(
                    self.command,
                    self.path,
                    {name.lower(): value for name, value in self.headers.items()},
                    json.loads(content) if content else None,
                )
                with lock:
                    outer.requests.append(request)
                    step = outer.script.pop(0) if len(outer.script) > 1 else outer.script[0]
                answer = step(request) if callable(step) else step
                if answer.drop:
                    self.close_connection = True
                    return
                is_bytes = isinstance(answer.body, bytes)
                body = answer.body if is_bytes else json.dumps(answer.body).encode()
                self.send_response(answer.status)
                headers = {"content-type": "application/json", **answer.headers}
                if answer.status != 204:
                    headers["content-length"] = str(len(body))
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                if answer.status != 204:
                    self.wfile.write(body[: len(body) - answer.cut])
                if answer.cut:
                    self.close_connection = True

            do_CONNECT = do_POST  # noqa: N815 - the name that http.server looks for

            def log_message(self, *arguments: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

        self._server = Server((host, 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        authority = f"[{host}]" if ":" in host else host
        self.port = self._server.server_port
        self.url = f"http{'s' if tls else ''}://{authority}:{self.port}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
