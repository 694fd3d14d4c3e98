"""A whole run: the layers in sequence, the unconditional clean-up, and the result."""

from __future__ import annotations

import ipaddress
import os
import signal
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, Final
from urllib.parse import urlsplit

from prebuilds.contract import schema
from prebuilds.contract.cleanup import CleanUp, clean_up, leave
from prebuilds.contract.escaping import one_line
from prebuilds.contract.findings import UNIMPLEMENTED, Findings, Result, Scope, State
from prebuilds.contract.layers import LAYERS, Choice, LayerRun, run_layers
from prebuilds.contract.ledger import Ledger, LedgerError
from prebuilds.contract.methods import HAND_WRITTEN, ID_FIELD, LISTS, METHODS, WRITES
from prebuilds.contract.observations import phase_of
from prebuilds.contract.plan import PlanTransport
from prebuilds.contract.secrets import masked
from prebuilds.contract.session import (
    LimitReachedError,
    Mode,
    OutOfTimeError,
    Profile,
    ServerGoneError,
    Session,
)
from prebuilds.contract.transports import HttpTransport, Transport, TransportError
from prebuilds.contract.wire import CODES, JSON, Answer, Request, encode

CONFORMS: Final = 0
BROKEN: Final = 1
NOT_TESTED: Final = 2
LEFT_BEHIND: Final = 3

