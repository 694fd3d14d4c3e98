"""The second layer: calls in any order, against a model of what has to be there afterwards.

A state machine of Hypothesis draws what is called, and with what. What the server decides is observed, never drawn: no
draw depends on an answer, so that a seed stands for the same calls on every server that decides alike. Each run of the
machine begins with projects and classes of its own as far as there are any, and deletes what it has made.

What a call means depends on time, and time is the server's. Where something has to come about, the machine waits for
it, up to a patience that is bounded for all runs together; when it is used up, what would need more of it is left
undecided.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import wraps
from itertools import pairwise
from typing import ClassVar, Concatenate, Final, NamedTuple, ParamSpec, cast

import hypothesis
from hypothesis import HealthCheck, Phase, Verbosity, configuration, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from hypothesis.reporting import with_reporter
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from prebuilds.contract.model import (
    CANCELLING,
    UNDER_WAY,
    Filter,
    Json,
    Kind,
    Made,
    bounds,
    difference,
    fits,
    is_at_rest,
    is_leaving,
    made_at,
    new_bounds,
    passes,
    seconds,
)
from prebuilds.contract.observations import ENDED, LEAVING, desired_phase_of, phase_of
from prebuilds.contract.properties import CREATES, ID_FIELD, READS
from prebuilds.contract.session import ForbiddenError, LimitReachedError, Pair, Session
from prebuilds.contract.transports import TransportError
from prebuilds.contract.wire import Answer, at

EXAMPLES: Final = 20
"""How many runs of the machine there are by default."""

STEPS: Final = 20
"""How many rules each of them has by default."""

# So long after it was asked for, in seconds, a deletion or cancellation has to show.
_GRACE = 3.0

# If nothing has changed for so many seconds, the server takes its time, or time stands still there.
_STANDSTILL = 4.0

# So many times one looks without much of a pause.
_QUICK_LOOKS = 40

# Each time something was found, the search goes on for something else.
_ROUNDS = 4

# What the search for a shorter sequence may cost.
_SHORTENING_CALLS = 3000
_SHORTENING_SECONDS = 8.0

# Of what may still be made, the share that is for the machine.
_SHARE = 0.7

# A page that is read whole, for lists that are to be complete.
_WHOLE = 100

# More pages of a list than this are not read, and so many empty ones in a row have no end.
_PAGES = 60
_EMPTY_PAGES = 20

# Codes of a create by which a server tells that it does not know a project or class, or may not use it.
_UNUSABLE = ("failed_precondition", "not_found", "permission_denied")

_GET: Final[Mapping[Kind, str]] = {"prebuild": "GetPrebuild", "pool": "GetWarmPool"}
_LIST: Final[Mapping[Kind, str]] = {"prebuild": "ListPrebuilds", "pool": "ListWarmPools"}
_DELETE: Final[Mapping[Kind, str]] = {"prebuild": "DeletePrebuild", "pool": "DeleteWarmPool"}
_ITEM: Final[Mapping[Kind, str]] = {"prebuild": "prebuild", "pool": "warmPool"}
_ITEMS: Final[Mapping[Kind, str]] = {"prebuild": "prebuilds", "pool": "warmPools"}

_MANUAL = "PREBUILD_TRIGGER_MANUAL"
_SCHEDULED = "PREBUILD_TRIGGER_SCHEDULED"
_PHASE = "PREBUILD_PHASE_"

P = ParamSpec("P")


class _Broken(Exception):  # noqa: N818  it is what is looked for, no mistake
    """What a short sequence is sought for was broken."""


class _Skip(Exception):  # noqa: N818  nor is this
    """There is no answer to speak of, which is judged elsewhere: the rule ends here."""


class _Enough(BaseException):
    """Ends everything at once. It is no `Exception`: that would be taken for something that was found."""


def run_machine(session: Session, seed: int = 0, steps: int = STEPS, examples: int = EXAMPLES) -> None:
    """Call all methods in many orders, and tell the session what is kept and what is broken.

    Nothing is printed, and no file is written but the session's.

    Args:
        session: through which everything is sent.
        seed: which orders are tried.
        steps: how many rules a run has at most.
        examples: how many runs there are.

    Raises:
        OutOfTimeError: the session has had its time.
        ServerGoneError: the server does not answer any more.
    """
    search = _Search(session, examples)
    try:
        for number in range(_ROUNDS):
            search.begin()
            try:
                _try(search, seed * _ROUNDS + number, steps, examples)
            except _Enough:
                if search.error is not None:
                    raise search.error from None
            if search.focus is None:
                break
    finally:
        search.close()


class _Search:
    """What all runs of the machine have in common."""

    def __init__(self, session: Session, examples: int) -> None:
        self.session = session
        self.patience = session.patience / 3  # what a server does in its time is mostly for the layer `lifecycle`
        self.focus: tuple[str, str] | None = None
        """What is broken, and is being shown in a shorter sequence now."""
        self.broken: set[tuple[str, str]] = set()
        self.error: Exception | None = None
        self.ids: set[str] = set(session.made)
        self.caller = ""
        self.classes: dict[str, str] = {}
        """The default environment class of each project."""
        self._examples = examples
        self._last = int(len(session.made) + _SHARE * (session.max_creates - len(session.made)))
        self._share = 0
        self._given: list[Pair] = []
        if not session.is_open:
            self._given = [pair for pair in (session.new_pair(), session.new_pair()) if pair is not None]
        self._since = 0.0
        self._calls = 0

    def begin(self) -> None:
        """Begin to look for something that is broken and was not found yet."""
        self.focus = None
        self._share = max((self._last - len(self.session.made)) // self._examples, 6)

    def close(self) -> None:
        """Give back what was taken."""
        for pair in self._given:
            self.session.release(pair)

    def pairs(self) -> list[Pair]:
        """Two places to work in, or as many as there are."""
        if not self.session.is_open:
            return self._given
        return [pair for pair in (self.session.new_pair(), self.session.new_pair()) if pair is not None]

    def most(self) -> int:
        """How many things there may be in all when this run has made its share."""
        return min(len(self.session.made) + self._share, self._last)

    def is_it(self, name: str, method: str) -> bool:
        """Whether this, being broken, is what a short sequence is sought for."""
        if name not in self.session.findings.selected:
            return False
        key = name, method
        if self.focus is None and key not in self.broken:
            self.focus, self._since, self._calls = key, self.session.now(), len(self.session.log)
        self.broken.add(key)
        return key == self.focus

    def check_costs(self) -> None:
        """End the search for a shorter sequence when it has cost enough."""
        if self.focus is not None and (
            len(self.session.log) - self._calls > _SHORTENING_CALLS
            or self.session.now() - self._since > _SHORTENING_SECONDS
        ):
            raise _Enough

    def grace(self, name: str, method: str) -> float:
        """How long something may take to come about. What is known to be broken need not be waited for again."""
        return self.session.settle + (0.1 if (name, method) in self.broken else _GRACE)


def _try(search: _Search, seed: int, steps: int, examples: int) -> None:
    """Run the machine until something is found and shown in a short sequence, or nothing is."""
    factory = hypothesis.seed(seed)(type("ContractMachine", (_Machine,), {"search": search}))
    chosen = settings(
        max_examples=examples,
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
        except (_Broken, Flaky):
            pass  # a server need not do the same thing twice: the session knows what was seen
        except BaseExceptionGroup as several:
            if several.split((_Broken, Flaky))[1] is not None:
                raise


@contextmanager
def without_files() -> Generator[None]:
    """Keep Hypothesis from writing its folder `.hypothesis`, where it remembers the constants of modules."""
    name = "__hypothesis_home_directory"
    before = getattr(configuration, name)
    configuration.set_hypothesis_home_dir(os.devnull)  # nothing can be made below it, and Hypothesis does without
    try:
        yield
    finally:
        setattr(configuration, name, before)


# Few values each: what matters is how they meet. Integers are small, as Hypothesis tries constants that it finds in
# loaded modules in place of larger ones, and which are loaded is not the seed's.
_AT = st.integers(0, 5)
_PAIR = st.integers(0, 2)
_TIMEOUTS = st.sampled_from([None, "3600s", "300s", "7200s", "4000.500s", "1234s"])
_VALID_SIZES = st.one_of(
    st.tuples(st.integers(0, 20), st.integers(1, 20)).map(lambda pair: {"minSize": min(pair), "maxSize": max(pair)}),
    st.integers(1, 20).map(lambda size: {"desiredSize": size}),
    st.just(dict[str, int]()),
)
_SIZES = st.one_of(
    _VALID_SIZES,
    st.integers(0, 20).map(lambda size: {"minSize": size}),
    st.integers(1, 20).map(lambda size: {"maxSize": size}),
    st.tuples(st.integers(1, 19), st.integers(1, 20))
    .map(sorted)
    .map(lambda pair: {"minSize": pair[1] + (pair[0] == pair[1]), "maxSize": pair[0]}),
)
_PAGE_SIZES = st.sampled_from([100, 1, 2, 3, 0])
_PHASES = st.sampled_from(["", "", "of-one", "of-others", "of-two"])
_TRIGGERS = st.sampled_from([(), (), (_MANUAL,), (_SCHEDULED,), (_MANUAL, _SCHEDULED)])
_SUBJECTS = st.sampled_from(["", "", "", "caller", "stranger", "both"])
_PLACES = st.sampled_from(["", "0", "1", "01", "0?", "?"])
_MEDDLING = st.sampled_from(["", "", "create", "delete"])


def _step(function: Callable[Concatenate[_Machine, P], None]) -> Callable[Concatenate[_Machine, P], None]:
    """A rule that ends when the server cannot answer, and ends everything on what is not for Hypothesis to look at."""

    @wraps(function)
    def run(machine: _Machine, /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            function(machine, *args, **kwargs)
        except _Skip:
            return
        except _Broken:
            raise
        except Exception as error:
            machine.search.error = error
            raise _Enough from error

    return run


class _Pages(NamedTuple):
    """What the pages of a list have shown."""

    items: list[Json]
    pages: int
    ended: bool
    answers: list[Answer]


class _Seen(NamedTuple):
    """What a list says of a property: what is wrong, "" if nothing is, the answers that show it, and of what."""

    property: str
    why: str
    answers: Sequence[Answer]
    about: Sequence[Made] = ()


class _Machine(RuleBasedStateMachine):
    """One run. Each rule makes what it needs, and looks at what it has done."""

    search: ClassVar[_Search]

    def __init__(self) -> None:
        super().__init__()
        self.session = self.search.session
        self.mark = self.session.mark()
        self.most = self.search.most()
        pairs = self.search.pairs()
        self.pairs = [(pair.project, pair.environment_class) for pair in pairs]
        if len(pairs) == 2 and (mixed := (pairs[0].project, pairs[1].environment_class)) not in self.pairs:
            self.pairs.append(mixed)
        self.unusable: set[int] = set()
        self.made: list[Made] = []
        self.stranger = self.session.new_id()

    def teardown(self) -> None:
        """Delete what was made, as far as it can be: what is left is for the ledger."""
        if self.search.error is None:
            for made in reversed(self.made):
                if not made.gone and (made.lost or not made.deleting):
                    self._clean(made)

    @_step
    def _clean(self, made: Made) -> None:
        with suppress(LimitReachedError, ForbiddenError, TransportError):
            self.session.call(_DELETE[made.kind], {ID_FIELD[_DELETE[made.kind]]: made.id})

    # -- Making

    @rule(pair=_PAIR, named=st.booleans(), timeout=_TIMEOUTS, listed=st.booleans())
    @_step
    def create_prebuild(self, pair: int, named: bool, timeout: str | None, listed: bool) -> None:
        self._create_prebuild(pair, named=named, timeout=timeout, listed=listed)

    @rule(pair=_PAIR, sizes=_SIZES, listed=st.booleans())
    @_step
    def create_pool(self, pair: int, sizes: dict[str, int], listed: bool) -> None:
        self._create_pool(pair, sizes, listed=listed)

    # -- Reading

    @rule(pools=st.booleans())
    @_step
    def look_at_all(self, pools: bool) -> None:
        """Whatever was done to others, each thing is as it was left, alone and in a list."""
        for made in self.made:
            if not made.gone:
                self._look(made)
        self._compare_list_with_get("pool" if pools else "prebuild")

    @rule(
        projects=_PLACES,
        phases=_PHASES,
        triggers=_TRIGGERS,
        creators=_SUBJECTS,
        executors=_SUBJECTS,
        which=_AT,
        size=_PAGE_SIZES,
        meddling=_MEDDLING,
        empty=st.booleans(),
    )
    @_step
    def list_prebuilds(
        self,
        projects: str,
        phases: str,
        triggers: tuple[str, ...],
        creators: str,
        executors: str,
        which: int,
        size: int,
        meddling: str,
        empty: bool,
    ) -> None:
        for pair in range(3):
            if len(self._there("prebuild")) < 3:
                self._create_prebuild(pair)
        wanted: dict[str, Sequence[str]] = {
            "projectIds": self._places(projects, 0),
            "phases": self._phases(phases, which),
            "triggeredBy": triggers,
            "creatorIds": self._subjects(creators),
            "executorIds": self._subjects(executors),
        }
        self._list("prebuild", {name: values for name, values in wanted.items() if values or empty}, size, meddling)

    @rule(projects=_PLACES, classes=_PLACES, size=_PAGE_SIZES, meddling=_MEDDLING, empty=st.booleans())
    @_step
    def list_pools(self, projects: str, classes: str, size: int, meddling: str, empty: bool) -> None:
        for pair in range(2 if meddling == "create" else len(self.pairs)):
            self._pool_in(pair)
        wanted = {"projectIds": self._places(projects, 0), "environmentClassIds": self._places(classes, 1)}
        self._list("pool", {name: values for name, values in wanted.items() if values or empty}, size, meddling)

    @rule(pools=st.booleans(), token=st.sampled_from(["other-filter", "other-method", "garbage", "half"]))
    @_step
    def use_wrong_token(self, pools: bool, token: str) -> None:
        self._use_wrong_token("pool" if pools else "prebuild", token)

    # -- Changing

    @rule(which=_AT, updates=st.lists(_SIZES, min_size=1, max_size=4))
    @_step
    def update_pool(self, which: int, updates: list[dict[str, int]]) -> None:
        pool = self._pick("pool", which)
        if pool is not None:
            for sizes in updates:
                self._update(pool, sizes)

    @rule(which=_AT, fresh=st.booleans(), again=st.booleans())
    @_step
    def cancel_prebuild(self, which: int, fresh: bool, again: bool) -> None:
        # One that was just made is under way on most servers, and so is another one beside it.
        prebuild = self._create_prebuild(which) if fresh else self._pick("prebuild", which)
        if prebuild is None:
            return
        if fresh:
            self._create_prebuild(which)
        self._cancel(prebuild)
        if again:
            self._cancel(prebuild)

    @rule(which=_AT, pools=st.booleans(), then=st.sampled_from(["", "delete", "change"]))
    @_step
    def delete(self, which: int, pools: bool, then: str) -> None:
        made = self._pick("pool" if pools else "prebuild", which)
        if made is None:
            return
        self._delete(made)
        if then == "delete":
            self._delete(made)
        elif then == "change" and pools:
            self._update(made, {"desiredSize": 2})
        elif then == "change":
            self._cancel(made)

    @rule(which=_AT)
    @_step
    def create_logs_token(self, which: int) -> None:
        prebuild = self._pick("prebuild", which)
        if prebuild is not None:
            self._create_logs_token(prebuild)

    # -- What takes its time

    @rule(pair=_PAIR)
    @_step
    def see_a_prebuild_through(self, pair: int) -> None:
        """A prebuild comes to its end; if it completes, the pool of its project and class gets its snapshot."""
        pool = self._pool_in(pair)
        if pool is not None:
            self._look(pool)
        earlier = "" if pool is None else at(pool.seen, "spec.snapshotId") or ""
        prebuild = self._create_prebuild(pair)
        if prebuild is None:
            return
        self._wait_for(prebuild, lambda: phase_of(prebuild.seen) in ENDED or not prebuild.there)
        if phase_of(prebuild.seen) == "COMPLETED" and pool is not None:
            self._see_snapshot(pool, earlier, prebuild)

    @rule(which=_AT, pools=st.booleans())
    @_step
    def see_it_gone(self, which: int, pools: bool) -> None:
        """What was deleted is gone for all methods, and the place of a pool is free again."""
        made = self._pick("pool" if pools else "prebuild", which)
        if made is None:
            return
        if made.there:
            self._delete(made)
        self._wait_for(made, lambda: made.gone or made.lost)
        if not made.gone:
            return
        for method, name in ID_FIELD.items():
            if name == f"{_ITEM[made.kind]}Id":
                self._find_nothing(method, made)
        self._list(made.kind, {}, _WHOLE, "")
        if made.kind == "pool" and made.pair in self.pairs:
            self._create_pool(self.pairs.index(made.pair), {"minSize": 0, "maxSize": 1})

    # -- How it is done: making

    def _create_prebuild(
        self, pair: int, *, named: bool = True, timeout: str | None = None, listed: bool = False
    ) -> Made | None:
        if not self._usable(pair):
            return None
        project, environment_class = self._pair(pair)
        named = named and bool(environment_class)
        fields: Json = {"projectId": project, "spec": {} if timeout is None else {"timeout": timeout}}
        if named:
            fields["environmentClassId"] = environment_class
        answer = self._create("CreatePrebuild", fields)
        made = self._register("prebuild", (project, environment_class if named else ""), answer, pair)
        if made is None:
            return None
        wrong = self._misplaced(made)
        told = at(made.seen, "spec.timeout")
        if timeout is not None and seconds(told) != seconds(timeout):
            wrong.append(f"a timeout of {timeout} and got {told}")
        self._judge("echo", "CreatePrebuild", not wrong, f"CreatePrebuild asked for {' and '.join(wrong)}")
        if timeout is None and told is not None:
            why = f"CreatePrebuild named no timeout and got {told}"
            self._judge("default-timeout", "CreatePrebuild", seconds(told) == 3600, why)
        if not named:
            usual = str(at(made.seen, "metadata.environmentClassId") or "").lower()
            known = self.search.classes.setdefault(project, usual)
            why = f"CreatePrebuild named no environment class and got {usual or 'none'}, and {known} before"
            self._judge("default-class", "CreatePrebuild", bool(usual) and usual == known, why)
        self._judge_caller(made.seen)
        if listed:
            self._see_listed(made)
        self._look(made)
        return made

    def _judge_caller(self, shown: Json) -> None:
        trigger, creator = at(shown, "metadata.triggeredBy"), at(shown, "metadata.creator.id")
        if trigger in (_MANUAL, _SCHEDULED):
            why = f"CreatePrebuild was called, and triggeredBy is {trigger}"
            self._judge("made-by-caller", "CreatePrebuild", trigger == _MANUAL, why)
        if isinstance(creator, str) and creator:
            self.search.caller = self.search.caller or creator
            why = f"one caller made prebuilds of the creators {self.search.caller} and {creator}"
            self._judge("made-by-caller", "CreatePrebuild", creator == self.search.caller, why)

    def _pool_in(self, pair: int) -> Made | None:
        """The pool of a pair, which is made if there is none."""
        if not self.pairs:
            return None
        here = next((pool for pool in self._there("pool") if pool.pair == self._pair(pair)), None)
        return here or self._create_pool(pair, {"minSize": 0, "maxSize": 1})

    def _create_pool(self, pair: int, sizes: Mapping[str, int], *, listed: bool = False) -> Made | None:
        if not self._usable(pair):
            return None
        project, environment_class = place = self._pair(pair)
        if not environment_class:
            return None
        former = [pool for pool in self._of("pool") if pool.pair == place and not pool.lost]
        for pool in former:
            if not pool.gone:
                self._look(pool)
        holder = next((pool for pool in former if not pool.gone and phase_of(pool.seen) != "DELETED"), None)
        wanted = new_bounds(sizes)
        fields = {"projectId": project, "environmentClassId": environment_class, **sizes}
        answer = self._create("CreateWarmPool", fields)
        if wanted is None:
            excused = bool(former) or answer.code in _UNUSABLE
            ok = not answer.ok and (answer.code == "invalid_argument" or excused)
            why = f"CreateWarmPool with {dict(sizes)} has to be invalid_argument, and is {answer.outcome}"
            self._judge("min-at-most-max", "CreateWarmPool", ok, why)
            self._register("pool", place, answer, None)
            return None
        if answer.ok:
            made = self._check_new_pool(answer, sizes, wanted, holder, former, place)
            if made is not None and listed:
                self._see_listed(made)
            return made
        if holder is not None:
            why = f"CreateWarmPool while {holder.name} has the place has to be already_exists, and is {answer.outcome}"
            self._judge("pool-is-unique", "CreateWarmPool", answer.code == "already_exists", why, holder)
            return None
        if answer.code == "already_exists" and former:
            return self._wait_for_place(fields, former, place)
        if answer.code == "already_exists":
            self.unusable.add(pair)  # somebody else has a pool there, or an earlier run, which drains
        self._register("pool", place, answer, pair)
        return None

    def _check_new_pool(
        self,
        answer: Answer,
        sizes: Mapping[str, int],
        wanted: tuple[int | None, int | None],
        holder: Made | None,
        former: Sequence[Made],
        place: tuple[str, str],
    ) -> Made | None:
        made = self._register("pool", place, answer, None)
        if made is None:
            return None
        made.bounds = wanted
        if holder is not None:
            if not holder.there:
                self._look(holder)
            still = holder.there or (not holder.gone and phase_of(holder.seen) != "DELETED")
            why = f"CreateWarmPool made {made.name} beside {holder.name}, which is {phase_of(holder.seen)}"
            self._judge("pool-is-unique", "CreateWarmPool", not still, why, holder, made)
            holder.lost = still
        elif former:
            self._judge("pool-is-free-again", "CreateWarmPool", ok=True)
        wrong = self._misplaced(made)
        shown = bounds(made.seen)
        if not fits(shown, (sizes.get("minSize"), sizes.get("maxSize"))):
            wrong.append(f"{dict(sizes)} and got minSize {shown[0]}, maxSize {shown[1]}")
        self._judge("echo", "CreateWarmPool", not wrong, f"CreateWarmPool asked for {' and '.join(wrong)}", made)
        came = f"made a pool with minSize {shown[0]} and maxSize {shown[1]}"
        if "desiredSize" in sizes:
            why = f"CreateWarmPool with {dict(sizes)} {came}"
            self._judge("desired-size-sets-both", "CreateWarmPool", fits(shown, wanted), why, made)
        if not sizes:
            why = f"CreateWarmPool without a size {came}"
            self._judge("default-pool-size", "CreateWarmPool", shown == (1, 1), why, made)
        self._look(made)
        if self.session.is_open and not any(other.pair[0] == place[0] for other in self._of("prebuild")):
            early = at(made.seen, "spec.snapshotId")
            why = f"{made.name} has the snapshot {early}, and there was no prebuild in its project"
            self._judge("snapshot-needs-a-prebuild", "GetWarmPool", not early, why, made)
        return made

    def _wait_for_place(self, fields: Json, former: Sequence[Made], place: tuple[str, str]) -> Made | None:
        """A pool can be made again once the former one is gone, be it a moment later."""
        name, method = "pool-is-free-again", "CreateWarmPool"
        begun = self.session.now()
        while self._wait(0.1):
            answer = self._create(method, fields)
            if answer.ok:
                self._judge(name, method, ok=True)
                made = self._register("pool", place, answer, None)
                if made is not None:
                    self._look(made)
                return made
            if self.session.now() - begun > self.search.grace(name, method):
                why = f"{method} is {answer.outcome}, although {former[-1].name}, which had the place, is gone"
                self._judge(name, method, not all(pool.gone for pool in former), why, *former)
                break
        return None

    def _register(self, kind: Kind, place: tuple[str, str], answer: Answer, pair: int | None) -> Made | None:
        """What a create has made, None if it has made nothing. `pair` is judged by why it was refused."""
        method = answer.request.method
        shown = _item(answer, kind)
        made_id = shown.get("id")
        if isinstance(made_id, str) and made_id:
            made = Made(kind, made_id, place, shown)
            self.made.append(made)
            self._judge("ids-are-fresh", method, made_id not in self.search.ids, f"the id {made_id} was there before")
            self.search.ids.add(made_id)
            return made
        if pair is not None and not answer.ok:
            if answer.code == "invalid_argument":
                why = f"{method} with all values within their bounds has to succeed, and is {answer.outcome}"
                self._judge("inside-bounds-is-accepted", method, ok=False, why=why)
            elif answer.code in _UNUSABLE:
                self.unusable.add(pair % len(self.pairs))
        return None

    def _misplaced(self, made: Made) -> list[str]:
        """Where it is shown to be, if that is another place than the one that was asked for."""
        wrong: list[str] = []
        for what, path, wanted in (
            ("project", "metadata.projectId", made.pair[0]),
            ("environment class", "metadata.environmentClassId", made.pair[1]),
        ):
            shown = at(made.seen, path)
            if wanted and str(shown or "").lower() != wanted.lower():
                wrong.append(f"the {what} {wanted} and got {shown}")
        return wrong

    # -- How it is done: looking

    def _look(self, made: Made) -> bool:
        """Get a thing, compare it with what is known of it, and return whether it was shown."""
        method = _GET[made.kind]
        name = "read-your-write"
        begun = self.session.now()
        while True:
            answer = self._call(method, {ID_FIELD[method]: made.id})
            wrong = self._contradiction(made, answer)
            if not wrong or self.session.now() - begun >= self.session.settle:
                break
            self.session.pause(min(0.1, self.session.settle))
        if answer.ok:
            shown = answer.at(f"{_ITEM[made.kind]}.id")
            right = str(shown or "").lower() == made.id.lower()
            why = f"{method} was asked for {made.id} and answered with {shown}"
            self._judge("answers-what-was-asked", method, right, why)
            if made.gone:
                self._judge("gone-is-gone", method, ok=False, why=f"{made.name} was gone, and is back")
            elif right:
                self._judge(name, method, not wrong, wrong, made)
            if not right or made.gone:
                made.lost = True
                return False
            self._adopt(made, _item(answer, made.kind))
            return not made.lost
        if answer.code == "not_found" and made.deleting:
            made.gone = True
        else:
            self._judge(name, method, ok=False, why=wrong, about=made)
            made.lost = True
        return False

    def _contradiction(self, made: Made, answer: Answer) -> str:
        """What an answer of Get says against what is known, "" if nothing."""
        if not answer.ok:
            if made.deleting and answer.code == "not_found":
                return ""
            return f"{made.name} is there, and {answer.request.method} is {answer.outcome}"
        shown = _item(answer, made.kind)
        if made.gone:
            return "gone"
        if made.kind == "pool" and not fits(bounds(shown), made.bounds):
            low, high = made.bounds
            return f"{made.name} has to have minSize {low} and maxSize {high}, and has {bounds(shown)}"
        return ""

    def _adopt(self, made: Made, shown: Json) -> None:
        """Take what was shown for what is known from now on."""
        made.seen = shown
        if made.kind == "pool":
            low, high = bounds(shown)
            made.bounds = (low if isinstance(low, int) else None, high if isinstance(high, int) else None)
        phase = phase_of(shown)
        if made.cancelled and phase == "COMPLETED":
            why = f"{made.name} was cancelled while it was under way, and is COMPLETED"
            self._judge("cancel-takes-effect", "CancelPrebuild", ok=False, why=why, about=made)
            made.cancelled = False
        if not made.deleting or is_leaving(shown):
            made.since = None
        elif is_at_rest(made, shown):
            # What is still under way is stopped first, and that can take long.
            now = self.session.now()
            made.since = now if made.since is None else made.since
            method = _DELETE[made.kind]
            if now - made.since > self.search.grace("delete-takes-effect", method):
                why = f"{made.name} was deleted, and is still {phase or 'there'}"
                self._judge("delete-takes-effect", method, ok=False, why=why, about=made)
                made.lost = True

    def _wait_for(self, made: Made, reached: Callable[[], bool]) -> bool:
        """Look at a thing until it has come to some state, or patience ends."""
        looks, begun, phase = 0, self.session.now(), phase_of(made.seen)
        while True:
            shown = self._look(made)
            if reached() or not shown:
                return reached()
            if phase_of(made.seen) != phase:
                looks, begun, phase = 0, self.session.now(), phase_of(made.seen)
            if self.session.now() - begun > max(_STANDSTILL, self.session.settle):
                self.search.patience = 0.0
            # Where a request alone makes time pass, many of them are sooner there than pauses.
            if not self._wait(0.001 if looks < _QUICK_LOOKS else min(0.002 * 1.5 ** (looks - _QUICK_LOOKS), 0.25)):
                return False
            looks += 1

    def _wait(self, pause: float) -> bool:
        """Let some time pass, if there is patience left."""
        if self.search.patience < pause:
            return False
        self.search.patience -= pause
        self.session.pause(pause)
        return True

    def _find_nothing(self, method: str, made: Made) -> None:
        """No method finds what Get does not find."""
        answer = self._call(method, {ID_FIELD[method]: made.id})
        why = f"{made.name} is gone, and {method} is {answer.outcome}, not not_found"
        right = answer.code == "not_found" or (answer.ok and method == _DELETE[made.kind])
        self._judge("gone-is-gone", method, right, why, made)

    def _see_snapshot(self, pool: Made, earlier: str, prebuild: Made) -> None:
        """A prebuild that has completed is what the pool of its project and class starts from."""
        name, method = "snapshot-rotates", "GetWarmPool"
        begun = self.session.now()
        while True:
            self._look(pool)
            if not pool.there or phase_of(pool.seen) == "DEGRADED":
                return
            now = at(pool.seen, "spec.snapshotId") or ""
            if now and now != earlier:
                self._judge(name, method, ok=True)
                return
            if self.session.now() - begun > self.search.grace(name, method):
                why = f"{pool.name} has the snapshot {now or 'none'}, as before {prebuild.name} was COMPLETED"
                self._judge(name, method, ok=False, why=why, about=pool)
                return
            if not self._wait(0.05):
                return

    # -- How it is done: lists

    def _list(self, kind: Kind, wanted: Filter, size: int, meddling: str) -> None:
        """List with a filter, and compare with what is listed before and after without."""
        method = _LIST[kind]
        if not self.pairs:
            return
        begun = self.session.now()
        while True:
            wrong = self._list_once(kind, wanted, size, meddling)
            if not any(seen.why for seen in wrong) or self.session.now() - begun >= self.session.settle:
                break
            meddling = ""
            self.session.pause(min(0.1, self.session.settle))
        for seen in wrong:
            self._judge(seen.property, method, not seen.why, seen.why, *seen.about, shows=seen.answers)

    def _see_listed(self, made: Made) -> None:
        """What was just made is listed."""
        method, begun = _LIST[made.kind], self.session.now()
        while True:
            pages, _ = self._walk(made.kind, {"projectIds": [made.pair[0]]}, _WHOLE)
            if pages is None or not pages.ended:
                return
            ok = made.id.lower() in _by_id(pages.items)
            if ok or self.session.now() - begun >= self.session.settle:
                break
            self.session.pause(min(0.1, self.session.settle))
        why = f"{made.name} was just made, and is not in a list of its project"
        self._judge("list-contains", method, ok, why, made, shows=pages.answers)

    def _list_once(self, kind: Kind, wanted: Filter, size: int, meddling: str) -> list[_Seen]:
        """List once, and return each property with what is wrong, "" if nothing is, and the answers that show it."""
        everywhere = {"projectIds": sorted({project for project, _ in self.pairs})}
        expected, gone = self._there(kind), [made for made in self._of(kind) if made.gone]
        before, wrong = self._walk(kind, everywhere, _WHOLE)
        listed, more = self._walk(kind, wanted, size, meddling)
        wrong += more
        after, more = self._walk(kind, everywhere, _WHOLE)
        wrong += more
        if before is None or listed is None or after is None:
            return wrong
        first, last, shown = _by_id(before.items), _by_id(after.items), _by_id(listed.items)
        if before.ended and expected:
            missing = [made for made in expected if made.id.lower() not in first][:1]
            why = "".join(f"{made.name} is not in a list of its project" for made in missing)
            wrong.append(_Seen("list-contains", why, before.answers, missing))
        back = [made for made in gone if made.id.lower() in last or made.id.lower() in shown][:1]
        why = "".join(f"{made.name} is gone, and is listed" for made in back)
        answers = after.answers if back and back[0].id.lower() in last else listed.answers
        wrong.append(_Seen("gone-is-gone", why, answers, back))
        skipped: list[Made] = []
        for made in self._there(kind) if listed.ended else ():
            views = [view for view in (first.get(made.id.lower()), last.get(made.id.lower())) if view is not None]
            # A phase that was the same before and after was the same meanwhile: it never comes back.
            same = len(views) == 2 and phase_of(views[0]) == phase_of(views[1])
            if made.id.lower() not in shown and same and all(passes(view, wanted) for view in views):
                skipped.append(made)
        stranger = next((str(item.get("id")) for item in listed.items if passes(item, wanted) is False), "")
        asked, name = (
            f"a list with the filter {dict(wanted)}",
            "filters-combine" if sum(map(bool, wanted.values())) > 1 else "filters",
        )
        lacks = "".join(f"{asked} lacks {made.name}, which matches" for made in skipped[:1])
        if listed.pages > 1 and listed.ended:
            wrong.append(_Seen("no-item-skipped", lacks, listed.answers, skipped[:1]))
            lacks = ""
        if wanted:
            why = f"{asked} has {stranger}, which does not match" if stranger else lacks
            wrong.append(
                _Seen(name, why, listed.answers, [made for made in self.made if made.id == stranger] or skipped[:1])
            )
        elif listed.ended:
            wrong.append(_Seen("list-contains", lacks, listed.answers, skipped[:1]))
        if not meddling and self.session.settle == 0:
            created = [made_at(item) for item in listed.items]
            early = any(one is not None and two is not None and one < two for one, two in pairwise(created))
            why = "an item of a list was created after the one before it" if early else ""
            wrong.append(_Seen("newest-first", why, listed.answers))
        return wrong

    def _walk(self, kind: Kind, wanted: Filter, size: int, meddling: str = "") -> tuple[_Pages | None, list[_Seen]]:
        """Read all pages of a list, and return them with what is wrong with them. Without pages, it was refused."""
        method = _LIST[kind]
        items: list[Json] = []
        answers: list[Answer] = []
        tokens: list[str] = []
        wrong: list[_Seen] = []
        empty, ended = 0, False
        while len(answers) < _PAGES and empty < _EMPTY_PAGES:
            answer = self._page(kind, wanted, size, tokens[-1] if tokens else "")
            answers.append(answer)
            if not answer.ok:
                known = {project for project, _ in self.pairs}
                if set(wanted.get("projectIds", ())) <= known or answer.code not in _UNUSABLE:
                    why = f"{method} with {dict(wanted)} and pageSize {size} has to succeed, and is {answer.outcome}"
                    wrong.append(_Seen("inside-bounds-is-accepted", why, answers))
                return None, wrong
            page = _items(answer, kind)
            name, most = ("page-size-kept", size) if size else ("default-page-size", 25)
            why = f"a page with pageSize {size} has {len(page)} items" if len(page) > most else ""
            wrong.append(_Seen(name, why, answers[-1:]))
            items += page
            empty = 0 if page else empty + 1
            token = answer.at("pagination.nextToken")
            if not isinstance(token, str) or not token:
                ended = True
                break
            again = token in tokens
            wrong.append(
                _Seen("page-tokens-are-new", f"the page token {token!r} came twice" if again else "", list(answers))
            )
            if again:
                break
            tokens.append(token)
            if len(answers) == 1:
                self._meddle(kind, meddling, page)
        if ended:
            wrong.append(_Seen("paging-ends", "", answers))
        elif empty >= _EMPTY_PAGES:
            wrong.append(_Seen("paging-ends", f"{empty} pages in a row are empty, and there is a next one", answers))
        ids = [str(item.get("id")).lower() for item in items if item.get("id")]
        several = Counter(ids)
        twice = next((each for each, count in several.items() if count > 1), "")
        wrong.append(_Seen("no-item-twice", f"{twice} comes twice in the pages of a list" if twice else "", answers))
        return _Pages(items, len(answers), ended, answers), wrong

    def _page(self, kind: Kind, wanted: Filter, size: int, token: str = "") -> Answer:
        pagination: Json = {"pageSize": size} if size else {}
        if token:
            pagination["token"] = token
        fields: Json = {name: list(values) for name, values in wanted.items()}
        return self._call(
            _LIST[kind],
            {**({"filter": fields} if fields else {}), **({"pagination": pagination} if pagination else {})},
        )

    def _meddle(self, kind: Kind, meddling: str, page: Sequence[Json]) -> None:
        """Change what is listed, between two of its pages."""
        if meddling == "create":
            if kind == "prebuild":
                self._create_prebuild(0)
            else:
                self._pool_in(2)
        elif meddling == "delete":
            shown = _by_id(page)
            mine = [made for made in self._there(kind) if made.id.lower() in shown]
            if mine and len(self._there(kind)) > 2:
                self._delete(mine[-1])

    def _compare_list_with_get(self, kind: Kind) -> None:
        """A list shows each thing as Get does. What changes meanwhile is passed over."""
        before = {made.id: made.seen for made in self._there(kind)}
        if not before:
            return
        pages, _ = self._walk(kind, {"projectIds": sorted({project for project, _ in self.pairs})}, _WHOLE)
        if pages is None:
            return
        listed = _by_id(pages.items)
        for made in self._there(kind):
            shown = listed.get(made.id.lower())
            self._look(made)
            if shown is not None and made.there and before.get(made.id) == made.seen:
                differs = difference(shown, made.seen)
                why = f"{_LIST[kind]} and {_GET[kind]} show {made.name} differently: {differs}"
                self._judge("list-agrees-with-get", _LIST[kind], not differs, why, made, shows=pages.answers)

    def _use_wrong_token(self, kind: Kind, which: str) -> None:
        """A page token is good for the list that it came with, and nothing else is good for a token."""
        if not self.pairs:
            return
        for pair in range(min(2, len(self.pairs))):
            if kind == "pool":
                self._pool_in(pair)
            elif len(self._there(kind)) < 2:
                self._create_prebuild(pair)
        here = {"projectIds": sorted({project for project, _ in self.pairs})}
        first = self._page(kind, here, 1)
        token = first.at("pagination.nextToken")
        if not isinstance(token, str) or not token:
            return
        name = "page-token-is-bound-to-filter" if which == "other-filter" else "bad-page-token-is-refused"
        target = kind
        if which == "other-filter":
            wanted: Filter = {"projectIds": [self.pairs[0][0], self.stranger]}
        elif which == "other-method":
            wanted, target = here, "pool" if kind == "prebuild" else "prebuild"
        else:
            wanted, token = here, "no token of this list" if which == "garbage" else token[: len(token) // 2]
        answer = self._page(target, wanted, 1, token)
        why = f"{_LIST[target]} with a page token that is wrong ({which}) has to be invalid_argument, and is "
        ok = answer.code == "invalid_argument"
        self._judge(name, _LIST[target], ok, why + answer.outcome, shows=[first, answer])

    # -- How it is done: changing

    def _update(self, pool: Made, sizes: Mapping[str, int]) -> None:
        method = "UpdateWarmPool"
        self._look(pool)
        stored, seen = pool.bounds, pool.seen
        if pool.lost or (not pool.gone and None in stored):
            return
        others = [] if pool.deleting else self._others(pool, 1)
        answer = self._call(method, {ID_FIELD[method]: pool.id, **sizes})
        self._check_others(method, pool, others)
        if pool.gone:
            if new_bounds(sizes) is not None:
                why = f"{pool.name} is gone, and {method} is {answer.outcome}, not not_found"
                self._judge("gone-is-gone", method, answer.code == "not_found", why, pool)
            return
        if pool.deleting:
            if answer.ok:
                pool.bounds = (None, None)
            if self._look(pool) and phase_of(pool.seen) == "DELETING" and new_bounds(sizes, stored) is not None:
                why = f"{method} of a pool that is DELETING has to be failed_precondition, and is {answer.outcome}"
                self._judge("update-while-deleting", method, answer.code == "failed_precondition", why, pool)
            return
        wanted = new_bounds(sizes, stored)
        asked = f"{method} with {dict(sizes)} of a pool with minSize {stored[0]} and maxSize {stored[1]}"
        if wanted is None:
            name = "min-at-most-max" if len(sizes) == 2 else "update-checks-stored-bounds"
            why = f"{asked} has to be invalid_argument, and is {answer.outcome}"
            self._judge(name, method, answer.code == "invalid_argument", why, pool)
            if answer.ok:
                pool.bounds = (None, None)
                self._look(pool)
                return
        elif answer.ok:
            self._check_update(pool, seen, answer, sizes, wanted, asked)
            self._look(pool)
            return
        elif sizes:
            why = f"{asked} has to succeed, and is {answer.outcome}"
            self._judge("inside-bounds-is-accepted", method, ok=False, why=why, about=pool)
        else:
            self._judge("empty-update", method, ok=False, why=f"{asked} is {answer.outcome}", about=pool)
        pool.bounds = (None, None)
        self._look(pool)
        why = f"{asked} was refused, and now it has minSize {pool.bounds[0]} and maxSize {pool.bounds[1]}"
        if pool.there:
            self._judge("refused-changes-nothing", method, pool.bounds == stored, why, pool)

    def _check_update(
        self,
        pool: Made,
        seen: Json,
        answer: Answer,
        sizes: Mapping[str, int],
        wanted: tuple[int | None, int | None],
        asked: str,
    ) -> None:
        """An update has done what it was asked for, and nothing else."""
        method = "UpdateWarmPool"
        shown = _item(answer, "pool")
        came = at(shown, "id")
        right = str(came or "").lower() == pool.id.lower()
        why = f"{method} of {pool.id} answered with {came}"
        self._judge("answers-what-was-asked", method, right, why, pool)
        pool.bounds = wanted
        if not right:
            return
        now = bounds(shown)
        why = f"{asked} has to come to minSize {wanted[0]} and maxSize {wanted[1]}, and came to {now[0]} and {now[1]}"
        named = (sizes.get("minSize"), sizes.get("maxSize"))
        self._judge("echo", method, fits(now, named), why, pool)
        if "desiredSize" in sizes:
            self._judge("desired-size-sets-both", method, fits(now, wanted), why, pool)
        else:
            others = tuple(None if name is not None else want for name, want in zip(named, wanted, strict=True))
            self._judge("update-changes-what-is-named", method, fits(now, (others[0], others[1])), why, pool)
        if not sizes:
            self._judge("empty-update", method, fits(now, wanted), why, pool)
        was, desired = desired_phase_of(seen), desired_phase_of(shown)
        gained = at(seen, "spec.snapshotId") and not at(shown, "spec.snapshotId")
        deleted = any(prebuild.deleting for prebuild in self._of("prebuild"))
        if desired != was and desired == "DELETED":
            why = f"{asked} changed its desiredPhase from {was} to {desired}"
            self._judge("update-changes-what-is-named", method, ok=False, why=why, about=pool)
        elif gained and not deleted:
            why = f"{asked} took its snapshotId away"
            self._judge("update-changes-what-is-named", method, ok=False, why=why, about=pool)

    def _others(self, changed: Made, most: int) -> list[Made]:
        """Some things of the same kind, looked at, that a change of this one is to leave as they are."""
        others = [other for other in self._there(changed.kind) if other is not changed][-most:]
        return [other for other in others if self._look(other)]

    def _check_others(self, method: str, changed: Made, others: Sequence[Made]) -> None:
        """See that a change was one of what was named, and of nothing else."""
        for other in others:
            get = _GET[other.kind]
            answer = self._call(get, {ID_FIELD[get]: other.id})
            shown = _item(answer, other.kind)
            if not answer.ok:
                now = answer.outcome
            elif is_leaving(shown):
                now = f"{phase_of(shown)}, and to be deleted"
            elif other.kind == "prebuild" and phase_of(shown) in CANCELLING and not other.cancelled:
                now = phase_of(shown)
            elif other.kind == "pool" and not fits(bounds(shown), other.bounds):
                now = f"one with minSize {bounds(shown)[0]} and maxSize {bounds(shown)[1]}"
            else:
                now = ""
            why = f"after {method} of {changed.name}, {other.name} is {now}"
            other.lost = bool(now)
            self._judge("others-are-untouched", method, not now, why, other, changed)

    def _cancel(self, prebuild: Made) -> None:
        method = "CancelPrebuild"
        others = [] if prebuild.deleting else self._others(prebuild, 2)
        if not self._look(prebuild) and not prebuild.gone:
            return
        before, version = phase_of(prebuild.seen), at(prebuild.seen, "spec.specVersion")
        answer = self._call(method, {ID_FIELD[method]: prebuild.id})
        self._check_others(method, prebuild, others)
        if prebuild.gone:
            why = f"{prebuild.name} is gone, and {method} is {answer.outcome}, not not_found"
            self._judge("gone-is-gone", method, answer.code == "not_found", why, prebuild)
            return
        asked = f"{method} of a prebuild that was {before}"
        shown = _item(answer, "prebuild")
        if answer.ok:
            right = str(at(shown, "id") or "").lower() == prebuild.id.lower()
            why = f"{method} of {prebuild.id} answered with {at(shown, 'id')}"
            self._judge("answers-what-was-asked", method, right, why, prebuild)
            if not right:
                shown = prebuild.seen
        under_way = before in UNDER_WAY and not prebuild.deleting
        if under_way and answer.ok:
            prebuild.cancelled = phase_of(shown) not in ENDED - {"CANCELLED"}
            if prebuild.cancelled:
                self._see_cancelled(prebuild, asked, shown)
            return
        shown_again = self._look(prebuild)
        after = phase_of(prebuild.seen)
        if under_way:
            # It may have come to its end at that moment.
            if after in UNDER_WAY and prebuild.there:
                why = f"{asked}, and still is {after}, has to succeed, and is {answer.outcome}"
                self._judge("cancel-takes-effect", method, ok=False, why=why, about=prebuild)
        elif prebuild.deleting or before in LEAVING:
            if after == "DELETING" and shown_again:
                why = f"{asked} has to be failed_precondition, and is {answer.outcome}"
                self._judge("cancel-rules", method, answer.code == "failed_precondition", why, prebuild)
        elif before in CANCELLING and desired_phase_of(prebuild.seen) != "DELETED":
            same = at(prebuild.seen, "spec.specVersion") == version
            why = f"{asked} has to succeed and change nothing, and is {answer.outcome}"
            self._judge("repeated-cancel", method, answer.ok and same, why, prebuild)
        elif before in ENDED:
            why = f"{asked} has to be failed_precondition, and is {answer.outcome}"
            self._judge("cancel-rules", method, answer.code == "failed_precondition", why, prebuild)

    def _see_cancelled(self, prebuild: Made, asked: str, shown: Json) -> None:
        """A prebuild that was cancelled stops."""
        name, method = "cancel-takes-effect", "CancelPrebuild"
        desired = desired_phase_of(shown)
        why = f"{asked} has to give it the desiredPhase CANCELLED, and gave it {desired}"
        self._judge("cancel-rules", method, desired == "CANCELLED" or phase_of(shown) == "FAILED", why, prebuild)
        begun = self.session.now()
        while True:
            self._look(prebuild)
            phase = phase_of(prebuild.seen)
            if phase not in UNDER_WAY or not prebuild.there:
                if phase in (CANCELLING | {"FAILED"}):
                    self._judge(name, method, ok=True)
                return
            if self.session.now() - begun > self.search.grace(name, method):
                why = f"{asked} succeeded, and still it is {phase}"
                self._judge(name, method, ok=False, why=why, about=prebuild)
                return
            if not self._wait(0.05):
                return

    def _delete(self, made: Made) -> None:
        method = _DELETE[made.kind]
        self._look(made)
        if made.lost:
            return
        before = phase_of(made.seen)
        # Something that is on its way out is soon gone: there is no time to look at others.
        others = [] if made.deleting else self._others(made, 1)
        answer = self._call(method, {ID_FIELD[method]: made.id})
        self._check_others(method, made, others)
        if made.gone:
            why = f"{made.name} is gone, and {method} is {answer.outcome}, not not_found"
            self._judge("gone-is-gone", method, answer.ok or answer.code == "not_found", why, made)
            return
        if made.deleting:
            why = f"{method} of {made.name} a second time is {answer.outcome}"
            self._judge("repeated-delete", method, answer.ok or answer.code == "not_found", why, made)
            if self._look(made) and before == "DELETING" and phase_of(made.seen) == "DELETING":
                self._judge("delete-again-succeeds", method, answer.ok, why, made)
            return
        if not answer.ok:
            why = f"{method} of {made.name}, which is {before}, has to succeed, and is {answer.outcome}"
            self._judge("delete-takes-effect", method, ok=False, why=why, about=made)
            return
        made.deleting = True
        self._wait_for(made, lambda: _is_away(made) or not is_at_rest(made, made.seen))
        if _is_away(made):
            self._judge("delete-takes-effect", method, ok=True)

    def _create_logs_token(self, prebuild: Made) -> None:
        method = "CreatePrebuildLogsToken"
        self._look(prebuild)
        if prebuild.lost:
            return
        answer = self._call(method, {ID_FIELD[method]: prebuild.id})
        if prebuild.gone:
            why = f"{prebuild.name} is gone, and {method} is {answer.outcome}, not not_found"
            self._judge("gone-is-gone", method, answer.code == "not_found", why, prebuild)

    # -- How it is done: choosing, sending, judging

    def _pair(self, pair: int) -> tuple[str, str]:
        project, environment_class = self.pairs[pair % len(self.pairs)]
        return project, environment_class or self.search.classes.get(project, "")

    def _usable(self, pair: int) -> bool:
        return bool(self.pairs) and pair % len(self.pairs) not in self.unusable and len(self.session.made) < self.most

    def _of(self, kind: Kind) -> list[Made]:
        return [made for made in self.made if made.kind == kind]

    def _there(self, kind: Kind) -> list[Made]:
        return [made for made in self._of(kind) if made.there]

    def _pick(self, kind: Kind, which: int) -> Made | None:
        """One of the things that were made, which is made if there is none."""
        of_kind = self._of(kind)
        if of_kind:
            return of_kind[-1 - which % len(of_kind)]
        return self._pool_in(which) if kind == "pool" else self._create_prebuild(which)

    def _places(self, places: str, part: int) -> list[str]:
        """Ids of projects or classes: those at the places that are named, and for `?` one that nobody has."""
        return [
            self.stranger if place == "?" else self._pair(int(place))[part]
            for place in places
            if self.pairs and (place == "?" or self._pair(int(place))[part])
        ]

    def _subjects(self, who: str) -> list[str]:
        caller = [self.search.caller] if self.search.caller else []
        return {"": [], "caller": caller, "stranger": [self.stranger], "both": [self.stranger, *caller]}[who]

    def _phases(self, which: str, place: int) -> list[str]:
        """Phases to ask for: those in which some of the prebuilds are now."""
        there = self._there("prebuild")
        if not which or not there:
            return []
        for made in there:
            self._look(made)
        phases = [phase_of(made.seen) for made in there if phase_of(made.seen)] or ["PENDING"]
        one = phases[place % len(phases)]
        if which == "of-one":
            chosen = [one]
        elif which == "of-others":
            chosen = [phase for phase in (*sorted(UNDER_WAY), *sorted(ENDED)) if phase != one]
        else:
            chosen = [one, "FAILED" if one != "FAILED" else "COMPLETED"]
        return [_PHASE + phase for phase in chosen]

    def _create(self, method: str, fields: Json) -> Answer:
        """Call a method that makes something, if anything more may be made."""
        if len(self.session.made) >= self.most:
            raise _Skip
        return self._call(method, fields)

    def _call(self, method: str, fields: Json) -> Answer:
        """Send a request.

        Raises:
            _Skip: there is no answer, or the server was not able to give one.
            _Enough: the search for a shorter sequence has cost enough.
        """
        self.search.check_costs()
        try:
            answer = self.session.call(method, fields)
        except (LimitReachedError, ForbiddenError, TransportError) as error:
            raise _Skip from error
        if answer.status >= 500 or answer.status == 429:
            if answer.status != 429:
                self._judge("no-server-error", method, ok=False, why=f"{method} answered {answer.outcome}")
            raise _Skip
        return answer

    def _judge(
        self,
        name: str,
        method: str,
        ok: bool,
        why: str = "",
        *more: Made,
        about: Made | None = None,
        shows: Sequence[Answer] = (),
    ) -> None:
        """Tell the session, and Hypothesis if this is what a short sequence is sought for.

        Args:
            name: the property.
            method: the method.
            ok: whether it was kept.
            why: why one has to say that it was not.
            more: what it is about. All that was done to these shows it together with the latest answer.
            about: one more of them.
            shows: the answers that show it, instead of the latest.

        Raises:
            _Broken: to be found by Hypothesis.
        """
        if ok:
            self.session.judge(name, method, ok=True)
            return
        things = [made.id for made in (*more, *((about,) if about is not None else ()))]
        log = self.session.since(self.mark)
        done = [answer for answer in log if any(_concerns(answer, each.encode()) for each in things)]
        self.session.judge(name, method, ok=False, why=why, shows=[*done, *(shows or log[-1:])])
        if self.search.is_it(name, method):
            raise _Broken(f"{name} {method}: {why}")


def _item(answer: Answer, kind: Kind) -> Json:
    """The thing that an answer shows, empty if it shows none."""
    shown = answer.at(_ITEM[kind]) if answer.ok else None
    return cast("Json", shown) if isinstance(shown, dict) else {}


def _items(answer: Answer, kind: Kind) -> list[Json]:
    """The things of a page of a list."""
    shown = answer.json.get(_ITEMS[kind])
    if not isinstance(shown, list):
        return []
    return [cast("Json", item) for item in cast("list[object]", shown) if isinstance(item, dict)]


def _by_id(items: Sequence[Json]) -> dict[str, Json]:
    return {str(item["id"]).lower(): item for item in items if item.get("id")}


def _concerns(answer: Answer, thing: bytes) -> bool:
    """Whether a call has made something, or done something to it."""
    if answer.request.method in CREATES:
        return thing in answer.body
    return answer.request.method not in READS and thing in (answer.request.body or b"")


def _is_away(made: Made) -> bool:
    return made.gone or is_leaving(made.seen)
