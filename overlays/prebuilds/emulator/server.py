"""The emulator on a socket: as a program, and inside another program."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

import uvicorn

from .app import create_app
from .auth import Tokens, check_control_token
from .browser_guard import BrowserGuard
from .clock import Clock, ScaledClock
from .connections import Protocol, Waiting
from .console import LogStyle, Printer
from .recording import CONTROL_PATH, RequestRecord
from .service import PrebuildService
from .store import Store, StoreError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from .declarations import Plan, Project

# How long running requests may take to end when the server stops, in seconds.
_GRACE = 0.3


# The backlog of the socket; at most a tenth of the file limit.
_BACKLOG = 128

# How many files the process may open besides connections: the data file, the log, and files of the program itself.
_OTHER_FILES = 64

_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?\.?")


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of an emulator, except for its address and its clock.

    Raises:
        ValueError: a token is not valid.
    """

    strict_projects: bool = False
    """Whether undeclared projects do not exist."""

    relaxed_ids: bool = False
    """Whether ids need not be UUIDs."""

    tokens: tuple[str, ...] = field(default=(), repr=False)
    """The accepted API tokens. Without any, every token is accepted that is not read-only."""

    read_only_tokens: tuple[str, ...] = field(default=(), repr=False)
    """API tokens that permit only the methods without side effects."""

    projects: tuple[Project, ...] = ()
    """The projects that are declared at the start."""

    control: bool = True
    """Whether the control plane and its page are available."""

    control_token: str | None = field(default=None, repr=False)
    """The bearer token that the control plane requires; None for no token."""

    allowed_hosts: tuple[str, ...] = ()
    """Host names by which clients may reach the emulator, besides the names of this machine: for example `emulator` in
    a network of containers. A request with any other name in its Host header is rejected, because a web page may have
    made a browser send the request."""

    def __post_init__(self) -> None:
        Tokens(self.tokens, self.read_only_tokens)
        for name in self.allowed_hosts:
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} is not a host name: expected a name without a port, such as emulator")
        if self.control_token is not None:
            check_control_token(self.control_token)


