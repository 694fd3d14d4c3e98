"""One HTTP request: it returns a response with a bounded body, or raises an `ExchangeError`."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Protocol

from attrs import define

from prebuild_api.http import RawResponse

MAX_CONNECTIONS = 100
"""The number of exchanges that a client carries out at a time. Further ones wait."""

MAX_IDLE_SECONDS = 60.0
"""An idle connection is closed rather than used again after this time: few servers keep one for longer."""

MAX_ERROR_BYTES = 2**20
"""An error response is read up to this size. The rest is useless, and might be endless."""

CONNECT_TIMEOUT = 10.0
"""Seconds for an attempt to connect. A host that drops packets must not use up the time that a retry needs."""

CHUNK = 65_536
"""The number of bytes that are read at a time."""

MAX_INTERIM_RESPONSES = 20
"""The number of 1xx responses before the response itself."""


@define(frozen=True, kw_only=True)
class Request:
    """A request, complete with its credentials. It is sent exactly as it is.

    Attributes:
        method: `POST`, or `GET` for a log.
        url: the absolute URL.
        headers: all headers except the headers of the connection and the length.
        content: the body.
        deadline: when the exchange must have ended.
        max_bytes: the limit for the body of a successful response, after decompression.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    deadline: Deadline
    max_bytes: int
    content: bytes = b""


class Deadline:
    """When an exchange must have ended, and whether somebody still waits for it.

    Attributes:
        cancelled: set from another thread once no caller waits for the request any more.
    """

    __slots__ = ("_at", "cancelled")

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds
        self.cancelled = False

    def remaining(self) -> float:
        """The remaining seconds: 0 or less after the deadline, infinity without a deadline."""
        return self._at - time.monotonic()

    def limit(self, most: float = math.inf) -> float | None:
        """A timeout for the next step: the remaining time, `most` at most, and more than 0. None for no limit."""
        left = min(self.remaining(), most)
        return None if math.isinf(left) else max(left, 0.001)

    def check(self) -> None:
        """Raise if the exchange should not go on.

        Raises:
            ExchangeError: the deadline has passed, or no caller waits any more.
        """
        if self.cancelled or self.remaining() <= 0:
            raise timed_out()


class ExchangeError(Exception):
    """An exchange failed.

    Attributes:
        maybe_executed: whether the server may have carried out the request. Only an engine that sees the network
            itself can say that it did not.
        timed_out: whether the deadline was the reason.
        lasting: whether another attempt would fail in the same way.
        advice: the user's remedy; empty if it is not known.
        status: the status of a response whose body was at fault.
    """

    def __init__(
        self,
        text: str,
        *,
        maybe_executed: bool,
        timed_out: bool = False,
        lasting: bool = False,
        advice: str = "",
        status: int | None = None,
    ) -> None:
        super().__init__(text)
        self.maybe_executed = maybe_executed
        self.timed_out = timed_out
        self.lasting = lasting
        self.advice = advice
        self.status = status


class TooLargeError(ExchangeError):
    """The body of a response is larger than the limit."""


def timed_out(*, maybe_executed: bool = True) -> ExchangeError:
    """The error for a deadline that has passed."""
    what = "the response took too long" if maybe_executed else "connecting took too long"
    return ExchangeError(what, maybe_executed=maybe_executed, timed_out=True)


def proxy_error(status: int | None, said: str) -> ExchangeError:
    """The error for a proxy that does not connect to the service."""
    # Other statuses concern the client's rights or its request, so that a retry is useless.
    lasting = status is not None and status not in (502, 503, 504)
    return ExchangeError(said, maybe_executed=False, lasting=lasting, advice=PROXY_ADVICE)


PROXY_ADVICE = "A proxy refuses the connection: check HTTPS_PROXY, or the proxy of http_client."
CERTIFICATE_ADVICE = (
    "The server's certificate is not trusted. If it should be, set SSL_CERT_FILE to the file of its authority, or "
    "pass ssl_context=ssl.create_default_context(cafile=...)."
)
NO_TLS_REASONS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE")
"""The message of OpenSSL for a response to its handshake that is not TLS."""
NO_TLS_ADVICE = "The server does not speak TLS: should the base URL start with http://?"


class Stream(Protocol):
    """A response whose body is read piece by piece. `response.content` is empty."""

    response: RawResponse

    def read(self, timeout: float) -> bytes | None:
        """The next piece, decompressed and of at most a megabyte; None at the end.

        Raises:
            ExchangeError: no data arrived within `timeout` seconds, or the connection broke.
        """
        ...

    def close(self) -> None:
        """Close the connection. Never waits, and never raises."""
        ...


class Engine(Protocol):
    """Carries out exchanges in the thread of the caller. It is shared by threads."""

    def exchange(self, request: Request) -> RawResponse:
        """Send a request, and read the whole response.

        Raises:
            ExchangeError: there is no response, or its body is too large.
        """
        ...

    def open(self, request: Request) -> Stream:
        """Send a request, and read the head of the response.

        Raises:
            ExchangeError: there is no response.
        """
        ...

    def close(self) -> None:
        """Close all connections."""
        ...


class AsyncStream(Protocol):
    """As `Stream`."""

    response: RawResponse

    async def read(self, timeout: float) -> bytes | None:
        """As `Stream.read`."""
        ...

    async def aclose(self) -> None:
        """As `Stream.close`."""
        ...


class AsyncEngine(Protocol):
    """Like `Engine`, for the tasks of one event loop."""

    async def exchange(self, request: Request) -> RawResponse:
        """As `Engine.exchange`."""
        ...

    async def open(self, request: Request) -> AsyncStream:
        """As `Engine.open`."""
        ...

    async def aclose(self) -> None:
        """As `Engine.close`."""
        ...
