"""All runs of the state machines: their number, their limits, and the shortening of failures."""

from __future__ import annotations

import os
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import hypothesis
from hypothesis import HealthCheck, Phase, Verbosity, configuration, settings
from hypothesis.errors import Flaky
from hypothesis.internal.conjecture import providers
from hypothesis.internal.constants_ast import Constants
from hypothesis.reporting import with_reporter
from hypothesis.stateful import run_state_machine_as_test

from prebuilds.contract import schema
from prebuilds.contract.methods import ID_FIELD
from prebuilds.contract.session import ForbiddenError, LimitReachedError, Pair, Session
from prebuilds.contract.transports import TransportError

if TYPE_CHECKING:
    from prebuilds.contract.machine.rules import Machine

STEPS: Final = 20
"""How many rules a run has by default."""

# Something new is sought after a failure so many times, in all.
_FAILURES = 4

# The limits of the search for a shorter sequence, for each failure.
_SHORTENING_CALLS = 1500
_SHORTENING_SECONDS = 5.0

# The machines' share of the remaining creates, and the maximum for a single run.
_SHARE = 0.7
_MOST_PER_RUN = 14

# The share of the session's patience for asynchronous work of the server. The layer `lifecycle` covers such work.
_PATIENCE = 1 / 15

# The maximum time, in seconds for all runs together, to wait for overdue states.
_DOUBT = 12.0

# So many things are made once, for lists that have more than a page.
_CROWD = schema.default_page_size() + 1


class Broken(Exception):  # noqa: N818  it is what is looked for, no mistake
    """The failure that Hypothesis is shortening has occurred."""


class Enough(BaseException):
    """Ends a machine at once. It does not inherit from `Exception`: Hypothesis would treat it as a failure."""


def run_machine(
    session: Session,
    seed: int = 0,
    steps: int = STEPS,
    scale: float = 1.0,
    budget: float = 0.0,
    part: int | None = None,
) -> None:
    """Call all methods in many orders, and report the results to the session.

    It prints nothing, and writes only the session's files.

    Args:
        session: sends all requests.
        seed: the seed of the orders.
        steps: the maximum number of rules in a run.
        scale: the number of runs, as a multiple of the default.
        budget: the maximum duration in seconds, 0 for no limit.
        part: the number of the only machine to run, None for all.

    Raises:
        OutOfTimeError: the time of the session is over.
        ServerGoneError: the server no longer responds.
    """
    from prebuilds.contract.machine.rules import MACHINES  # its machines need the names above

    plan = [(machine, max(round(runs * scale), 2)) for machine, runs in MACHINES.items()]
    chosen = [place for place in range(len(plan)) if part in (None, place)]
    search = Search(session, sum(plan[place][1] for place in chosen), budget)
    try:
        for place in chosen:
            machine, runs = plan[place]
            for attempt in range(2):
                if search.is_out_of_budget:
                    break
                search.begin()
                try:
                    _run(machine, search, (seed * len(plan) + place) * 2 + attempt, steps, runs)
                except Enough:
                    if search.error is not None:
                        raise search.error from None
                if search.focus is None:
                    break
    finally:
        search.close()
    if search.is_out_of_budget:
        name = "the machine" if part is None else f"machine {part + 1} of {len(plan)}"
        session.shortened.append(f"{name} stopped after {budget:.0f} s, as the server is far away (--deep: not so)")