class EmulatorServer:
    """An emulator on a socket of this process, in its own thread, until its `with` block ends.

    Args:
        speed: how many emulated seconds pass per real second; ignored if a clock is given.
        clock: the source of the emulated time, for example a `ManualClock`.
        data: the data file; without one, all records are lost when the block ends.
        plan: the durations.
        host: the address to listen on.
        port: the port to listen on, 0 for any free port.
        allow_remote: whether other machines may reach the address. Whoever reaches the emulator can do everything.
        options: all other options, see `Options`.

    Raises:
        ValueError: a token is not valid.
        StoreError: the data file cannot be used.
        OSError: the address cannot be listened on.
        ValueError: other machines can reach the address, and `allow_remote` is false.
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
        allow_remote: bool = False,
        options: Options | None = None,
    ) -> None:
        self._allow_remote = allow_remote
        self._options = options or Options()
        self._speed = speed
        self._clock = clock
        self._data = data
        self._plan = plan
        self._host = host
        self._port = port
        self.url = ""
        """The base URL for clients, known inside the block."""

    def __enter__(self) -> Self:
        listener = _listen(self._host, self._port, allow_remote=self._allow_remote)
        try:
            self._store = Store(self._data)
        except StoreError:
            listener.close()
            raise
        try:
            clock = self._clock or _clock_for(self._store, self._speed)
            service = _service(self._store, clock, self._plan, self._options)
            self._server, url = _server(listener, self._host, service, self._options)
        except ValueError:
            self._store.close()
            listener.close()
            raise
        ready = threading.Event()
        self._server.on_ready = ready.set
        # A daemon thread: an aborted test run must not wait for it.
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
            _serve(self._server, listener)
        finally:
            ready.set()


def run(
    host: str = "127.0.0.1",
    port: int = 0,
    speed: float = 60,
    data: Path | None = None,
    *,
    plan: Plan | None = None,
    allow_remote: bool = False,
    options: Options | None = None,
    projects: Path | None = None,
    ready_file: Path | None = None,
    open_page: bool = False,
    log: LogStyle = "none",
) -> int:
    """Serve until SIGTERM or SIGINT. Return the exit code of the program: 0 then, 1 if the server could not start.

    Once the socket accepts connections, the line `listening on http://HOST:PORT` is written to standard output.
    Messages for people, such as the reason of a failure, and the request log are written to standard error.

    Args:
        host: the address to listen on.
        port: the port to listen on, 0 for any free port.
        speed: how many emulated seconds pass per real second.
        data: the data file, created if it does not exist; without one, all records are lost when the program ends.
        plan: the durations.
        allow_remote: whether other machines may reach the address.
        options: all other options.
        projects: a JSON file with the projects that are declared at the start, see `read_projects`.
        ready_file: a file that contains the base URL once the socket accepts connections; removed at the end.
        open_page: whether to open the page in a browser.
        log: how to log requests.
    """
    options = options or Options()
    try:
        if projects is not None:
            from .declarations import read_projects

            options = replace(options, projects=(*options.projects, *read_projects(projects)))
        listener = _listen(host, port, allow_remote=allow_remote)
    except OSError as error:
        return _fail(f"cannot listen on {host} port {port}: {error}")
    except ValueError as error:
        return _fail(str(error))
    with listener:
        try:
            store = Store(data)
        except StoreError as error:
            return _fail(str(error))
        printer = Printer(log, sys.stderr)
        try:
            service = _service(store, _clock_for(store, speed), plan, options)
            server, url = _server(listener, host, service, options, printer)
        except ValueError as error:
            store.close()
            return _fail(f"{error} (see {projects})" if projects is not None else str(error))

        def announce() -> None:
            if ready_file is not None:
                _write_whole(ready_file, f"{url}\n")
            _announce(url, options, remote=not _is_local(listener))
            if open_page:
                # A browser in the terminal runs until the user closes it.
                threading.Thread(target=_open_page, args=(url,), name="prebuilds-emulator-page", daemon=True).start()

        server.on_ready = announce
        try:
            with _stopped_by_signals(server):
                _serve(server, listener)
        except OSError as error:
            return _fail(f"cannot write the ready file {ready_file}: {error}")
        finally:
            if ready_file is not None:
                with suppress(OSError):  # the file may be gone
                    ready_file.unlink()
            store.close()
            printer.close()
    return 0


class _Loop(asyncio.SelectorEventLoop):
    """An event loop on the system's clock, even in a test that has replaced `time.monotonic` with a frozen clock."""

    if hasattr(time, "clock_gettime"):

        def time(self) -> float:
            return time.clock_gettime(time.CLOCK_MONOTONIC)


class _Server(uvicorn.Server):
    """A server that calls back when it is ready, and closes all connections when it stops."""

    on_ready: Callable[[], object] = staticmethod(lambda: None)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # A connection that was just accepted gets its transport before the server closes. Otherwise asyncio would fail
        # to create the transport and leave the socket open.
        for listener in (each for server in self.servers for each in server.sockets):
            asyncio.get_running_loop().remove_reader(listener.fileno())
        await asyncio.sleep(0)
        await super().shutdown(sockets=sockets)
        # uvicorn abandons a connection whose client does not read its response.
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)


def _serve(server: _Server, listener: socket.socket) -> None:
    with asyncio.Runner(loop_factory=_Loop) as runner:
        runner.run(server.serve(sockets=[listener]))


def _clock_for(store: Store, speed: float) -> Clock:
    """Return a clock that continues from the stored time, even if that is ahead of real time."""
    real = datetime.now(UTC)
    return ScaledClock(speed, start=max(real, store.latest() or real))


def _service(store: Store, clock: Clock, plan: Plan | None, options: Options) -> PrebuildService:
    return PrebuildService(
        store,
        clock,
        plan,
        strict_projects=options.strict_projects,
        relaxed_ids=options.relaxed_ids,
        projects=options.projects,
    )