_REMOTE_RATE = 5.0
_GREETING_TIMEOUT = 10.0
_GREETING_CONNECT_TIMEOUT = 1.5
_GREETING_CONNECT_TIMEOUT_LOCAL = 1.0
_LOCAL_PATIENCE = 15.0
_REMOTE_PATIENCE = 60.0


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of a run.

    Attributes:
        url: the URL of the server.
        token: the API token.
        projects: the projects to write to. If empty, a server on this machine receives invented projects.
        environment_classes: the environment classes to use in the projects.
        mode: the kinds of requests to send; by default everything to a server on this machine, and reads elsewhere.
        profile: how lenient the server may be with input.
        assumptions: whether assumptions about the service are checked; by default only for the bundled emulator.
        seed: the seed of all random choices.
        max_creates: the maximum number of resources to create.
        rate: the maximum number of requests per second, 0 for no limit; by default 5 for a remote server.
        max_time: the maximum duration in seconds. The run then stops and cleans up.
        settle: for how many seconds a response may still show the previous state.
        patience: the maximum time to wait for asynchronous work of the server, in seconds.
        only: the properties to check, all if empty.
        skip: the properties to skip.
        methods: the methods to check, all if empty.
        known: the known failures, pairs of a property and a method, or "" for all methods.
        thorough: whether the layers send all their requests, even if `only` selects a few properties.
        layers: the layers to run.
        deep: whether schemathesis also runs its longer phases.
        ledger: the file that records created resources; by default a file in the user's state directory.
    """

    url: str = ""
    token: str = field(default="prebuilds-contract", repr=False)
    projects: tuple[str, ...] = ()
    environment_classes: tuple[str, ...] = ()
    mode: Mode | None = None
    profile: Profile = "protojson"
    assumptions: bool | None = None
    seed: int = 0
    max_creates: int = 500
    rate: float | None = None
    max_time: float = 300.0
    settle: float = 0.0
    patience: float | None = None
    only: Collection[str] = ()
    skip: Collection[str] = ()
    methods: Collection[str] = ()
    known: Collection[tuple[str, str]] = ()
    thorough: bool = False
    layers: Sequence[str] = LAYERS
    deep: bool = False
    ledger: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Report:
    """The result of a run.

    Attributes:
        url: the URL of the server.
        mode: the kinds of requests that were allowed.
        seed: the seed of all random choices.
        assumptions: whether assumptions were checked.
        results: the result for each property and method.
        passing: the known failures that now pass.
        not_implemented: the methods that the server does not implement.
        layers: the layers that ran.
        seconds: the duration of the run.
        clean_up: the result of the clean-up, None if there was nothing to delete.
        ledger: the file that lists the remaining resources, None if none remain.
        unfinished: why the run ended early, "" if it did not.
        planned: the requests that the run would have sent, in the mode `plan`.
        session: the session, with all exchanges.
    """

    url: str
    mode: Mode
    seed: int
    assumptions: bool
    results: tuple[Result, ...]
    passing: tuple[Result, ...]
    not_implemented: tuple[str, ...]
    layers: tuple[LayerRun, ...]
    seconds: float
    clean_up: CleanUp | None
    ledger: Path | None
    unfinished: str
    planned: tuple[Request, ...]
    session: Session = field(repr=False)

    @property
    def broken(self) -> list[Result]:
        """The failures of required properties that are not known failures."""
        return [
            result
            for result in self.results
            if result.state is State.BROKEN and result.property.level == "MUST" and not result.known
        ]

    @property
    def warnings(self) -> list[Result]:
        """The failures of recommended properties that are not known failures."""
        return [r for r in self.results if r.state is State.BROKEN and r.property.level == "SHOULD" and not r.known]

    @property
    def known(self) -> list[Result]:
        """The known failures that are still there."""
        return [result for result in self.results if result.state is State.BROKEN and result.known]

    @property
    def not_tested(self) -> list[Result]:
        """The required properties that were not tested, without an excuse."""
        return [
            result
            for result in self.results
            if result.state is State.NOT_TESTED
            and not result.excused
            and not result.known
            and result.property.level == "MUST"
        ]

    @property
    def exit_code(self) -> int:
        """0 conforms, 1 broken or a known failure that passes, 2 not fully tested, 3 clean-up incomplete."""
        if self.mode == "plan":
            return CONFORMS
        if self.clean_up is not None and not self.clean_up.is_complete:
            return LEFT_BEHIND
        if self.broken or self.passing:
            return BROKEN
        return NOT_TESTED if self.not_tested or self.not_implemented or self.unfinished else CONFORMS


def run(
    options: Options,
    *,
    transport: Transport | None = None,
    tell: Callable[[str], None] = lambda _: None,
    on_progress: Callable[[Session], None] | None = None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Report:
    """Test a server.

    Args:
        options: the options of the run.
        transport: sends requests, by default over HTTP to `options.url`. A transport without an address is local.
        tell: called with progress messages.
        on_progress: called after each request.
        sleep: the sleep function.
        clock: returns elapsed seconds from an arbitrary start.

    Raises:
        ValueError: the options contradict each other.
        LedgerError: the ledger exists already, or cannot be written.
    """
    if not (options.token.isascii() and options.token.isprintable() and " " not in options.token):
        raise ValueError("the token has a character in it that the header Authorization cannot carry")
    own = transport is None
    way: Transport = HttpTransport(options.url) if transport is None else transport
    local = not own or is_local(options.url)
    mode: Mode = options.mode or ("full" if local else "read")
    if mode not in ("plan", "read", "reject") and not local and not options.projects:
        raise ValueError(f"the mode {mode} writes, and needs to know where: add --project")
    plan: PlanTransport | None = None
    if mode == "plan":
        way = plan = PlanTransport(options.url or way.base_url)
    unfinished = "" if plan else _greet(way, options)
    assumptions = options.assumptions
    if assumptions is None:
        assumptions = local and plan is None and not unfinished and _is_emulator(way)
    findings = Findings(
        assumptions=assumptions,
        only=options.only,
        skip=options.skip,
        known=options.known,
        scope=_scope(options, mode),
    )
    path = None if mode in ("plan", "read") or unfinished else options.ledger or _ledger_path()
    ledger = (
        Ledger(None, options.url)
        if path is None
        else Ledger.create(path, options.url, projects=options.projects, settle_time=options.settle)
    )
    rate = options.rate if options.rate is not None else (0.0 if local or plan else _REMOTE_RATE)
    patience = options.patience if options.patience is not None else (_LOCAL_PATIENCE if local else _REMOTE_PATIENCE)
    session = Session(
        way,
        token=options.token,
        projects=options.projects,
        environment_classes=options.environment_classes,
        mode=mode,
        profile=options.profile,
        assumptions=assumptions,
        ledger=ledger,
        findings=findings,
        rate=rate,
        max_creates=options.max_creates,
        settle=options.settle,
        patience=0.0 if plan else patience,
        max_time=options.max_time,
        seed=options.seed,
        local=local,
        sleep=sleep,
        clock=clock,
        on_progress=on_progress,
    )
    begun = time.perf_counter()
    layers: list[LayerRun] = []
    cleaned: CleanUp | None = None
    with _interruptible(session, tell) as interrupts:
        try:
            if not unfinished:
                unfinished = _why_unfinished(session, options, layers, tell, interrupts)
        finally:
            try:
                if not ledger.is_clear and plan is None:
                    cleaned = leave(ledger) if interrupts.is_final else clean_up(session, tell)
            finally:
                ledger.close()
                if own:
                    way.close()
    results = session.findings.results(unfinished=unfinished)
    return Report(
        url=options.url or way.base_url,
        mode=mode,
        seed=options.seed,
        assumptions=assumptions,
        results=tuple(results),
        passing=findings.passing(results),
        not_implemented=() if unfinished and not layers else findings.not_implemented,
        layers=tuple(layers),
        seconds=time.perf_counter() - begun,
        clean_up=cleaned,
        ledger=None if ledger.is_clear else path,
        unfinished=unfinished,
        planned=tuple(plan.requests) if plan else (),
        session=session,
    )


def check(property_name: str, method: str, *, url: str, token: str, **options: Any) -> None:
    """Check one property of one method, as the tests do that a run writes for its failures.

    Args:
        property_name: the property.
        method: the method.
        url: where the server is.
        token: the API token.
        options: further attributes of `Options`.

    Raises:
        AssertionError: the property is broken, or could not be checked.
    """
    # Other requests of the run influence some failures.
    report = run(Options(url=url, token=token, only=(property_name,), methods=(method,), thorough=True, **options))
    for result in report.results:
        problem = result.state is State.BROKEN or (result.state is State.NOT_TESTED and not result.excused)
        if problem or report.unfinished:
            raise AssertionError(masked(f"{property_name} {method}: {result.why}", report.session.secrets))


def clean_up_ledger(
    path: Path,
    *,
    token: str,
    url: str = "",
    transport: Transport | None = None,
    tell: Callable[[str], None] = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> CleanUp:
    """Delete the resources of an earlier run, and delete the ledger once no resource remains.

    Args:
        path: the ledger.
        token: the API token.
        url: the URL of the server; by default the URL in the ledger if it is on this machine. The author of a ledger
            must not choose the recipient of the token.
        transport: sends requests, by default over HTTP to `url`.
        tell: called with progress messages.
        sleep: the sleep function.
        clock: returns elapsed seconds from an arbitrary start.

    Raises:
        LedgerError: the file is not a valid ledger.
        ValueError: the server has no address, or differs from the server in the ledger.
    """
    ledger = Ledger.read(path)
    if url and url.rstrip("/") != ledger.url.rstrip("/"):
        ledger.close()
        raise ValueError(f"the ledger {path} is about {one_line(ledger.url)}, not about {url}")
    if not url and transport is None and not is_local(ledger.url):
        ledger.close()
        raise ValueError(f"name the server: prebuilds contract cleanup {path} {one_line(ledger.url)}")
    way = transport or HttpTransport(ledger.url)
    local = is_local(ledger.url)
    rate = 0.0 if local else _REMOTE_RATE
    session = Session(
        way,
        token=token,
        ledger=ledger,
        local=local,
        rate=rate,
        settle=ledger.settle_time,
        sleep=sleep,
        clock=clock,
    )
    try:
        with _interruptible(session, tell):
            return clean_up(session, tell)
    finally:
        ledger.close()
        if transport is None:
            way.close()


def _scope(options: Options, mode: Mode) -> Scope:
    """The scope that a run with these options can test."""
    unknown = sorted(set(options.methods) - set(METHODS))
    if unknown:
        raise ValueError(f"unknown method {', '.join(unknown)}: expected one of {', '.join(METHODS)}")
    limits = ""
    if set(options.layers) != set(LAYERS):
        limits = f"the choice of layers ({', '.join(options.layers)})"
    if mode != "full":
        limits = f"the mode {mode}"
    writes, none = frozenset(WRITES), frozenset[str]()
    return Scope(
        methods=frozenset(options.methods),
        limits=limits,
        # The kit does not know valid requests for a method that it does not know by name.
        without_success=frozenset(METHODS) - set(HAND_WRITTEN) | (writes if mode in ("read", "reject") else none),
        without_error=writes if mode in ("read", "lifecycle") else none,
        uncalled=writes if mode == "read" else none,
    )


def is_local(url: str) -> bool:
    """Whether a URL is on this machine. Requests to this machine reach nobody else."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _greet(way: Transport, options: Options) -> str:
    """Check that a PrebuildService accepts the token, and return the problem if not.

    A problem counts only if all reading methods have it: a single method may be faulty.
    """
    headers = (("Content-Type", JSON), ("Connect-Protocol-Version", "1"), ("Authorization", f"Bearer {options.token}"))
    if isinstance(way, HttpTransport):
        way.timeout = min(_GREETING_TIMEOUT, options.max_time / 4 or _GREETING_TIMEOUT)
        near = is_local(way.base_url)
        way.connect_timeout = _GREETING_CONNECT_TIMEOUT_LOCAL if near else _GREETING_CONNECT_TIMEOUT
    why = ""
    for method in ("ListPrebuilds", "GetPrebuild", "ListWarmPools", "GetWarmPool"):
        fields = {ID_FIELD[method]: str(uuid.uuid4())} if method in ID_FIELD else {}
        try:
            answer = way.send(Request(method, encode(fields), headers))
        except TransportError as error:
            if not error.sent:
                return str(error)
            why = f"the server does not answer: {error}"
            continue
        url, came = f"{way.base_url}{answer.request.target}", f"{answer.outcome} {answer.media_type}".rstrip()
        if answer.status in (401, 403) and answer.code is not None:
            why = f"the server refuses the token: POST {url} got {came}. Is it the right one (--token-env)?"
        elif 300 <= answer.status < 400:
            where = answer.headers.get("location", "nowhere")
            why = f"the server redirects, which is not followed: POST {url} got {answer.status}, to {where}"
        elif answer.status >= 500:
            why = f"the server fails at everything: POST {url} got {came}"
        elif not _is_of_the_service(answer):
            why = f"there is no PrebuildService: POST {url} got {came}. Is the URL the whole base URL (.../api)?"
        else:
            return ""
    return masked(why, {options.token})


