"""Waiting until something has become of a prebuild or a warm pool."""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Generator, Iterable
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast

from attrs import define

from prebuild_api import models
from prebuild_api.models import ConnectCode, PrebuildPhase, WarmPoolPhase
from prebuild_api.operations import CREATE_PREBUILD, GET_PREBUILD, GET_WARM_POOL, Operation
from prebuild_api.types import to_model
from prebuilds.calls import Caller
from prebuilds.debugging import logger
from prebuilds.effects import Effect, Emit, Join, Send, Sleep, Start, Steps, Stream, Tell
from prebuilds.errors import (
    APIError,
    CallError,
    NotFoundError,
    PrebuildCancelledError,
    PrebuildDeletedError,
    PrebuildFailedError,
    PrebuildsError,
    StalledError,
    WaitError,
    WaitManyError,
    WaitTimeoutError,
    WarmPoolDeletedError,
)

if TYPE_CHECKING:
    from prebuild_api.models import Prebuild, PrebuildSpec, WarmPool
    from prebuild_api.params import PrebuildSpecParam

DEFAULT_WAIT = 7500.0
"""Seconds. The service ends a prebuild after 7200 s at the latest; the rest is for what comes before
and after its run."""

DEFAULT_POOL_WAIT = 900.0
"""Seconds for a warm pool that has a snapshot to start from."""

DEFAULT_POLL_INTERVAL = 12.0
"""The longest pause between two looks, in seconds."""

_FIRST_PAUSE = 1.0
_GROWTH = 1.8
_JITTER = 0.1

_LAST_LOOK = 5.0
"""How long the look at the end of the waiting time may take at least, in seconds."""

_FIRST_ANSWER = 120.0
"""After so many seconds without a single answer the failure is believed to last: the service does not
exist at this base URL, say."""

# Beside what is certain to be transient: a look changes nothing, and one that fails now proves
# nothing about a prebuild that takes minutes.
_PASSING_CODES = frozenset(
    {
        ConnectCode.ABORTED,
        ConnectCode.CANCELED,
        ConnectCode.DEADLINE_EXCEEDED,
        ConnectCode.INTERNAL,
        ConnectCode.RESOURCE_EXHAUSTED,
        ConnectCode.UNAVAILABLE,
    }
)

_LASTING_CODES = frozenset({ConnectCode.UNIMPLEMENTED, ConnectCode.DATA_LOSS})


class _Item(Protocol):
    """What a `Prebuild` and a `WarmPool` have in common."""

    id: str | None

    @property
    def status(self) -> Any: ...


ItemT = TypeVar("ItemT", bound=_Item)
T = TypeVar("T")

Goal = str | Collection[str] | Callable[[ItemT], bool | Awaitable[bool]]
"""What is waited for: a phase, any of several, or whatever a function says."""


@define(frozen=True, kw_only=True)
class Kind(Generic[ItemT]):
    """A kind of thing that can be waited for, as data."""

    noun: str
    operation: Operation[Any, Any]
    """Looks one of them up."""
    request: Callable[[str], Any]
    item: Callable[[Any], ItemT]
    """The thing in the response."""
    ways: tuple[tuple[str, ...], ...]
    """The phases, in the order in which it goes through them: the way it takes if all goes well, and those that branch
    off. Each phase is on one of them. It is reached as well when a later one of the same way is seen, since a short
    phase may go by between two looks."""
    ends: dict[str, tuple[type[WaitError], str]]
    """The phases from which it does not come back, with the error that each is, and how people say it."""
    deleted: str
    """The phase in which it is about to vanish."""

    def error(self, kind: type[WaitError], said: str, item_id: str, last: ItemT | None) -> WaitError:
        """An error about one of them, as it was last seen."""
        text = f"{self.noun} {item_id} {said}"
        status = None if last is None else last.status
        if status is not None and status.failure_message:
            text += f": {status.failure_message}"
        if status is not None and getattr(status, "log_url", None):
            text += f" [log: {status.log_url}]"
        seen = {"prebuild" if self.noun == "prebuild" else "warm_pool": last}
        return kind(text, item_id=item_id, **cast("Any", seen))


