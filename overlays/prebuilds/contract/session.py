"""Sends every request of the kit. It enforces limits, records exchanges, checks each response, and cleans up."""

from __future__ import annotations

import copy
import itertools
import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

from prebuild_wire.scalars import parse_uuid
from prebuilds.contract import schema
from prebuilds.contract.findings import PROOF, UNIMPLEMENTED, Failure, Findings
from prebuilds.contract.ledger import Intent, Ledger
from prebuilds.contract.methods import CREATES, DELETES, ID_FIELD, LISTS, METHODS, WRITES
from prebuilds.contract.observations import Observer, items_in
from prebuilds.contract.pacing import Pacer, pause_asked
from prebuilds.contract.properties import PROPERTIES
from prebuilds.contract.reproduction import shortest
from prebuilds.contract.rules.responses import RULES
from prebuilds.contract.secrets import masked
from prebuilds.contract.steps import EVERY_RESPONSE
from prebuilds.contract.transports import HttpTransport, Transport, TransportError
from prebuilds.contract.wire import CODES, JSON, Answer, Request, at, encode

Mode = Literal["plan", "read", "reject", "lifecycle", "full"]
"""What a run may send: nothing; reads; invalid requests as well; creates and deletes; everything."""

Profile = Literal["protojson", "strict"]
"""How the server treats input that protobuf JSON allows and the schema omits: accepted, rejected, or either."""

WRONG_TOKEN: Final = "no-token-of-this-server"  # noqa: S105  it is no secret
"""A token that no server knows."""

TOKEN_VARIABLE: Final = "$TOKEN"  # noqa: S105  stands for the token in reports
"""The placeholder for the API token in displayed requests."""

# Properties that a single response shows, regardless of earlier requests.
_OF_ONE_ANSWER: Final = frozenset(
    {
        *(rule.property.name for rule in RULES),
        "unsupported-media-type",
        "malformed-json",
        "no-write-by-get",
        "method-not-allowed",
        "unauthenticated-without-token",
        "unauthenticated-with-wrong-token",
        "logs-token-is-secret",
    }
)

# The run, or its clean-up, ends after this many consecutive missing responses.
_PATIENCE = 5

# A method that returns only `unimplemented` is no longer called after this many responses.
_ENOUGH_UNIMPLEMENTED = 3

# Errors that leave the effect of a create unknown, by code and, without a code, by status.
_UNCERTAIN: Final = frozenset(
    {"canceled", "unknown", "deadline_exceeded", "aborted", "internal", "unavailable", "data_loss"}
)
_UNCERTAIN_STATUSES: Final = frozenset({408, 425, 429, 499})

# The maximum time for a response, in seconds.
_TIMEOUT = 30.0
_TIMEOUT_OF_CLEAN_UP = 10.0

# The maximum time for the clean-up, in seconds. The ledger keeps the remaining resources.
_MAX_CLEAN_UP = 120.0

# For how many seconds, in all, a call is put off that a server limits by its rate.
_LONGEST_PAUSE = 60.0

# The pauses, in seconds, before a call is sent again that was refused with 429 and no word of when to come back.
_PAUSES = (0.5, 1.0, 2.0, 4.0)


class LimitReachedError(Exception):
    """The run has reached its limit of creates."""


class OutOfTimeError(Exception):
    """The run has had its time."""


class ServerGoneError(Exception):
    """The server no longer responds, or responds too late."""


class NotImplementedByServerError(TransportError):
    """The server has returned `unimplemented` several times. The method is no longer called."""


class ForbiddenError(Exception):
    """A request that this run must not send: a write in a mode without, or outside of the given projects."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A place to work in: a project and an environment class. The class is "" if none was given with the project."""

    project: str
    environment_class: str