def _is_of_the_service(answer: Answer) -> bool:
    """Whether only a PrebuildService responds like this: a JSON list, or an error of one of its methods."""
    if answer.ok:
        return answer.request.method in LISTS and isinstance(answer.content, dict)
    if answer.code == "not_found":
        return answer.request.method not in LISTS
    return answer.code in CODES and answer.code != UNIMPLEMENTED


def _settle_down(session: Session) -> str:
    """Create a first prebuild, and return the problem that prevents any create."""
    if not session.allows(writes=True) or session.mode == "plan":
        return ""
    if not session.is_open:
        _wait_for_draining(session)
    pair = session.new_pair() if session.is_open else session.home
    if pair is None:
        return ""
    named = {"environmentClassId": pair.environment_class} if pair.environment_class else {}
    why = ""
    for spec in ({}, {"timeout": schema.timeouts()[1]}):
        try:
            answer = session.call("CreatePrebuild", {"projectId": pair.project, **named, "spec": spec})
        except (TransportError, LimitReachedError):
            return ""
        if answer.code not in ("not_found", "failed_precondition", "permission_denied"):
            return ""
        message = answer.json.get("message", "")
        why = f"CreatePrebuild got {answer.outcome}{': ' if message else ''}{message}. "
        why += (
            "The project was made up, as none was given: give one of the server's with --project, and one of its "
            "classes with --environment-class"
            if session.is_open
            else f"Can prebuilds be made in project {pair.project}"
            + (f" with class {pair.environment_class}" if pair.environment_class else "")
            + ", with this token? To read only: --mode read"
        )
    return masked(f"nothing can be made: {why}", session.secrets)