PREBUILD: Kind[Prebuild] = Kind(
    noun="prebuild",
    operation=GET_PREBUILD,
    request=lambda item_id: models.GetPrebuildRequest(prebuild_id=item_id),
    item=lambda response: response.prebuild,
    ways=(
        (
            PrebuildPhase.PENDING,
            PrebuildPhase.STARTING,
            PrebuildPhase.RUNNING,
            PrebuildPhase.STOPPING,
            PrebuildPhase.SNAPSHOTTING,
            PrebuildPhase.COMPLETED,
        ),
        (PrebuildPhase.FAILED,),
        (PrebuildPhase.CANCELLING, PrebuildPhase.CANCELLED),
        (PrebuildPhase.DELETING, PrebuildPhase.DELETED),
    ),
    ends={
        PrebuildPhase.COMPLETED: (WaitError, "completed already"),
        PrebuildPhase.FAILED: (PrebuildFailedError, "failed"),
        PrebuildPhase.CANCELLED: (PrebuildCancelledError, "was cancelled"),
        PrebuildPhase.DELETED: (PrebuildDeletedError, "was deleted"),
    },
    deleted=PrebuildPhase.DELETED,
)

WARM_POOL: Kind[WarmPool] = Kind(
    noun="warm pool",
    operation=GET_WARM_POOL,
    request=lambda item_id: models.GetWarmPoolRequest(warm_pool_id=item_id),
    item=lambda response: response.warm_pool,
    ways=(
        (WarmPoolPhase.PENDING, WarmPoolPhase.READY),
        (WarmPoolPhase.DEGRADED,),
        (WarmPoolPhase.DELETING, WarmPoolPhase.DELETED),
    ),
    ends={
        WarmPoolPhase.DELETING: (WarmPoolDeletedError, "is being deleted"),
        WarmPoolPhase.DELETED: (WarmPoolDeletedError, "was deleted"),
    },
    deleted=WarmPoolPhase.DELETED,
)


@define(frozen=True, kw_only=True)
class Patience:
    """How long to wait, and how closely to look."""

    timeout: float | None
    poll_interval: float = DEFAULT_POLL_INTERVAL
    stalled_after: float | None = None

    def __attrs_post_init__(self) -> None:
        for name in ("timeout", "poll_interval", "stalled_after"):
            seconds = getattr(self, name)
            if seconds is not None and not (seconds > 0 or (name == "timeout" and seconds == 0)):
                raise ValueError(f"{name}: expected seconds, more than 0, got {seconds!r}")


# -- What the clients offer --------------------------------------------------------------------------------------------


def wait(
    caller: Caller,
    prebuild_id: str | Prebuild,
    *,
    until: Goal[Prebuild] = PrebuildPhase.COMPLETED,
    timeout: float | None = DEFAULT_WAIT,
    on_update: Callable[[Prebuild], object] | None = None,
    poll_interval: float = DEFAULT_POLL_INTERVAL,
    stalled_after: float | None = None,
) -> Steps[Prebuild]:
    """Wait until a prebuild is COMPLETED, or `until` something else has become of it.

    Failures in passing (of the network, or of the service) do not end it, unless not a single answer came in the first
    two minutes. A phase that this version does not know is waited through.

    A prebuild can complete with a warning: it is in `status.warning_message`, and is written to the log.

    Args:
        prebuild_id: The id of the prebuild, or the prebuild itself.
        until: What to wait for: a phase (`"PREBUILD_PHASE_RUNNING"`, which is reached too when a later one on the way
            to COMPLETED is seen, as CANCELLING is when CANCELLED is seen), any of several, or a function that is asked
            whether a prebuild will do (for an asynchronous client it may be asynchronous).
        timeout: How long to wait, in seconds; None means for ever. By default a little longer than the two hours that a
            prebuild may take.
        on_update: Called with the prebuild as it is first seen, and after each change. What it raises ends the wait.
            For an asynchronous client it may be asynchronous.
        poll_interval: The longest pause between two looks, in seconds. The first pauses are shorter; all vary by 10%.
        stalled_after: After how many seconds without any change to give up on the prebuild; None means never.

    Raises:
        PrebuildFailedError: it failed.
        PrebuildCancelledError: it was cancelled.
        PrebuildDeletedError: it was deleted while it was waited for.
        StalledError: nothing has changed for `stalled_after`.
        WaitTimeoutError: it is still under way after `timeout`.
        NotFoundError: there is no such prebuild.
        CallError: the service cannot be asked, for lack of permission for instance.
    """
    patience = Patience(timeout=timeout, poll_interval=poll_interval, stalled_after=stalled_after)
    return _until(caller, PREBUILD, prebuild_id, _reached(PREBUILD, until), patience, on_update)