@dataclass(slots=True)
class _Shared:
    """The state that all lanes of a run share.

    Attributes:
        pacer: limits the request rate.
        deadline: when the time of the run ends, None if it has no limit.
        lock: held while shared state is read or changed, never during a request.
        made: the method that created each resource of the run, by id.
        lost: the number of creates whose effect is unknown.
        is_full: whether the server has a quota and rejects further creates.
        is_cleaning: whether the clean-up is running.
        is_interrupted: whether the user wants the run to end.
        is_stopped: whether only the clean-up may still send requests.
    """

    pacer: Pacer
    deadline: float | None
    lock: threading.RLock = field(default_factory=threading.RLock)
    made: dict[str, str] = field(default_factory=dict[str, str])
    lost: int = 0
    is_full: bool = False
    is_cleaning: bool = False
    is_interrupted: bool = False
    is_stopped: bool = False


class Session:
    """Sends requests to one server, within the limits of the run.

    Args:
        transport: sends requests to the server.
        token: the API token.
        projects: the projects to write to. If empty, the session invents projects, for servers that accept any project.
        environment_classes: the environment classes to use in the projects.
        mode: the kinds of requests that may be sent.
        profile: how lenient the server may be with input.
        assumptions: whether assumptions about the service are checked.
        ledger: records the created resources.
        findings: collects the results of checks.
        rate: the maximum number of requests per second; 0 for no limit.
        max_creates: the maximum number of resources to create.
        settle: for how many seconds a response may still show the previous state.
        patience: the maximum time to wait for asynchronous work of the server, in seconds.
        max_time: the maximum duration of the run in seconds; 0 for no limit.
        seed: the seed of all random choices.
        local: whether the server is on this machine, so that undeclared verbs and hostile requests do no harm.
        sleep: the sleep function.
        clock: returns elapsed seconds from an arbitrary start.
        on_progress: called after each request.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        token: str,
        projects: Sequence[str] = (),
        environment_classes: Sequence[str] = (),
        mode: Mode = "full",
        profile: Profile = "protojson",
        assumptions: bool = False,
        ledger: Ledger | None = None,
        findings: Findings | None = None,
        rate: float = 0.0,
        max_creates: int = 200,
        settle: float = 0.0,
        patience: float = 15.0,
        max_time: float = 0.0,
        seed: int = 0,
        local: bool = True,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        on_progress: Callable[[Session], None] | None = None,
    ) -> None:
        self.transport = transport
        self.token = token
        self.projects = tuple(projects)
        self.environment_classes = tuple(environment_classes)
        self.mode: Mode = mode
        self.profile: Profile = profile
        self.assumptions = assumptions
        self.ledger = ledger if ledger is not None else Ledger(None, transport.base_url)
        self._findings = findings if findings is not None else Findings(assumptions=assumptions)
        self._unjudged: Answer | None = None
        if profile != "strict":
            self._findings.selected.discard("strict-input")
        self.max_creates = max_creates
        self.settle = settle
        self.patience = patience
        self.seed = seed
        self.local = local
        self.is_thorough = False
        """Whether to send all requests, including requests that only show unselected properties."""
        self.is_selective = False
        """Whether the run is about a few properties, and sends no more than it takes to check them."""
        self.log: list[Answer] = []
        """All exchanges, in order."""
        self._shared = _Shared(Pacer(rate, sleep, clock), clock() + max_time if max_time else None)
        self.made = self._shared.made
        """The method that created each resource, by id. In a lane: only resources that the lane created."""
        self.deleted: set[str] = set()
        """The ids of resources that the server reported as deleted."""
        self.secrets: set[str] = {token, token[:-1]}
        """Values that must never be shown: the API token, also without its end, and the logs tokens."""
        self.layer = ""
        """The current activity, for progress displays."""
        self.begun = clock()
        """When the run has begun, in seconds."""
        self.shortened: list[str] = []
        """The parts that were skipped to keep the run short."""
        self._sleep = sleep
        self._clock = clock
        self._on_progress = on_progress
        self._missing = 0
        self._foreign: dict[str, int] = {}
        """The ids of foreign resources, each with the number of creates that were sent before it was seen."""
        self._logs_tokens: set[str] = set()
        self._observer = Observer(settle)
        self._pairs = self._make_pairs()
        self.home = next(self._pairs if self.is_open else self._make_pairs())
        """Where prebuilds can always be made. Of the given pairs it is the first, in which there may be a pool, too."""
        self._released: list[Pair] = []
        self._changed = float("-inf")
        self._listed: set[tuple[str, str]] = set()
        self.is_lane = False
        """Whether other lanes send at the same time."""
        if isinstance(transport, HttpTransport):
            transport.meanwhile = self.catch_up
        self._persistent: set[str] = set()
        self._unimplemented: Counter[str] = Counter()
        self._takes_any_token: bool | None = None

    @property
    def findings(self) -> Findings:
        """The findings so far."""
        self.catch_up()
        return self._findings

    @property
    def is_interrupted(self) -> bool:
        """Whether the run shall end. An interruption can be lost where Python calls back from within."""
        return self._shared.is_interrupted

    def interrupt(self) -> None:
        """End the run with the next request, in all lanes."""
        self._shared.is_interrupted = True
        self._shared.is_stopped = True

    def abandon(self) -> None:
        """End the clean-up with the next request, in all lanes."""
        self._shared.is_cleaning = False
        self._shared.is_stopped = True

    def stop(self) -> None:
        """End all lanes with their next request."""
        self._shared.is_stopped = True

    def lane(self, transport: Transport, *, max_creates: int) -> Session:
        """A session of the same run that can be used at the same time, in another thread.

        Responses are compared only within a lane, where each request is sent after the response to the one before.

        Args:
            transport: the lane's own way to the server.
            max_creates: how many things the lane makes at most.
        """
        lane = copy.copy(self)
        lane.transport = transport
        lane.max_creates = max_creates
        lane.is_lane = True
        lane.log, lane.made, lane.shortened = [], {}, []
        lane._unjudged = None
        lane._observer = Observer(self.settle)
        if isinstance(transport, HttpTransport):
            transport.meanwhile = lane.catch_up
        return lane

    def end(self, lane: Session) -> None:
        """Merge the observations of a lane."""
        lane.catch_up()
        self.log += lane.log

    # -- What may be done

    def allows(self, writes: bool = False) -> bool:
        """Whether requests may be sent; with `writes`, requests that create, change or delete resources."""
        return self.mode in ("lifecycle", "full", "plan") if writes else True

    @property
    def allows_refusals(self) -> bool:
        """Whether invalid calls of writing methods may be sent. The server must reject such calls."""
        return self.mode in ("reject", "full", "plan")

    @property
    def is_open(self) -> bool:
        """Whether projects are made up, because none was given."""
        return not self.projects

    @property
    def has_made_anything(self) -> bool:
        """Whether something of the run may be under way, in whichever lane."""
        return bool(self._shared.made)

    @property
    def latency(self) -> float:
        """How many seconds a response takes, as far as is known; 0 before the first one."""
        recent = sorted(answer.seconds for answer in self.log[-50:])
        return recent[len(recent) // 2] if recent else 0.0

    def wants(self, *names: str) -> bool:
        """Whether any of these properties is looked at."""
        return self.is_thorough or any(name in self._findings.selected for name in names)

    def wants_more(self, name: str) -> bool:
        """Whether a later layer must check a property. A run of a few properties skips properties with a known result.

        A run of all properties looks at each of them in several ways.
        """
        if not self.wants(name):
            return False
        return not self.is_selective or self._findings.is_open(name)

    def wants_to_see(self, name: str, method: str) -> bool:
        """Whether a request that shows a property of a method is worth sending: its response shows others as well."""
        # A server may accept and execute a request that only an assumption forbids.
        beside = (*EVERY_RESPONSE, "refused-changes-nothing") if method in CREATES else EVERY_RESPONSE
        if name in self._findings.selected:
            return self.is_thorough or self._findings.scope.covers(method)
        if PROPERTIES[name].assumption and not self.assumptions:
            return False
        return self.is_thorough or (self.wants(*beside) and self._findings.scope.covers(method))

    # -- Where to work

    def new_id(self) -> str:
        """A UUID that no other run has used, for a missing resource or for a project of an open server.

        It does not depend on the seed: a second run with the same seed must not find resources of the first run.
        """
        return str(uuid.uuid4())

    def new_pair(self) -> Pair | None:
        """A project and class that this run does not use, or has released. None if there is no other."""
        with self._shared.lock:
            pair = next(self._pairs, None)
            if pair is None and self._released:
                return self._released.pop(0)
            return pair

    def elsewhere(self) -> Pair | None:
        """A project other than the project of `home` for new prebuilds, None if there is none."""
        if self.is_open:
            return self.new_pair()
        return next((pair for pair in self._make_pairs() if pair.project != self.home.project), None)

    def release(self, pair: Pair) -> None:
        """Give a pair back, with no pool in it any more."""
        self._released.append(pair)

    def ids_for_filter(self, number: int) -> list[str]:
        """Ids of projects to ask for in a list, so many: the given ones over and over, or made up."""
        if self.is_open:
            return [self.new_id() for _ in range(number)]
        return list(itertools.islice(itertools.cycle(self.projects), number))

    def _make_pairs(self) -> Iterator[Pair]:
        if self.is_open:
            while True:
                project = self.new_id()
                environment_class = self.environment_classes[0] if self.environment_classes else self.new_id()
                yield Pair(project, environment_class)
        # Each project comes before any comes a second time.
        for shift in range(max(len(self.environment_classes), 1)):
            for at_project, project in enumerate(self.projects):
                classes = self.environment_classes or ("",)
                yield Pair(project, classes[(at_project + shift) % len(classes)])

    # -- Sending

    def headers(
        self, *, token: str | None = "", version: bool = True, content_type: str | None = JSON
    ) -> tuple[tuple[str, str], ...]:
        """The headers of a call.

        Args:
            token: the token to send; "" for the session's, None for no Authorization at all.
            version: whether to send Connect-Protocol-Version.
            content_type: the type of the body, None for none.
        """
        found: list[tuple[str, str]] = []
        if content_type is not None:
            found.append(("Content-Type", content_type))
        if version:
            found.append(("Connect-Protocol-Version", "1"))
        if token is not None:
            found.append(("Authorization", f"Bearer {token or self.token}"))
        return tuple(found)

    def call(
        self,
        method: str,
        fields: Any,
        *,
        token: str | None = "",
        version: bool = True,
        query: str = "",
        refused: bool = False,
    ) -> Answer:
        """Call a method with a JSON body, and check the properties that hold for every response.

        Args:
            method: the name of the method.
            fields: the request, any JSON value.
            token: the token to send; "" for the session's token, None to send no token.
            version: whether to send Connect-Protocol-Version.
            query: the query string.
            refused: whether the server must reject the call. Such a call may be sent where changes are not allowed.

        Raises:
            TransportError: there is no response.
            LimitReachedError: the limit of creates is reached.
            OutOfTimeError: the time of the run is over.
            ForbiddenError: the mode of the run does not allow this request.
        """
        request = Request(method, encode(fields), self.headers(token=token, version=version), query=query)
        return self.send(request, refused=refused)

    def send(self, request: Request, *, refused: bool = False) -> Answer:
        """Send a raw request, and check the properties that hold for every response. Raises the errors of `call`."""
        with self._shared.lock:
            self._guard(request, refused=refused)
            if self._unimplemented[request.method] >= _ENOUGH_UNIMPLEMENTED and not self._shared.is_cleaning:
                raise NotImplementedByServerError(f"the server does not implement {request.method}", sent=False)
            intent = self._intend(request)
        answer = self._exchange_in_time(request, intent)
        with self._shared.lock:
            answer.number = len(self.log)
            # The ledger comes first: nothing may happen between the response and its entry.
            if intent is not None:
                self._settle_intent(intent, answer)
            self.log.append(answer)
            self._note_unimplemented(answer)
            if answer.ok and request.method in WRITES:
                self._changed = self._clock()
                if request.method in DELETES:
                    self.deleted.add(str(_read(request.body).get(ID_FIELD[request.method])))
            self._remember(answer)
            # It is judged while the server is at work on the next request.
            self.catch_up()
            self._unjudged = answer
            if self._on_progress is not None:
                self._on_progress(self)
        return answer

    def catch_up(self) -> None:
        """Check the latest response unless it is checked already."""
        answer, self._unjudged = self._unjudged, None
        if answer is not None:
            with self._shared.lock:
                self._judge_answer(answer)

    def pause(self, seconds: float) -> None:
        """Let time pass, but not beyond the run's own."""
        self.catch_up()
        if self._shared.is_stopped and not self._shared.is_cleaning:
            raise KeyboardInterrupt
        if self._shared.deadline is not None and self._clock() + seconds > self._shared.deadline:
            raise self._over()
        self._sleep(seconds)

    def _over(self) -> Exception:
        """The error to raise when the time of the run, or of its clean-up, is over."""
        if self._shared.is_cleaning:
            return ServerGoneError(f"the clean-up was given up after {_MAX_CLEAN_UP:g} s")
        return OutOfTimeError()

    def now(self) -> float:
        """The seconds that have passed, from any beginning."""
        return self._clock()

    def eventually(self, look: Callable[[], bool], *, within: float | None = None, interval: float = 0.0) -> bool:
        """Poll until a condition holds, for at least the settling time of the server.

        Args:
            look: returns whether the condition holds.
            within: the maximum time to poll, in seconds; by default the settling time.
            interval: the pause between two polls; by default a twentieth of `within`, at most a second.
        """
        limit = self.settle if within is None else within
        begun = self._clock()
        step = interval or min(max(limit / 20, 0.01), 1.0)
        while not look():
            if self._clock() - begun >= limit:
                return False
            self.pause(step)
        return True

    def start_cleaning(self) -> None:
        """From now on the limits of the run do not count, so that all can be deleted."""
        self._shared.is_cleaning = True
        self._shared.deadline = self._clock() + _MAX_CLEAN_UP
        self._missing = 0
        self.ledger.is_winding_up = True

    # -- Judging

    def mark(self) -> int:
        """The place in the log from which a sequence begins."""
        return len(self.log)

    def since(self, mark: int) -> list[Answer]:
        """The exchanges since a mark."""
        return self.log[mark:]

    def judge(
        self,
        name: str,
        method: str,
        ok: bool,
        why: str = "",
        *,
        shows: Sequence[Answer] = (),
    ) -> bool:
        """Record whether a method passed the check of a property.

        Args:
            name: the property.
            method: the method.
            ok: whether the check passed.
            why: the request, the response and the expected response, for a failed check.
            shows: the exchanges that show the result together, by default the latest one. The calls that created the
                resources in question are added automatically.

        Returns:
            `ok`.
        """
        if ok and self._findings.is_kept(name, method):
            return ok  # there is nothing new in it, and nearly all judgements are so
        with self._shared.lock:
            self._record(name, method, ok, why, shows)
        return ok

    def _record(self, name: str, method: str, ok: bool, why: str, shows: Sequence[Answer]) -> None:
        if name not in self._findings.selected or method not in PROPERTIES[name].methods:
            return
        if not ok and name not in _OF_ONE_ANSWER and self._clock() - self._changed < self.settle:
            # Another look, later, may show it kept, or broken.
            self._findings.excuse(name, method, "each look was too soon after a change (--settle)")
            return
        if ok:
            self._findings.keep(name, method)
        else:
            # A lone surrogate cannot be printed.
            why = masked(why.encode("utf-8", "backslashreplace").decode(), self.secrets)
            shown = shows or self.log[-1:]
            known = self._findings.length_of(name, method)
            if known is not None and len(shown) >= known:
                return  # a sequence that is not longer shows it already
            steps = shortest(self.log, shown, self.made)
            self._findings.add(Failure(PROPERTIES[name], method, why, steps, self.layer))

    def excuse(self, name: str, why: str, *methods: str) -> None:
        """Record that a property cannot be tested here. This does not count against the server.

        Args:
            name: the property.
            why: the reason.
            methods: the methods, by default all methods of the property.
        """
        for method in methods or PROPERTIES[name].methods:
            self._findings.excuse(name, method, why)

    def accepted(self, name: str, answer: Answer, what: str) -> bool:
        """Check that a call succeeded. `what` describes the request."""
        why = f"{what} has to succeed, and got {answer.outcome}"
        return self.judge(name, answer.request.method, answer.status == 200, why, shows=[answer])

    def refused(self, name: str, answer: Answer, what: str, *codes: str) -> bool:
        """Check that a call was rejected with one of the codes. `what` describes the request."""
        why = f"{what} has to be {' or '.join(codes)}, and got {answer.outcome}"
        return self.judge(name, answer.request.method, answer.code in codes, why, shows=[answer])

    def takes_any_token(self) -> bool:
        """Whether the server accepts invented tokens, as a test server may. The session checks this once."""
        if self._takes_any_token is None:
            answers: list[Answer] = []
            for method in LISTS:
                with suppress(TransportError):
                    answers.append(self.call(method, {}, token=WRONG_TOKEN, refused=True))
            self._takes_any_token = bool(answers) and all(answer.ok for answer in answers)
        return self._takes_any_token

    def latest(self, item_id: str) -> dict[str, Any] | None:
        """The last observed state of the prebuild or pool with that id."""
        self.catch_up()
        return self._observer.latest(item_id)

    # -- Within

    def _guard(self, request: Request, *, refused: bool) -> None:
        """See that the run may send this."""
        shared = self._shared
        if shared.is_stopped and not shared.is_cleaning:
            raise KeyboardInterrupt
        if shared.deadline is not None and self._clock() > shared.deadline:
            raise self._over()
        if request.method not in WRITES or shared.is_cleaning or request.path is not None:
            return
        if not self.allows(writes=True) and not (refused and self.allows_refusals):
            raise ForbiddenError(f"the mode {self.mode} sends no {request.method}")
        if request.method in CREATES:
            if len(self.made) + shared.lost >= self.max_creates:
                raise LimitReachedError(f"{self.max_creates} things were made, and more must not be (--max-creates)")
            if shared.is_full and not refused:
                raise LimitReachedError("the server has a quota, and lets no more be made")
            project = _read(request.body).get("projectId")
            if self.projects and _is_uuid(project) and project not in self.projects:
                raise ForbiddenError(f"project {project} is none of those that were given")
        elif request.method not in ID_FIELD:
            if not refused and not (self.is_open and self.local):
                raise ForbiddenError(f"{request.method} is new, and nothing says what it changes")
        elif str(_read(request.body).get(ID_FIELD[request.method])).lower() in self._foreign:
            raise ForbiddenError(f"{request.method} must not touch what the run has not made")

    def _intend(self, request: Request) -> Intent | None:
        if request.method not in CREATES or request.path is not None:
            return None
        fields = _read(request.body)
        project, environment_class = (
            value if isinstance(value, str) else ""
            for value in (fields.get("projectId"), fields.get("environmentClassId"))
        )
        key = request.method, project
        if project in self.projects and key not in self._listed:
            self._listed.add(key)
            before = self.ids_in_project(request.method, project)
            if before is not None:
                self.ledger.note_before(request.method, project, before)
        return self.ledger.intend(request.method, project, environment_class)

    def whole_list(
        self, method: str, filters: dict[str, Any], most: int = 20
    ) -> tuple[list[dict[str, Any]], Answer, bool]:
        """Read the items of a list in pages of 100, at most `most` pages.

        Returns:
            The items, the last exchange, and whether the list has ended. An empty page does not end a list.
        """
        found: list[dict[str, Any]] = []
        tokens: list[str] = []
        while True:
            page: dict[str, Any] = {"pageSize": schema.max_page_size(), **({"token": tokens[-1]} if tokens else {})}
            answer = self.call(method, {"filter": filters, "pagination": page})
            found += [item for _, item in items_in(answer)]
            token = answer.at("pagination.nextToken")
            if not answer.ok or not isinstance(token, str) or not token:
                return found, answer, answer.ok
            if token in tokens or len(tokens) + 1 >= most:
                return found, answer, False
            tokens.append(token)

    def ids_in_project(self, create_method: str, project: str) -> list[str] | None:
        """The ids of the prebuilds, or pools, that a project has. None if the server does not list them all."""
        method = "ListPrebuilds" if create_method == "CreatePrebuild" else "ListWarmPools"
        try:
            items, _, complete = self.whole_list(method, {"projectIds": [project]})
        except TransportError:
            return None
        if not complete:
            return None
        # The filter itself may be faulty: items of other projects do not belong to this run.
        ours = [item for item in items if at(item, "metadata.projectId") == project]
        return [str(item["id"]) for item in ours if item.get("id")]

    def _exchange_in_time(self, request: Request, intent: Intent | None) -> Answer:
        """Send it as soon as the server's limit of rate lets it through."""
        waited = 0.0
        for attempt in itertools.count():
            answer = self._exchange(request, intent)
            if answer.status != 429:
                return answer
            self._shared.pacer.slow_down()
            wait = pause_asked(answer)
            if wait is None:
                # Without a word of when to come back it may be a quota, and no rate.
                if attempt >= len(_PAUSES) or request.method in self._persistent:
                    self._persistent.add(request.method)
                    if request.method in CREATES and answer.code == "resource_exhausted":
                        self._shared.is_full = True
                    return answer
                wait = _PAUSES[attempt]
            waited += wait
            if waited > _LONGEST_PAUSE:
                raise ServerGoneError(
                    f"{request.method or request.target} is limited by its rate, even after {waited - wait:g} s; "
                    "fewer requests a second are sent with --rate"
                )
            self.pause(wait)
        raise AssertionError("unreachable")

    def _exchange(self, request: Request, intent: Intent | None) -> Answer:
        """Send the request, retry it if that is safe, and record missing responses."""
        for attempt in itertools.count():
            if self._shared.pacer.is_limited:
                self.catch_up()
                self._shared.pacer.wait_for_turn()
            self._limit_time()
            try:
                answer = self.transport.send(request)
            except TransportError as error:
                self._missing += 1
                if not error.sent and intent is not None:
                    with self._shared.lock:
                        self.ledger.settle(intent, [])
                    intent = None
                if self._shared.is_stopped and not self._shared.is_cleaning:
                    raise KeyboardInterrupt from error
                if self._shared.deadline is not None and self._clock() > self._shared.deadline:
                    raise self._over() from error
                if self._missing >= _PATIENCE:
                    raise ServerGoneError(f"the server does not answer: {error}") from error
                if request.method in WRITES or attempt == 1:
                    self._shared.lost += intent is not None
                    if error.sent and request.method in METHODS and not self._shared.is_cleaning:
                        lost = Answer(0, {}, b"", 0.0, request, len(self.log))
                        self.log.append(lost)
                        self.judge("no-server-error", request.method, ok=False, why=str(error), shows=[lost])
                    raise
            else:
                self._missing = 0
                return answer
        raise AssertionError("unreachable")

    def _limit_time(self) -> None:
        """Limit the wait for a response to the time of the run."""
        if isinstance(self.transport, HttpTransport):
            shared = self._shared
            left = _TIMEOUT if shared.deadline is None else shared.deadline - self._clock() + 0.1
            self.transport.timeout = max(0.1, min(left, _TIMEOUT_OF_CLEAN_UP if shared.is_cleaning else _TIMEOUT))

    def _settle_intent(self, intent: Intent, answer: Answer) -> None:
        if answer.ok:
            name = "prebuild" if intent.method == "CreatePrebuild" else "warmPool"
            made_id = answer.at(f"{name}.id")
            fresh = isinstance(made_id, str) and made_id and made_id not in self._shared.made
            # Another lane may have seen it already, but not before the create was sent.
            if isinstance(made_id, str) and fresh and self._seen_before(made_id) >= intent.number:
                self._foreign.pop(made_id.lower(), None)
                self.made[made_id] = self._shared.made[made_id] = intent.method
                self.ledger.settle(intent, [made_id])
                return
            self._shared.lost += 1
        elif _proves_nothing_was_made(answer):
            self.ledger.settle(intent, [])

    def _seen_before(self, made_id: str) -> float:
        """How many creates were sent before the id was first seen; without end if it was not."""
        return self._foreign.get(made_id.lower(), float("inf"))

    def _judge_answer(self, answer: Answer) -> None:
        method = answer.request.method
        if method not in METHODS or answer.request.path is not None:
            return
        for rule in RULES:
            why = rule.check(answer)
            if why is not None:
                self.judge(rule.property.name, method, not why, why, shows=[answer])
        self._note_reached(answer)
        for observation in self._observer.look(answer, self._clock()):
            shows = [answer] if observation.before is None else [observation.before, answer]
            self.judge(observation.property, method, not observation.why, observation.why, shows=shows)

    def _note_reached(self, answer: Answer) -> None:
        """Note how far an ordinary call has reached its method."""
        request, code = answer.request, answer.code
        reached = self._findings.reached[request.method]
        if request.http_method != "POST":
            return
        if answer.status == 200:
            reached.success = reached.success or (request.header("content-type") or JSON).startswith(JSON)
        elif _says_unimplemented(answer):
            reached.codes.add(UNIMPLEMENTED)
        elif code in CODES and code != UNIMPLEMENTED:
            reached.codes.add(str(code))

    def _note_unimplemented(self, answer: Answer) -> None:
        """Count the responses that mean that the server does not have a method."""
        method = answer.request.method
        if _says_unimplemented(answer):
            self._unimplemented[method] += self._unimplemented[method] >= 0
        elif answer.ok or (answer.code in PROOF and answer.code != "invalid_argument"):
            self._unimplemented[method] = -1  # the server has it

    def _remember(self, answer: Answer) -> None:
        """Record secrets and foreign resources, and check that no secret leaks."""
        for _, item in items_in(answer):
            item_id = item.get("id")
            if isinstance(item_id, str) and item_id and item_id not in self._shared.made:
                self._foreign.setdefault(item_id.lower(), self.ledger.count)
        if self._logs_tokens and answer.request.method != "CreatePrebuildLogsToken":
            text = answer.body.decode("utf-8", "replace")
            leaked = any(token in text for token in self._logs_tokens)
            if answer.request.method in METHODS:
                why = "the answer shows a logs token"
                self.judge("logs-token-is-secret", answer.request.method, not leaked, why, shows=[answer])
        token = answer.json.get("accessToken") if answer.ok else None
        if isinstance(token, str) and token:
            self.secrets.add(token)
            if len(token) >= 8:
                self._logs_tokens.add(token)