def _wait_for_draining(session: Session) -> None:
    """Wait, for as long as is usual, until pools that are deleted already leave the given places."""
    filters = {"projectIds": list(session.projects)}

    def is_free() -> bool:
        pools, _, _ = session.whole_list("ListWarmPools", filters)
        return not any(phase_of(pool) == "DELETING" for pool in pools)

    with suppress(TransportError):
        session.eventually(is_free, within=session.patience)


def _why_unfinished(
    session: Session,
    options: Options,
    layers: list[LayerRun],
    tell: Callable[[str], None],
    interrupts: _Interrupts,
) -> str:
    """Run the layers, and return why they ended early, "" if they did not. Afterwards nothing is interrupted."""
    why = ""
    try:
        try:
            interrupts.is_heeded = True
            why = _settle_down(session)
            if not why:
                choice = Choice(options.layers, bool(options.only), options.thorough, options.deep)
                run_layers(session, choice, layers, tell)
        except OutOfTimeError:
            why = f"the time of {options.max_time:g} s was over (--max-time)"
        except (ServerGoneError, TransportError, LedgerError) as error:
            why = masked(str(error), session.secrets)
        finally:
            interrupts.is_heeded = False
    except KeyboardInterrupt:
        why = "it was interrupted"
    return "it was interrupted" if session.is_interrupted else why