def wait_warm_pool(
    caller: Caller,
    warm_pool_id: str | WarmPool,
    *,
    until: Goal[WarmPool] = WarmPoolPhase.READY,
    timeout: float | None = DEFAULT_POOL_WAIT,
    on_update: Callable[[WarmPool], object] | None = None,
    poll_interval: float = DEFAULT_POLL_INTERVAL,
    stalled_after: float | None = None,
) -> Steps[WarmPool]:
    """Wait until a warm pool is READY, or `until` something else has become of it.

    A pool stays PENDING until its project has a prebuild to start from. A DEGRADED one may recover, and is waited for.

    Args:
        warm_pool_id: The id of the pool, or the pool itself.
        until: What to wait for: a phase (`"WARM_POOL_PHASE_DELETED"` once it has been deleted, say), any of several, or
            a function that is asked whether a pool will do (for an asynchronous client it may be asynchronous).
        timeout: How long to wait, in seconds; None means for ever.
        on_update: Called with the pool as it is first seen, and after each change. What it raises ends the wait. For an
            asynchronous client it may be asynchronous.
        poll_interval: The longest pause between two looks, in seconds. The first pauses are shorter; all vary by 10%.
        stalled_after: After how many seconds without any change to give up on the pool; None means never.

    Raises:
        WarmPoolDeletedError: it was deleted, or is being deleted.
        StalledError: nothing has changed for `stalled_after`.
        WaitTimeoutError: it has not come so far after `timeout`; the message says if it is DEGRADED, and why.
        NotFoundError: there is no such pool.
        CallError: the service cannot be asked, for lack of permission for instance.
    """
    patience = Patience(timeout=timeout, poll_interval=poll_interval, stalled_after=stalled_after)
    return _until(caller, WARM_POOL, warm_pool_id, _reached(WARM_POOL, until), patience, on_update)


def watch(
    caller: Caller,
    prebuild_id: str | Prebuild,
    *,
    timeout: float | None = DEFAULT_WAIT,
    poll_interval: float = DEFAULT_POLL_INTERVAL,
    stalled_after: float | None = None,
) -> Stream[Prebuild]:
    """Follow a prebuild: yields it as it is first seen, and after each change, until nothing more can become of it.

    The last one yielded is COMPLETED, FAILED or CANCELLED, or whatever it was before it was deleted: none of these is
    an error here. Failures in passing are waited through, as by `wait`.

    Args:
        prebuild_id: The id of the prebuild, or the prebuild itself.
        timeout: How long to follow it, in seconds; None means for ever.
        poll_interval: The longest pause between two looks, in seconds. The first pauses are shorter; all vary by 10%.
        stalled_after: After how many seconds without any change to give up on the prebuild; None means never.

    Raises:
        StalledError: nothing has changed for `stalled_after`.
        WaitTimeoutError: it is still under way after `timeout`.
        NotFoundError: there is no such prebuild.
        CallError: the service cannot be asked, for lack of permission for instance.
    """
    patience = Patience(timeout=timeout, poll_interval=poll_interval, stalled_after=stalled_after)
    item_id, known = identified("prebuild_id", prebuild_id)

    def notify(seen: Prebuild) -> Emit[Prebuild]:
        return Emit(seen)

    def steps() -> Stream[Prebuild]:
        yield from follow(caller, PREBUILD, item_id, known, Reached[Any](_never), patience, notify)

    return steps()


