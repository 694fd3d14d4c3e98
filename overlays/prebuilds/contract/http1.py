"""An HTTP/1.1 client on one connection. It supports the plain responses of an API."""

from __future__ import annotations

import functools
import re
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple

# The maximum size of a response's head, and of the whole response, in bytes.
_LONGEST_HEAD: Final = 2**18
MAX_BODY: Final = 2**24

# How many bytes are taken from the socket at once.
_PIECE: Final = 2**16

_HEAD_END: Final = re.compile(rb"\r?\n\r?\n")
_STATUS: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [^\r\n]*)?")
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FORBIDDEN: Final = re.compile(r"[\0\r\n]")
_CHUNK: Final = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\n]*)?")


class HttpError(Exception):
    """The response is not valid HTTP/1.1, or is incomplete."""


class NothingCameError(HttpError):
    """The connection was closed before anything came."""


class Response(NamedTuple):
    """A response.

    Attributes:
        status: the HTTP status.
        headers: the headers, with lower-case names; of repeated headers, the last.
        body: as it was sent, without its framing.
        closes: whether the connection cannot be used for further requests.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    closes: bool


class _Head(NamedTuple):
    """The head of a response."""

    status: int
    headers: dict[str, str]
    closes: bool
    is_chunked: bool
    length: int | None


class Connection:
    """An open connection.

    Args:
        sock: the socket, which from now on is the connection's.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._waiting = bytearray()
        self._deadline = 0.0

    def exchange(
        self,
        verb: str,
        message: bytes,
        *,
        timeout: float,
        enough: int | None = None,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> Response:
        """Send a request and read its response.

        Args:
            verb: the HTTP method of the request.
            message: the whole request, head and body. It is sent in one piece, so that the server wakes up once.
            timeout: the maximum time for the response, in seconds.
            enough: the number of body bytes that suffice, or the size of the first chunk; None for the whole body.
            meanwhile: called after the request is sent, while the server processes it.

        Raises:
            NothingCameError: the connection was closed before any data arrived.
            HttpError: the response is invalid, incomplete or too long.
            OSError: the connection failed, or timed out.
        """
        self._deadline = time.monotonic() + timeout
        self._waiting.clear()
        self.sock.settimeout(timeout)
        try:
            self.sock.sendall(message)
        except ConnectionError:
            # Some servers reject a body without reading all of it: the response has then arrived already.
            with suppress(OSError, HttpError):
                return self._answer(verb, enough)._replace(closes=True)
            raise
        meanwhile()
        return self._answer(verb, enough)

    def close(self) -> None:
        """Close the connection."""
        self.sock.close()

    def _answer(self, verb: str, enough: int | None) -> Response:
        head = self._head()
        while 100 <= head.status < 200:
            if head.status == 101:
                raise HttpError("the server speaks another protocol from now on, for which it was not asked")
            head = self._head()
        if verb == "HEAD" or head.status in (204, 304):
            body, ends = b"", True
        else:
            body, ends = self._body(head, enough)
        return Response(head.status, dict(head.headers), body, head.closes or not ends or bool(self._waiting))

    def _head(self) -> _Head:
        while (end := _HEAD_END.search(self._waiting)) is None:
            if len(self._waiting) > _LONGEST_HEAD:
                raise HttpError(f"the head of the answer has more than {_LONGEST_HEAD} bytes")
            if not self._more():
                if not self._waiting:
                    raise NothingCameError("the connection was closed before anything came")
                raise HttpError(f"the head of the answer has no end: {bytes(self._waiting[:80])!r}")
        head = bytes(self._waiting[: end.start()])
        del self._waiting[: end.end()]
        return _read_head(head)

    def _body(self, head: _Head, enough: int | None) -> tuple[bytes, bool]:
        """The body, and whether the connection is free again after it."""
        if head.is_chunked:
            return self._chunks(enough)
        size = head.length
        if size is None:
            while (enough is None or not self._waiting) and self._more():
                self._check(len(self._waiting))
            return self._take(len(self._waiting))[:enough], False
        self._check(size)
        if enough is None:
            return self._exactly(size), True
        self._at_least(min(size, 1))
        return self._take(min(enough, size)), False

    def _chunks(self, enough: int | None) -> tuple[bytes, bool]:
        content = bytearray()
        while True:
            line = self._line()
            match = _CHUNK.fullmatch(line)
            if match is None:
                raise HttpError(f"a chunk of the answer begins with {line[:80]!r}, which is no size")
            size = int(match[1], 16)
            if not size:
                while self._line():  # trailers
                    pass
                return bytes(content), True
            self._check(len(content) + size)
            if enough is not None:
                self._at_least(1)
                return self._take(min(enough, size)), False
            content += self._exactly(size)
            if self._line():
                raise HttpError("a chunk of the answer is longer than it says")

    def _line(self) -> bytes:
        while (end := self._waiting.find(b"\n")) < 0:
            if len(self._waiting) > _LONGEST_HEAD:
                raise HttpError("a line of the answer has no end")
            self._at_least(len(self._waiting) + 1)
        return self._take(end + 1)[:-1].removesuffix(b"\r")

    def _exactly(self, size: int) -> bytes:
        self._at_least(size)
        return self._take(size)

    def _at_least(self, size: int) -> None:
        while len(self._waiting) < size:
            if not self._more():
                raise HttpError(f"the answer ends too early, after {len(self._waiting)} of {size} bytes")

    def _take(self, size: int) -> bytes:
        taken = bytes(self._waiting[:size])
        del self._waiting[:size]
        return taken

    def _more(self) -> bool:
        """Read the next bytes; false if the server has closed the connection."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer does not end in time")
        self.sock.settimeout(left)
        piece = self.sock.recv(_PIECE)
        self._waiting += piece
        return bool(piece)

    def _check(self, size: int) -> None:
        if size > MAX_BODY:
            raise HttpError(f"the answer has more than {MAX_BODY} bytes")


@functools.lru_cache(maxsize=256)  # many are the same, but for the second in which they were written
def _read_head(head: bytes) -> _Head:
    first, *lines = head.split(b"\n")
    match = _STATUS.fullmatch(first.rstrip(b"\r"))
    if match is None:
        raise HttpError(f"the answer begins with {first[:80]!r}, which is no status of HTTP/1.1")
    headers: dict[str, str] = {}
    several: dict[str, list[str]] = {"connection": [], "transfer-encoding": [], "content-length": []}
    name = ""
    for line in lines:
        text = line.decode("latin-1").rstrip("\r")
        if text[:1] in (" ", "\t") and name:  # an older way to go on in the next line
            headers[name] += " " + text.strip()
            continue
        name, colon, value = text.partition(":")
        name, value = name.lower(), value.strip(" \t")
        if not colon or not _NAME.fullmatch(name):
            raise HttpError(f"the answer has the line {text[:80]!r}, which is no header")
        headers[name] = value
        if name in several:
            several[name] += [word.strip().lower() for word in value.split(",")]
    closes = "close" in several["connection"] or (match[1] == b"0" and "keep-alive" not in several["connection"])
    encodings = [word for word in several["transfer-encoding"] if word]
    if encodings not in ([], ["chunked"]):
        raise HttpError(f"the answer has the transfer encoding {', '.join(encodings)}, which nobody asked for")
    lengths = set(several["content-length"])
    if len(lengths) > 1 or not all(length.isascii() and length.isdigit() for length in lengths):
        raise HttpError(f"the answer has the content-length {', '.join(several['content-length'])!r}")
    length = int(lengths.pop()) if lengths else None
    return _Head(int(match[2]), headers, closes, bool(encodings), length)


def request(verb: str, target: str, host: str, headers: tuple[tuple[str, str], ...], body: bytes | None) -> bytes:
    """A request in its wire format.

    Args:
        verb: the HTTP method.
        target: path and query, encoded.
        host: the value of the Host header.
        headers: names and values.
        body: the content; None for no body at all.

    Raises:
        ValueError: HTTP cannot express one of the values.
    """
    if not target.isascii() or not target.isprintable() or " " in target:
        raise ValueError(f"the target {target[:80]!r} has a character in it that has to be written with %")
    length = "" if body is None else f"Content-Length: {len(body)}\r\n"
    head = f"{verb} {target} HTTP/1.1\r\nHost: {host}\r\n{length}".encode("latin-1") + _lines(headers)
    return head if body is None else head + body


@functools.lru_cache(maxsize=64)  # nearly all requests have the same ones
def _lines(headers: tuple[tuple[str, str], ...]) -> bytes:
    for name, value in headers:
        if not _NAME.fullmatch(name) or _FORBIDDEN.search(value):
            raise ValueError(f"the header {name[:80]!r} cannot be sent: a name or a value has a character it must not")
    return "".join([*(f"{name}: {value}\r\n" for name, value in headers), "\r\n"]).encode("latin-1")