def _is_emulator(way: Transport) -> bool:
    """Whether the server identifies itself as the bundled emulator."""
    try:
        answer = way.send(Request("", None, (), "GET", path="/_emulator/clock"))
    except TransportError:
        return False
    return answer.status == 200 and "frozen" in answer.json


def _ledger_path() -> Path:
    """A separate file for each run, in the directory for persistent state of programs."""
    state = os.environ.get("XDG_STATE_HOME", "")
    home = Path(state) if state.startswith("/") else Path.home() / ".local" / "state"
    folder = home / "prebuilds" / "contract"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerError(f"the folder {folder} for ledgers cannot be created: {error}. Use --ledger FILE") from None
    stamp = datetime.now(tz=UTC).strftime("%Y%m%d-%H%M%S")
    return folder / f"{stamp}-{os.getpid()}-{uuid.uuid4().hex[:6]}.ledger"


class _Interrupts:
    """Handles Ctrl-C. The first one ends the run, or warns during the clean-up; the second one ends the clean-up."""

    def __init__(self, session: Session, tell: Callable[[str], None]) -> None:
        self._session = session
        self._tell = tell
        self._count = 0
        self.is_heeded = False
        """Whether the layers run, which an interruption ends."""

    @property
    def is_final(self) -> bool:
        """Whether nothing more shall be sent at all."""
        return self._count > 1

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        self._count += 1
        if self.is_heeded and self._count == 1:
            self._session.interrupt()
            raise KeyboardInterrupt
        if self._count > 1:
            raise KeyboardInterrupt
        with suppress(RuntimeError):  # the very same text may be on its way to the terminal
            self._tell("Deleting what the run has created. Ctrl-C once more leaves it, and the ledger that lists it.")


@contextmanager
def _interruptible(session: Session, tell: Callable[[str], None]) -> Generator[_Interrupts]:
    interrupts = _Interrupts(session, tell)
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    numbers = {signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)}
    former = {number: signal.signal(number, interrupts) for number in numbers}
    tell_of_lost = sys.unraisablehook

    def tell_of_others(lost: sys.UnraisableHookArgs) -> None:
        # The session has noted an interruption that Python drops where it calls back from within.
        if lost.exc_type is not KeyboardInterrupt:
            tell_of_lost(lost)

    sys.unraisablehook = tell_of_others
    try:
        yield interrupts
    finally:
        sys.unraisablehook = tell_of_lost
        for number, handler in former.items():
            signal.signal(number, handler)


def requests_by_method(requests: Collection[Request]) -> Counter[str]:
    """The number of requests per method; "" counts requests to unknown methods."""
    return Counter(request.method for request in requests)