def _says_unimplemented(answer: Answer) -> bool:
    """Whether the response to an ordinary call means that the server does not have the method.

    By the Connect protocol, a 404 or 501 without a Connect error also means `unimplemented`.
    """
    request = answer.request
    if request.path is not None or request.http_method != "POST" or request.header("content-encoding"):
        return False
    return answer.code == UNIMPLEMENTED or (answer.code not in CODES and answer.status in (404, 501))


def _proves_nothing_was_made(answer: Answer) -> bool:
    """Whether a create certainly had no effect. An internal error or a lost response leaves the effect unknown."""
    if answer.code in CODES:
        return answer.code not in _UNCERTAIN
    return (300 <= answer.status < 500 and answer.status not in _UNCERTAIN_STATUSES) or answer.status in (501, 505)


def _read(body: bytes | None) -> Mapping[str, Any]:
    """The fields of a request, by their JSON names; empty if the request has no fields."""
    try:
        content = json.loads(body or b"")
    except (ValueError, RecursionError):
        return {}
    if not isinstance(content, dict):
        return {}
    fields = cast("dict[str, Any]", content)
    return {_json_name(name): value for name, value in fields.items()}


def _json_name(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _is_uuid(value: object) -> bool:
    try:
        parse_uuid(value)
    except ValueError:
        return False
    return True