def create_and_wait(
    caller: Caller,
    *,
    project_id: str,
    environment_class_id: str | None = None,
    spec: PrebuildSpec | PrebuildSpecParam | None = None,
    until: Goal[Prebuild] = PrebuildPhase.COMPLETED,
    timeout: float | None = DEFAULT_WAIT,
    on_update: Callable[[Prebuild], object] | None = None,
    poll_interval: float = DEFAULT_POLL_INTERVAL,
    stalled_after: float | None = None,
) -> Steps[Prebuild]:
    """Start a prebuild, and wait until it is COMPLETED: `create` and `wait` in one.

    If the wait ends in an error, the prebuild is left as it is; the error carries it, or has a note with its id.

    Args:
        project_id: The project to make a prebuild of.
        environment_class_id: The environment class to run with. Absent means the default class of the project.
        spec: What is asked of the prebuild, its timeout for example.
        until: What to wait for; see `wait`.
        timeout: How long to wait, in seconds; None means for ever. The call that starts the prebuild has the client's
            own timeout.
        on_update: Called with the prebuild as it is first seen, and after each change; see `wait`.
        poll_interval: The longest pause between two looks, in seconds.
        stalled_after: After how many seconds without any change to give up on the prebuild; None means never.

    Raises:
        CallError: the prebuild could not be started; `maybe_executed` tells whether it may have been nevertheless.
        WaitError: it did not complete; see `wait`.
    """
    patience = Patience(timeout=timeout, poll_interval=poll_interval, stalled_after=stalled_after)
    request = models.CreatePrebuildRequest(
        project_id=project_id,
        environment_class_id=environment_class_id,
        spec=to_model(models.PrebuildSpec, {} if spec is None else spec, "spec"),
    )
    wanted = _reached(PREBUILD, until)  # a bad one must not cost a prebuild

    def steps() -> Steps[Prebuild]:
        created = (yield from caller.call(CREATE_PREBUILD, request, {})).prebuild
        try:
            return (yield from _until(caller, PREBUILD, created, wanted, patience, on_update))
        except PrebuildsError as error:
            if not isinstance(error, WaitError):
                error.add_note(f"The prebuild {created.id} was started, and is left as it is.")
            raise

    return steps()


def wait_all(
    caller: Caller,
    prebuilds: Iterable[str | Prebuild],
    *,
    until: Goal[Prebuild] = PrebuildPhase.COMPLETED,
    timeout: float | None = DEFAULT_WAIT,
    on_update: Callable[[Prebuild], object] | None = None,
    poll_interval: float = DEFAULT_POLL_INTERVAL,
    stalled_after: float | None = None,
) -> Steps[list[Prebuild]]:
    """Wait for many prebuilds at once, until each is COMPLETED or cannot be any more.

    One that fails does not end the wait for the others.

    Args:
        prebuilds: The ids of the prebuilds, or the prebuilds themselves.
        until: What to wait for; see `wait`.
        timeout: How long to wait for all of them, in seconds; None means for ever.
        on_update: Called with each prebuild as it is first seen, and after each of its changes.
        poll_interval: The longest pause between two looks at the same prebuild, in seconds.
        stalled_after: After how many seconds without any change to give up on a prebuild; None means never.

    Returns:
        The prebuilds, in the order in which they were given.

    Raises:
        WaitManyError: some did not complete. It carries those that did, and an error for each of the others.
    """
    patience = Patience(timeout=timeout, poll_interval=poll_interval, stalled_after=stalled_after)
    if isinstance(prebuilds, str):
        raise TypeError("prebuilds: expected several ids or prebuilds, got one string")
    wanted = _reached(PREBUILD, until)
    waits = [_until(caller, PREBUILD, each, wanted, patience, on_update) for each in prebuilds]

    def steps() -> Steps[list[Prebuild]]:
        outcomes = yield from _together(waits, caller.world.clock)
        errors = [outcome for outcome in outcomes if isinstance(outcome, PrebuildsError)]
        ready = [outcome for outcome in outcomes if not isinstance(outcome, PrebuildsError)]
        if errors:
            first = str(errors[0]) if len(errors) == 1 else f"{errors[0]}; ..."
            raise WaitManyError(
                f"{len(errors)} of {len(outcomes)} prebuilds did not complete: {first}", errors=errors, prebuilds=ready
            )
        return ready

    return steps()


# -- How it is done ----------------------------------------------------------------------------------------------------


@define(frozen=True)
class Reached(Generic[ItemT]):
    """When a wait is over."""

    test: Callable[[ItemT], bool | Awaitable[bool]]
    deletion: bool = False
    """Whether the deletion is what is waited for, so that no other end counts."""