def _server(
    listener: socket.socket,
    host: str,
    service: PrebuildService,
    options: Options,
    on_record: Callable[[RequestRecord], None] | None = None,
) -> tuple[_Server, str]:
    """Return the server for a socket, and its base URL."""
    server: _Server

    def stopping() -> bool:
        return server.should_exit

    app: ASGIApp = create_app(
        service,
        tokens=Tokens(options.tokens, options.read_only_tokens),
        stopping=stopping,
        control=options.control,
        control_token=options.control_token,
        on_record=on_record,
    )
    # A socket on all addresses does not have its own host name.
    names = () if host in ("", "0.0.0.0", "::") else (host,)  # noqa: S104 - compared, not bound
    files = _max_files()
    backlog = min(_BACKLOG, files // 10)
    # Connections in the process of being accepted are not counted yet: the system's queue, and two loop iterations.
    waiting = Waiting(max(1, files - _OTHER_FILES - 3 * backlog))
    server = _Server(
        uvicorn.Config(
            BrowserGuard(app, (*names, *options.allowed_hosts)),
            # uvicorn only calls this argument.
            http=cast("type[asyncio.Protocol]", partial(Protocol, stopping, waiting)),
            backlog=backlog,
            access_log=False,
            lifespan="off",
            log_config=None,
            # uvicorn passes the value to asyncio.wait_for, which accepts fractions of a second as well.
            timeout_graceful_shutdown=cast("int", _GRACE),
        )
    )
    port = cast("tuple[Any, ...]", listener.getsockname())[1]
    return server, f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _max_files() -> int:
    """Return the maximum number of open files and connections of this process."""
    try:
        import resource
    except ImportError:  # on Windows
        return 1024
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 65_536 if limit == resource.RLIM_INFINITY else limit


def _is_local(listener: socket.socket) -> bool:
    """Return whether only this machine can reach the socket."""
    address: str = listener.getsockname()[0]
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def _listen(host: str, port: int, *, allow_remote: bool) -> socket.socket:
    if not 0 <= port <= 65535:
        raise OSError("a port is a number from 0 to 65535")  # the system would use the number modulo 65536
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        if sys.platform != "win32":
            # A recently released port can be bound again. On Windows, this option would take over a port in use.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        if not allow_remote and not _is_local(listener):
            raise ValueError(
                f"{host} is an address that others can reach, and whoever does can read and change everything here;"
                " --allow-remote permits it (allow_remote=True in Python)"
            )
        listener.listen()
    except (OSError, ValueError):
        listener.close()
        raise
    return listener


@contextmanager
def _stopped_by_signals(server: _Server) -> Generator[None]:
    """Stop the server on SIGINT and SIGTERM. Signals can be handled in the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    # While it serves, uvicorn has its own handlers; at the end it raises the signal again, and this handler takes it.
    def stop(number: int, frame: FrameType | None) -> None:
        server.should_exit = True

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _announce(url: str, options: Options, *, remote: bool) -> None:
    sys.stdout.write(f"listening on {url}\n")
    sys.stdout.flush()
    # The tokens are not printed: the output ends up in logs.
    token = "'<a token that was given>'" if options.tokens else "anything"
    lines = [
        "Point a client at it:",
        f"  prebuilds, gitpod-sdk   GITPOD_BASE_URL={url} GITPOD_API_KEY={token}",
        f"  clients of Ona          ONA_BASE_URL={url} ONA_API_KEY={token}",
    ]
    if options.control:
        lines.append(f"Watch it and arrange what happens on its page: {url}/")
        lines.append(f"Or arrange outcomes, faults and time with {url}{CONTROL_PATH}/openapi.json")
    if remote:
        lines.append("WARNING: others can reach this address. Whoever does can read and change everything here.")
        if options.control and options.control_token is None:
            lines.append("WARNING: that goes for the control plane, too: see --control-token and --no-control.")
    lines.append("It runs until Ctrl-C.")
    sys.stderr.write("\n".join(lines) + "\n")
    sys.stderr.flush()


def _open_page(url: str) -> None:
    import webbrowser  # without it, the emulator starts faster

    if not webbrowser.open(f"{url}/"):
        sys.stderr.write(f"prebuilds emulator: no browser was found here: open {url}/ yourself\n")
        sys.stderr.flush()


def _write_whole(file: Path, text: str) -> None:
    """Write a file atomically, so that nobody reads a partial file."""
    beside = file.with_name(f"{file.name}.new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(file)


def _fail(reason: str) -> int:
    sys.stderr.write(f"prebuilds emulator: {' '.join(reason.split())}\n")
    return 1
