"""Sockets of synchronous engines: looking up a name, connecting, TLS and reading, all within a deadline.

The socket timeouts of Python limit each step. A server that sends a byte now and then would never exceed them, so each
step gets the remaining time of the whole request.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from prebuilds.engines.exchange import (
    CERTIFICATE_ADVICE,
    CONNECT_TIMEOUT,
    NO_TLS_ADVICE,
    NO_TLS_REASONS,
    Deadline,
    ExchangeError,
    timed_out,
)

T = TypeVar("T")

_SLICE = 0.1
"""Seconds after which a read looks whether it is still wanted."""


def connect(host: str, port: int, deadline: Deadline) -> socket.socket:
    """Open a TCP connection.

    Raises:
        ExchangeError: no server could be reached in time. Nothing was sent.
    """
    attempt = Deadline(min(deadline.remaining(), CONNECT_TIMEOUT))
    failure: OSError | None = None
    for family, kind, protocol, _, address in _addresses(host, port, attempt):
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(attempt.limit())
            connection.connect(address)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            failure = error
            connection.close()
            if attempt.remaining() <= 0:
                break
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    if failure is None or isinstance(failure, TimeoutError):
        raise timed_out(maybe_executed=False) from failure
    raise ExchangeError(f"cannot connect to {host}:{port}: {failure}", maybe_executed=False) from failure


def secure(connection: socket.socket, context: ssl.SSLContext, server_name: str, deadline: Deadline) -> ssl.SSLSocket:
    """Speak TLS on a connection, and check the certificate of the server.

    Raises:
        ExchangeError: the server is not trusted, or doesn't speak TLS. Nothing was sent.
    """
    try:
        connection.settimeout(deadline.limit(CONNECT_TIMEOUT))
        return context.wrap_socket(connection, server_hostname=server_name)
    except BaseException as error:
        connection.close()
        if isinstance(error, OSError):
            raise tls_error(error) from error
        raise


def tls_error(error: OSError) -> ExchangeError:
    """The error for a TLS handshake that failed. Nothing was sent."""
    if isinstance(error, TimeoutError):
        return timed_out(maybe_executed=False)
    advice = ""
    if isinstance(error, ssl.SSLCertVerificationError):
        advice = CERTIFICATE_ADVICE
    elif isinstance(error, ssl.SSLError) and error.reason in NO_TLS_REASONS:
        advice = NO_TLS_ADVICE
    return ExchangeError(
        f"the TLS handshake failed: {error}", maybe_executed=False, lasting=bool(advice), advice=advice
    )


def receive(connection: socket.socket, read: Callable[[], T], deadline: Deadline) -> T:
    """Return the data that `read` reads from the connection, as soon as there is some.

    Raises:
        ExchangeError: the deadline has passed, or no caller waits any more.
        OSError: the connection broke.
    """
    while True:
        deadline.check()
        connection.settimeout(deadline.limit(_SLICE))
        try:
            return read()
        except TimeoutError:
            continue


def send(connection: socket.socket, data: bytes, deadline: Deadline) -> None:
    """Send all of `data`.

    Raises:
        ExchangeError: the deadline has passed.
        OSError: the connection broke.
    """
    connection.settimeout(deadline.limit())
    try:
        connection.sendall(data)
    except TimeoutError:
        raise timed_out() from None


def is_idle(connection: socket.socket) -> bool:
    """Return True if an idle connection is still open, with no data to read."""
    try:
        connection.settimeout(0)
        # For a TLS socket, this checks the encrypted bytes.
        socket.socket.recv(connection, 1, socket.MSG_PEEK)
    except (BlockingIOError, ssl.SSLWantReadError):
        return True
    except OSError:
        return False
    return False


def _addresses(host: str, port: int, deadline: Deadline) -> list[Any]:
    """The addresses of a host.

    Raises:
        ExchangeError: it has none, or they are not known in time.
    """
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    found: list[list[Any] | Exception] = []

    def look_up() -> None:
        try:
            found.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            found.append(error)

    # The name resolution has no timeout, and a signal does not interrupt it.
    if (thread := start_thread(look_up)) is None:
        look_up()
    else:
        thread.join(deadline.limit())
    if not found:
        raise timed_out(maybe_executed=False)
    addresses = found[0]
    if isinstance(addresses, Exception):
        raise ExchangeError(f"cannot look up {host!r}: {addresses}", maybe_executed=False) from addresses
    return addresses


def start_thread(work: Callable[[], object]) -> threading.Thread | None:
    """Run some work in a thread that does not keep the interpreter alive; None if no thread can be started.

    This happens while the interpreter ends, and if the system limits the number of threads.
    """
    thread = threading.Thread(target=work, name="prebuilds", daemon=True)
    try:
        thread.start()
    except RuntimeError:
        return None
    return thread
