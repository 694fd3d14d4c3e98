"""A service that returns fixed responses fast, over HTTP and over TLS: `python -m tests.peers.server`.

It prints its two URLs, and serves until it is stopped. JSON requests get JSON, `application/proto` requests get binary
protobuf, and clients that accept gzip get gzip, as from the real service.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httptools
from google.protobuf import json_format

from prebuild_wire.descriptors import response_class
from tests.benchmarks.pages import page_of_prebuilds

ROOT = Path(__file__).parents[2]
CERTIFICATE = Path(__file__).with_name("self_signed.pem")
ITEMS = 100


@dataclass(frozen=True)
class Server:
    """Where the server is."""

    url: str
    tls_url: str


@contextmanager
def serving() -> Iterator[Server]:
    """A server in a process of its own."""
    command = [sys.executable, "-m", __name__]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                sys.exit("the server of the benchmark did not start")
            yield Server(*line.split())
        finally:
            process.terminate()


def responses() -> dict[tuple[str, str, bool], bytes]:
    """The whole response for each method, content type, and whether the client accepts gzip."""
    page = json.loads(page_of_prebuilds(ITEMS))
    page["pagination"] = {}  # the last page: a client that iterates over all items sends one request
    found = {}
    for method, message in (("GetPrebuild", {"prebuild": page["prebuilds"][0]}), ("ListPrebuilds", page)):
        binary = json_format.ParseDict(message, response_class(method)()).SerializeToString()
        text = json.dumps(message, separators=(",", ":")).encode()
        for content_type, content in (("application/json", text), ("application/proto", binary)):
            found[method, content_type, False] = _response(content_type, content)
            found[method, content_type, True] = _response(
                content_type, gzip.compress(content), "Content-Encoding: gzip\r\n"
            )
    return found


def _response(content_type: str, content: bytes, more: str = "") -> bytes:
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n{more}Vary: Accept-Encoding\r\n"
        f"Date: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


class Connection(asyncio.Protocol):
    """One connection. The methods that begin with `on_` are called by the parser."""

    def __init__(self, known: dict[tuple[str, str, bool], bytes]) -> None:
        self._known = known
        self._parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def on_message_begin(self) -> None:
        self._url = b""
        self._content_type = ""
        self._gzip = False

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        match name.lower():
            case b"content-type":
                self._content_type = value.decode("latin-1")
            case b"accept-encoding":
                self._gzip = b"gzip" in value

    def on_message_complete(self) -> None:
        method = self._url.rpartition(b"/")[2].decode("latin-1")
        self._transport.write(self._known.get((method, self._content_type, self._gzip), NOT_FOUND))
        if not self._parser.should_keep_alive():
            self._transport.close()


async def main() -> None:
    """Serve on two free ports."""
    known = responses()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATE)
    context.set_alpn_protocols(["http/1.1"])
    loop = asyncio.get_running_loop()
    # 100 clients connect at once.
    plain = await loop.create_server(lambda: Connection(known), "127.0.0.1", 0, backlog=1000)
    secure = await loop.create_server(lambda: Connection(known), "127.0.0.1", 0, backlog=1000, ssl=context)
    ports = [server.sockets[0].getsockname()[1] for server in (plain, secure)]
    print(f"http://127.0.0.1:{ports[0]} https://127.0.0.1:{ports[1]}", flush=True)
    async with plain, secure:
        await asyncio.gather(plain.serve_forever(), secure.serve_forever())


if __name__ == "__main__":
    asyncio.run(main())