class Search:
    """The state that all runs share.

    Args:
        session: sends all requests.
        runs: the planned number of runs.
        budget: the maximum duration in seconds, 0 for no limit.

    Attributes:
        session: the session.
        focus: the failed property and method whose sequence is being shortened.
        error: the error that has ended all runs, if any.
        ids: the ids of all created resources.
        caller: the id of the token's owner, as the server returns it; "" until the server has returned it.
        classes: the default environment class of each project, as far as the server has returned it.
        patience: the remaining seconds to wait for asynchronous work of the server.
        doubt: the remaining seconds to wait for overdue states.
    """

    def __init__(self, session: Session, runs: int, budget: float = 0.0) -> None:
        self.session = session
        self._until = session.now() + budget if budget else None
        self.focus: tuple[str, str] | None = None
        self.error: Exception | None = None
        self.ids: set[str] = set(session.made)
        self.caller = ""
        self.classes: dict[str, str] = {}
        self.patience = session.patience * _PATIENCE
        self.doubt = _DOUBT
        self._broken: set[tuple[str, str]] = set()
        self._failures = 0
        self._last = int(len(session.made) + _SHARE * (session.max_creates - len(session.made)))
        self._most = max(min((self._last - len(session.made)) * 2 // runs, _MOST_PER_RUN), 6)
        self._crowd: tuple[str, list[str]] | None = None
        self._given: list[Pair] = []
        if not session.is_open:
            self._given = [pair for pair in (session.new_pair(), session.new_pair()) if pair is not None]
        self._since = 0.0
        self._calls = 0

    def begin(self) -> None:
        """Begin to look for something that is broken and was not found yet."""
        self.focus = None

    def close(self) -> None:
        """Delete the shared resources, and release the places."""
        for pair in self._given:
            self.session.release(pair)
        if self._crowd is not None and self.error is None:
            with suppress(TransportError, ForbiddenError):
                for made in self._crowd[1]:
                    self.session.call("DeletePrebuild", {ID_FIELD["DeletePrebuild"]: made})

    def places(self) -> list[tuple[str, str]]:
        """Projects and environment classes to work in: each of the projects with each of the classes."""
        pairs = self._given
        if self.session.is_open:
            pairs = [pair for pair in (self.session.new_pair() for _ in range(3)) if pair is not None]
        classes = list(dict.fromkeys(pair.environment_class for pair in pairs))
        projects = list(dict.fromkeys(pair.project for pair in pairs))[:2]
        if self.session.is_open and len(classes) < 3:
            classes = [self.session.new_id() for _ in range(3)]
        # Each project and each class comes before any of them comes a second time.
        return [
            (project, classes[(at + shift) % len(classes)])
            for shift in range(len(classes))
            for at, project in enumerate(projects)
        ]

    def crowd(self) -> tuple[str, list[str]] | None:
        """A project with more prebuilds than a page has by default, and their ids. They are made once for all runs.

        None where so many must not be made.
        """
        session = self.session
        if self._crowd is None and session.is_open and session.local and self._last - len(session.made) > 2 * _CROWD:
            project, made = session.new_id(), list[str]()
            self._crowd = project, made
            with suppress(TransportError, LimitReachedError, ForbiddenError):
                for _ in range(_CROWD):
                    answer = session.call("CreatePrebuild", {"projectId": project, "spec": {}})
                    if answer.ok and isinstance(made_id := answer.at("prebuild.id"), str) and made_id:
                        made.append(made_id)
        return self._crowd

    def most(self) -> int:
        """How many things there may be in all when the run that begins now has made its share."""
        return min(len(self.session.made) + self._most, self._last)

    def is_it(self, name: str, method: str) -> bool:
        """Whether this failure is the one whose sequence is being shortened."""
        if name not in self.session.findings.selected:
            return False
        key = name, method
        if self.session.findings.is_known(name, method):
            self._broken.add(key)
            return False  # the search goes on for something that nobody knows yet
        if self.focus is None and key not in self._broken and self._failures < _FAILURES:
            self.focus, self._since, self._calls = key, self.session.now(), len(self.session.log)
            self._failures += 1
        self._broken.add(key)
        return key == self.focus

    def is_broken(self, name: str, method: str) -> bool:
        """Whether it is known already, and need not be waited for again."""
        return (name, method) in self._broken

    @property
    def is_out_of_budget(self) -> bool:
        """Whether the machines have had their time."""
        return self._until is not None and self.session.now() > self._until

    def check_costs(self) -> None:
        """See that the runs, and the search for a shorter sequence, may go on.

        Raises:
            Enough: they have cost enough.
        """
        if self.is_out_of_budget:
            raise Enough
        if self.focus is not None and (
            len(self.session.log) - self._calls > _SHORTENING_CALLS
            or self.session.now() - self._since > _SHORTENING_SECONDS
        ):
            raise Enough

    def wait(self, seconds: float, *, doubt: bool = False) -> bool:
        """Wait, if there is patience left.

        Args:
            seconds: the time to wait.
            doubt: whether the expected state is overdue.
        """
        left = self.doubt if doubt else self.patience
        if left < seconds:
            return False
        if doubt:
            self.doubt -= seconds
        else:
            self.patience -= seconds
        self.session.pause(seconds)
        return True


def _run(machine: type[Machine], search: Search, seed: int, steps: int, runs: int) -> None:
    """Run a machine until something is found and shown in a short sequence, or nothing is."""
    kind = type(machine.__name__, (machine,), {"search": search})
    factory = hypothesis.seed(seed)(kind)
    chosen = settings(
        max_examples=runs,
        stateful_step_count=steps,
        derandomize=False,  # the seed is given
        database=None,
        deadline=None,
        print_blob=False,
        report_multiple_bugs=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much),
        verbosity=Verbosity.quiet,
    )
    with without_files(), with_reporter(lambda _: None):
        try:
            run_state_machine_as_test(factory, settings=chosen)
        except (Broken, Flaky):
            pass  # the server may be nondeterministic: the session has recorded the failure
        except BaseExceptionGroup as several:
            if several.split((Broken, Flaky))[1] is not None:
                raise
        finally:
            delattr(kind, "search")  # Hypothesis remembers each class, and must not remember all that was sent with it


class _Patches:
    """Changes to Hypothesis while machines run, in any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._depth = 0
        self._home: Any = None
        self._constants: Any = None

    def enter(self) -> None:
        with self._lock:
            self._depth += 1
            if self._depth == 1:
                self._home = getattr(configuration, _HOME)
                self._constants = getattr(providers, _CONSTANTS, None)
                configuration.set_hypothesis_home_dir(os.devnull)  # nothing can be made below it
                setattr(providers, _CONSTANTS, Constants)

    def leave(self) -> None:
        with self._lock:
            self._depth -= 1
            if not self._depth:
                setattr(configuration, _HOME, self._home)
                setattr(providers, _CONSTANTS, self._constants)


_HOME: Final = "__hypothesis_home_directory"
_CONSTANTS: Final = "_get_local_constants"
_PATCHES: Final = _Patches()


@contextmanager
def without_files() -> Generator[None]:
    """Keep Hypothesis from writing its folder, and from reading all modules of whoever uses the kit.

    It would look there for large numbers and texts to draw, of which the machines draw neither. Where Hypothesis has no
    such function, nothing changes.
    """
    _PATCHES.enter()
    try:
        yield
    finally:
        _PATCHES.leave()