@define(frozen=True)
class Ended(Generic[ItemT]):
    """How following something came to its end."""

    last: ItemT
    """As it was last seen."""
    reached: bool
    """Whether it is what was waited for."""
    gone: NotFoundError | None = None
    """The answer that it cannot be found any more, if that is how."""


def follow(
    caller: Caller,
    kind: Kind[ItemT],
    item_id: str,
    known: ItemT | None,
    goal: Reached[ItemT],
    patience: Patience,
    notify: Callable[[ItemT], T] | None,
) -> Generator[Effect | T, Any, Ended[ItemT]]:
    """Look at something until it is what is waited for, or can become nothing else any more.

    `notify` makes an effect of it as it is first seen, and of each change. `known` is how the caller knows it.
    """
    world = caller.world
    begin = changed = world.clock()
    deadline = math.inf if patience.timeout is None else begin + patience.timeout
    pause = min(_FIRST_PAUSE, patience.poll_interval)
    last: ItemT | None = None
    while True:
        failure: CallError | None = None
        try:
            item = yield from _look(caller, kind, item_id, max(deadline - world.clock(), _LAST_LOOK))
            looked = world.clock()
        except NotFoundError as error:
            # ASSUMPTION: what was there and is not found any more has been deleted; servers need not
            # show the phase DELETED.
            seen = last or known
            if seen is None:
                raise
            return Ended(seen, reached=False, gone=error)
        except CallError as error:
            looked = world.clock()
            lasts = last is None and looked - begin >= _FIRST_ANSWER
            if lasts or not is_passing(error):
                raise
            failure = error
        else:
            if item != last:
                changed, last = looked, item
                if notify is not None:
                    yield notify(item)
            if (yield Tell(goal.test, item)):
                return Ended(item, reached=True)
            phase = item.status.phase
            if phase == kind.deleted or (not goal.deletion and (phase in kind.ends or phase.is_terminal)):
                return Ended(item, reached=False)
            # Only a look can tell that nothing has changed.
            if patience.stalled_after is not None and looked - changed >= patience.stalled_after:
                said = f"has not changed for {looked - changed:.0f} s, and {_seen(item)}"
                raise kind.error(StalledError, said, item_id, item)
        # What was looked at in time, but kept the caller busy until now, is looked at once more.
        if looked >= deadline:
            said = f"{_seen(last or known)} after {patience.timeout:g} s"
            said += f" [last look: {failure}]" if failure else ""
            raise kind.error(WaitTimeoutError, said, item_id, last or known) from failure
        jitter = world.uniform(1 - _JITTER, 1 + _JITTER)
        yield Sleep(max(0.0, min(pause * jitter, deadline - world.clock())))
        pause = min(pause * _GROWTH, patience.poll_interval)


def _until(
    caller: Caller,
    kind: Kind[ItemT],
    item: str | ItemT,
    wanted: Reached[ItemT],
    patience: Patience,
    on_update: Callable[[ItemT], object] | None,
) -> Steps[ItemT]:
    """Wait for something, and raise if it cannot be reached any more. Arguments are checked at once."""
    item_id, known = identified(f"{kind.noun.replace(' ', '_')}_id", item)

    def notify(seen: ItemT) -> Tell:
        return Tell(cast("Any", on_update), seen)

    def steps() -> Steps[ItemT]:
        ended = yield from follow(caller, kind, item_id, known, wanted, patience, notify if on_update else None)
        warning = getattr(ended.last.status, "warning_message", None)
        if warning:
            logger.warning("%s %s has a warning: %s", kind.noun, item_id, warning)
        if ended.reached or (ended.gone and wanted.deletion):
            return ended.last
        phase = kind.deleted if ended.gone else ended.last.status.phase
        error, said = kind.ends.get(phase, (WaitError, f"ended as {phase}"))
        raise kind.error(error, said, item_id, ended.last) from ended.gone

    return steps()


def identified(name: str, item: str | ItemT) -> tuple[str, ItemT | None]:
    """The id of something, and the thing itself if that was given."""
    item_id, known = (item, None) if isinstance(item, str) else (getattr(item, "id", None), item)
    if not item_id:
        raise ValueError(f"{name}: expected an id, or something that has one")
    return item_id, known


