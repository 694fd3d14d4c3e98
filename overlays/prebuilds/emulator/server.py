"""The emulator on a socket: as a program of its own, and within another one."""

from __future__ import annotations

import signal
import socket
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self, cast

import uvicorn

from .app import create_app
from .auth import Tokens
from .clock import Clock, ScaledClock
from .lifecycle import Plan
from .service import PrebuildService
from .store import Store, StoreError

# How long calls that are under way may take to end when the server stops, in seconds.
_GRACE = 0.3


class EmulatorServer:
    """An emulator on a socket of this process, in a thread of its own, for as long as a `with` block lasts.

    Args:
        speed: how many emulated seconds pass in a real one; of no meaning when a clock is given.
        clock: the time to live in, a `ManualClock` for instance.
        data: the file to keep everything in; without one, everything ends with the block.
        plan: how long things take.
        host: the address to listen on.
        port: the port to listen on, 0 for any that is free.
        tokens: the API tokens to take. Without any, every token does that is not read-only.
        read_only_tokens: API tokens that open only the methods without side effects.

    Raises:
        ValueError: a token cannot be one.
        StoreError: the data file cannot be used.
        OSError: the address cannot be listened on.
    """

    def __init__(
        self,
        *,
        speed: float = 60,
        clock: Clock | None = None,
        data: Path | None = None,
        plan: Plan | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        tokens: Sequence[str] = (),
        read_only_tokens: Sequence[str] = (),
    ) -> None:
        self._speed = speed
        self._clock = clock
        self._data = data
        self._plan = plan
        self._host = host
        self._port = port
        self._tokens = Tokens(tokens, read_only_tokens)
        self.url = ""
        """The base URL for clients, known once the block is entered."""

    def __enter__(self) -> Self:
        listener = _listen(self._host, self._port)
        try:
            self._store = Store(self._data)
        except StoreError:
            listener.close()
            raise
        try:
            self._server, url = _server(
                listener, self._host, self._store, self._speed, self._clock, self._plan, self._tokens
            )
        except ValueError:
            self._store.close()
            listener.close()
            raise
        ready = threading.Event()
        self._server.on_ready = ready.set
        # A daemon: a test run that is aborted must not wait for it.
        self._thread = threading.Thread(
            target=self._run, args=(listener, ready), name="prebuilds-emulator", daemon=True
        )
        self._thread.start()
        ready.wait()
        if not self._thread.is_alive():
            self._store.close()
            listener.close()
            raise OSError(f"the emulator did not start on {url}")
        self.url = url
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._store.close()

    def _run(self, listener: socket.socket, ready: threading.Event) -> None:
        try:
            self._server.run(sockets=[listener])
        finally:
            ready.set()


def run(
    host: str = "127.0.0.1",
    port: int = 0,
    speed: float = 60,
    data: Path | None = None,
    *,
    plan: Plan | None = None,
    tokens: Sequence[str] = (),
    read_only_tokens: Sequence[str] = (),
) -> int:
    """Serve until SIGTERM or SIGINT, and return the exit code of the program: 0 then, 1 if it could not start.

    Once the socket accepts, the line `listening on http://HOST:PORT` goes to standard output. What a person should
    know, the reason of a failure among it, goes to standard error.

    Args:
        host: the address to listen on.
        port: the port to listen on, 0 for any that is free.
        speed: how many emulated seconds pass in a real one.
        data: the file to keep everything in, made if it is not there; without one, everything ends with the program.
        plan: how long things take.
        tokens: the API tokens to take. Without any, every token does that is not read-only.
        read_only_tokens: API tokens that open only the methods without side effects.
    """
    try:
        access = Tokens(tokens, read_only_tokens)
    except ValueError as error:
        return _fail(str(error))
    try:
        listener = _listen(host, port)
    except OSError as error:
        return _fail(f"cannot listen on {host} port {port}: {error}")
    with listener:
        try:
            store = Store(data)
        except StoreError as error:
            return _fail(str(error))
        try:
            server, url = _server(listener, host, store, speed, None, plan, access)
        except ValueError as error:
            store.close()
            return _fail(str(error))
        server.on_ready = lambda: _announce(url, access)
        try:
            with _stopped_by_signals(server):
                server.run(sockets=[listener])
        finally:
            store.close()
    return 0


class _Server(uvicorn.Server):
    """A server that tells when it is ready."""

    on_ready: Callable[[], object] = staticmethod(lambda: None)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.on_ready()


def _server(
    listener: socket.socket,
    host: str,
    store: Store,
    speed: float,
    clock: Clock | None,
    plan: Plan | None,
    tokens: Tokens,
) -> tuple[_Server, str]:
    """The server for a socket, and its base URL."""
    if clock is None:
        # Time goes on where it was left, be it ahead of the real one.
        real = datetime.now(UTC)
        clock = ScaledClock(speed, start=max(real, store.latest() or real))
    service = PrebuildService(store, clock, plan)
    server: _Server
    app = create_app(service, tokens=tokens, stopping=lambda: server.should_exit)
    server = _Server(
        uvicorn.Config(
            app,
            access_log=False,
            lifespan="off",
            log_config=None,
            # It goes to asyncio.wait_for, which takes fractions of a second as well.
            timeout_graceful_shutdown=cast("int", _GRACE),
        )
    )
    port = cast("tuple[Any, ...]", listener.getsockname())[1]
    return server, f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65535:
        raise OSError("a port is a number from 0 to 65535")  # the system would take it modulo 65536
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        if sys.platform != "win32":
            # A port that was just given free can be taken again; on Windows this would take one that is in use.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener


@contextmanager
def _stopped_by_signals(server: _Server) -> Generator[None]:
    """Let SIGINT and SIGTERM stop the server. In a thread other than the main one, signals cannot be had."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    # While it serves, uvicorn has handlers of its own; when it is done it raises the signal again, which this takes.
    def stop(number: int, frame: FrameType | None) -> None:
        server.should_exit = True

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _announce(url: str, tokens: Tokens) -> None:
    sys.stdout.write(f"listening on {url}\n")
    sys.stdout.flush()
    token = "anything" if tokens.any_will_do else "<one of your tokens>"
    sys.stderr.write(f"Point a client at it with GITPOD_BASE_URL={url} GITPOD_API_KEY={token}\nIt runs until Ctrl-C.\n")
    sys.stderr.flush()


def _fail(reason: str) -> int:
    sys.stderr.write(f"prebuilds emulator: {' '.join(reason.split())}\n")
    return 1