def _reached(kind: Kind[ItemT], goal: Goal[ItemT]) -> Reached[ItemT]:
    """When the wait for `goal` is over.

    Raises:
        ValueError: a phase is none.
    """
    if callable(goal):
        return Reached(goal)
    wanted = {goal} if isinstance(goal, str) else set(goal)
    phases: Any = type(next(iter(kind.ends)))
    for phase in wanted:
        if not phases(phase).is_known:
            raise ValueError(f"until: {phase!r} is no phase of a {kind.noun}: {', '.join(phases)}")
    if not wanted:
        raise ValueError("until: expected at least one phase")
    enough = wanted.union(*(way[way.index(phase) :] for phase in wanted for way in kind.ways if phase in way))
    return Reached(lambda item: item.status.phase in enough, deletion=kind.deleted in enough)


def _never(_item: object) -> bool:
    return False


def _look(caller: Caller, kind: Kind[ItemT], item_id: str, limit: float) -> Steps[ItemT]:
    timeout = min(limit, caller.settings.timeout or math.inf)
    response = yield from caller.call(
        kind.operation, kind.request(item_id), {"timeout": None if math.isinf(timeout) else timeout}
    )
    return kind.item(response)


def is_passing(error: CallError) -> bool:
    """Whether a look that failed so is worth another one."""
    if error.retryable:
        return True
    if not isinstance(error, APIError) or error.code in _LASTING_CODES:
        return False
    return error.code in _PASSING_CODES or error.status >= 500


def _seen(last: _Item | None) -> str:
    """The phase as people call it: `is RUNNING`."""
    return "has not been seen" if last is None else f"is {str(last.status.phase).partition('_PHASE_')[2]}"


_AT_ONCE = 8
"""How many requests of a wait for many prebuilds are under way at the same time."""


def _together(all_steps: list[Steps[T]], clock: Callable[[], float]) -> Steps[list[T | PrebuildsError]]:
    """Carry out several waits at once: while one of them pauses, or waits for an answer, it is the turn of the others.

    The outcome of each is its result, or the error that it ended with.
    """
    outcomes: dict[int, T | PrebuildsError] = {}
    turns: deque[_Turn] = deque((number, steps.send, None) for number, steps in enumerate(all_steps))
    pauses: list[tuple[float, int]] = []
    try:
        while turns or pauses:
            asked: list[tuple[int, Any]] = []
            while turns and len(asked) < _AT_ONCE:
                number, resume, outcome = turns.popleft()
                try:
                    effect = yield from _advance(all_steps[number], resume, outcome)
                except PrebuildsError as error:
                    outcomes[number] = error
                    continue
                if isinstance(effect, Sleep):
                    heapq.heappush(pauses, (clock() + effect.seconds, number))
                elif isinstance(effect, Send):
                    asked.append((number, (yield Start(_single(effect)))))
                else:
                    outcomes[number] = effect.result
            for number, handle in asked:
                steps = all_steps[number]
                try:
                    turns.append((number, steps.send, (yield Join(handle))))
                except Exception as error:  # noqa: BLE001 - it is for `steps` to handle
                    turns.append((number, steps.throw, error))
            if not turns and pauses and pauses[0][0] > clock():
                yield Sleep(pauses[0][0] - clock())
            while pauses and pauses[0][0] <= clock():
                _, number = heapq.heappop(pauses)
                turns.append((number, all_steps[number].send, None))
    finally:
        for steps in all_steps:
            steps.close()
    return [outcomes[number] for number in range(len(all_steps))]


_Turn = tuple[int, Callable[[Any], Effect], Any]
"""The number of a wait, how it is resumed, and with what."""


@define(frozen=True)
class _Done(Generic[T]):
    result: T


def _advance(steps: Steps[T], resume: Callable[[Any], Effect], outcome: Any) -> Steps[Sleep | Send | _Done[T]]:
    """Carry out `steps` up to its next pause or request, or to its end."""
    while True:
        try:
            effect = resume(outcome)
        except StopIteration as stop:
            return _Done(stop.value)
        if isinstance(effect, Sleep | Send):
            return effect
        try:
            outcome, resume = (yield effect), steps.send
        except Exception as error:  # noqa: BLE001 - it is for `steps` to handle
            outcome, resume = error, steps.throw


def _single(effect: Effect) -> Steps[Any]:
    return (yield effect)
