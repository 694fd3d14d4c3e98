"""Waiting until a prebuild or a warm pool reaches a phase."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Generator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, cast

from attrs import define, field

from prebuild_api import models
from prebuild_api.models import ConnectCode, PrebuildPhase, WarmPoolPhase
from prebuild_api.operations import CREATE_PREBUILD
from prebuild_api.types import to_model
from prebuilds import observers
from prebuilds.calls import CallExecutor
from prebuilds.errors import (
    APIError,
    CallError,
    NotFoundError,
    PrebuildsError,
    StalledError,
    WaitError,
    WaitTimeoutError,
)
from prebuilds.flows.effects import Callback, Effect, Emit, Sleep, Steps, Stream
from prebuilds.logging import logger
from prebuilds.options import DEFAULT_POLL_INTERVAL, DEFAULT_POOL_WAIT, DEFAULT_WAIT, Seconds, checked_seconds
from prebuilds.redaction import readable
from prebuilds.waitables import PREBUILD, WARM_POOL, Goal, Item, ItemT, Waitable, identified, phase_name

if TYPE_CHECKING:
    from prebuild_api.models import Prebuild, PrebuildSpec, WarmPool
    from prebuild_api.params import PrebuildSpecParam

_MIN_PAUSE = 1.0
_GROWTH = 1.8
_JITTER = 0.1

_LAST_POLL = 5.0
"""Seconds that the poll at the end of the waiting time may take at least."""

_FIRST_RESPONSE = 120.0
"""Seconds without a single successful response after which a failure is believed to last, a wrong base URL say."""

# These come in addition to failures that are certain to be transient. A poll changes nothing, and one failed poll
# proves nothing about a prebuild that takes minutes.
_TRANSIENT_CODES = frozenset(
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

T = TypeVar("T")


@define(frozen=True, kw_only=True)
class Patience:
    """The timeout and the polling interval of a wait. All in seconds."""

    timeout: float | None
    poll_interval: float = DEFAULT_POLL_INTERVAL
    stalled_after: float | None = None

    @classmethod
    def of(
        cls,
        timeout: Seconds | None,
        poll_interval: Seconds = DEFAULT_POLL_INTERVAL,
        stalled_after: Seconds | None = None,
    ) -> Self:
        """The patience that the arguments of a method describe.

        Raises:
            TypeError: an argument is not a duration.
            ValueError: a duration is not greater than 0 seconds. A timeout of 0 polls once.
        """
        now = timeout in (0, timedelta(0)) and not isinstance(timeout, bool)
        return cls(
            timeout=0.0 if now else checked_seconds("timeout", timeout),
            poll_interval=checked_seconds("poll_interval", poll_interval) or DEFAULT_POLL_INTERVAL,
            stalled_after=checked_seconds("stalled_after", stalled_after),
        )


def wait(
    executor: CallExecutor,
    prebuild_id: str | Prebuild,
    *,
    until: Goal[Prebuild] = PrebuildPhase.COMPLETED,
    timeout: Seconds | None = DEFAULT_WAIT,
    on_update: Callable[[Prebuild], object] | None = None,
    poll_interval: Seconds = DEFAULT_POLL_INTERVAL,
    stalled_after: Seconds | None = None,
) -> Steps[Prebuild]:
    """The logic of `client.prebuilds.wait`."""
    patience = Patience.of(timeout, poll_interval, stalled_after)
    return _until(executor, PREBUILD, prebuild_id, reached(PREBUILD, until), patience, on_update)


def wait_warm_pool(
    executor: CallExecutor,
    warm_pool_id: str | WarmPool,
    *,
    until: Goal[WarmPool] = WarmPoolPhase.READY,
    timeout: Seconds | None = DEFAULT_POOL_WAIT,
    on_update: Callable[[WarmPool], object] | None = None,
    poll_interval: Seconds = DEFAULT_POLL_INTERVAL,
    stalled_after: Seconds | None = None,
) -> Steps[WarmPool]:
    """The logic of `client.prebuilds.wait_warm_pool`."""
    patience = Patience.of(timeout, poll_interval, stalled_after)
    return _until(executor, WARM_POOL, warm_pool_id, reached(WARM_POOL, until), patience, on_update)


def watch(
    executor: CallExecutor,
    prebuild_id: str | Prebuild,
    *,
    timeout: Seconds | None = DEFAULT_WAIT,
    poll_interval: Seconds = DEFAULT_POLL_INTERVAL,
    stalled_after: Seconds | None = None,
) -> Stream[Prebuild]:
    """The logic of `client.prebuilds.watch`."""
    patience = Patience.of(timeout, poll_interval, stalled_after)
    item_id, known = identified("prebuild_id", prebuild_id)

    def steps() -> Stream[Prebuild]:
        yield from follow(executor, PREBUILD, item_id, known, Reached[Any](_never), patience, Emit[Any])

    return steps()


def create_and_wait(
    executor: CallExecutor,
    *,
    project_id: str,
    environment_class_id: str | None = None,
    spec: PrebuildSpec | PrebuildSpecParam | None = None,
    until: Goal[Prebuild] = PrebuildPhase.COMPLETED,
    timeout: Seconds | None = DEFAULT_WAIT,
    on_update: Callable[[Prebuild], object] | None = None,
    poll_interval: Seconds = DEFAULT_POLL_INTERVAL,
    stalled_after: Seconds | None = None,
) -> Steps[Prebuild]:
    """The logic of `client.prebuilds.create_and_wait`."""
    patience = Patience.of(timeout, poll_interval, stalled_after)
    request = models.CreatePrebuildRequest(
        project_id=project_id,
        environment_class_id=environment_class_id,
        spec=to_model(models.PrebuildSpec, {} if spec is None else spec, "spec"),
    )
    wanted = reached(PREBUILD, until)  # an invalid one must not cost a prebuild

    def steps() -> Steps[Prebuild]:
        created = (yield from executor.call(CREATE_PREBUILD, request, {})).prebuild
        try:
            return (yield from _until(executor, PREBUILD, created, wanted, patience, on_update))
        except PrebuildsError as error:
            if not isinstance(error, WaitError):
                error.add_note(f"The prebuild {created.id} was started, and is left as it is.")
            raise

    return steps()


@define(frozen=True)
class Reached(Generic[ItemT]):
    """When a wait is over."""

    test: Callable[[ItemT], bool | Awaitable[bool]]
    deletion: bool = False
    """True if the wait is for the deletion, so that no other end counts."""


@define(frozen=True)
class Ended(Generic[ItemT]):
    """The way in which a resource ended."""

    last: ItemT
    """Its last known state."""
    reached: bool
    """Return True if this is the goal of the wait."""
    gone: NotFoundError | None = None
    """The error to raise if the resource can no longer be found."""


@define
class Tracker(Generic[ItemT]):
    """The state of a wait for one resource. It receives each poll, and decides whether the wait is over."""

    kind: Waitable[ItemT]
    item_id: str
    known: ItemT | None
    """The state that the caller passed in."""
    goal: Reached[ItemT]
    patience: Patience
    notify: Callable[[ItemT], Any] | None
    """Makes an effect of the resource when it is first seen, and of each change."""
    clock: Callable[[], float]
    last: ItemT | None = None
    """The state at the last successful poll."""
    begin: float = field(init=False)
    _changed: float = field(init=False)
    _failure: CallError | None = None

    def __attrs_post_init__(self) -> None:
        self.begin = self._changed = self.clock()

    @property
    def deadline(self) -> float:
        """When the wait ends."""
        return math.inf if self.patience.timeout is None else self.begin + self.patience.timeout

    def seen(self, item: ItemT, at: float) -> Generator[Effect | Any, Any, Ended[ItemT] | None]:
        """A poll found the resource. Returns how the wait ended, or None if it goes on.

        Raises:
            StalledError: the resource has not changed for too long.
        """
        self._failure = None
        if item != self.last:
            self._changed, self.last = at, item
            if self.notify is not None:
                yield self.notify(item)
        if (yield Callback(self.goal.test, (item,))):
            return Ended(item, reached=True)
        phase = item.status.phase
        final = phase in self.kind.ends or phase.is_terminal
        if phase == self.kind.deleted or (final and not self.goal.deletion):
            return Ended(item, reached=False)
        # Only a poll can show that nothing has changed.
        limit = self.patience.stalled_after
        if limit is not None and at - self._changed >= limit:
            said = f"has not changed for {at - self._changed:.0f} s, and {phase_name(item)}"
            raise self.kind.error(StalledError, said, self.item_id, item)
        return None

    def failed(self, error: CallError, at: float) -> Ended[ItemT] | None:
        """A poll failed. Returns how the wait ended, or None if it goes on. Raises `error` if that is lasting."""
        if isinstance(error, NotFoundError):
            # ASSUMPTION: a resource that was there and is not found any more has been deleted; servers need not show
            # the phase DELETED.
            state = self.last or self.known
            if state is None:
                raise error
            return Ended(state, reached=False, gone=error)
        lasts = self.last is None and at - self.begin >= _FIRST_RESPONSE
        if lasts or not is_transient(error):
            raise error
        self._failure = error
        return None

    def check_deadline(self, at: float) -> None:
        """End the wait if the last poll was not before its deadline.

        Raises:
            WaitTimeoutError: it was not.
        """
        if at < self.deadline:
            return
        state = self.last or self.known
        said = f"{phase_name(state)} after {self.patience.timeout:g} s"
        said += f" [last poll: {self._failure}]" if self._failure else ""
        raise self.kind.error(WaitTimeoutError, said, self.item_id, state) from self._failure


@define
class Pauses:
    """The pauses between polls: short at first, and longer as time goes by."""

    patience: Patience
    uniform: Callable[[float, float], float]
    _next: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._next = min(_MIN_PAUSE, self.patience.poll_interval)

    def next(self, remaining: float) -> Sleep:
        """The next pause, no longer than the time that remains."""
        pause = self._next * self.uniform(1 - _JITTER, 1 + _JITTER)
        self._next = min(self._next * _GROWTH, self.patience.poll_interval)
        return Sleep(max(0.0, min(pause, remaining)))


def follow(
    executor: CallExecutor,
    kind: Waitable[ItemT],
    item_id: str,
    known: ItemT | None,
    goal: Reached[ItemT],
    patience: Patience,
    notify: Callable[[ItemT], T] | None,
) -> Generator[Effect | T, Any, Ended[ItemT]]:
    """Poll a resource until it reaches the goal, or cannot reach it any more.

    `notify` makes an effect of the resource when it is first seen, and of each change. `known` is the state that the
    caller has.
    """
    tracker = Tracker(kind, item_id, known, goal, patience, notify, executor.runtime.clock)
    return (yield from poll(executor, tracker))


def poll(executor: CallExecutor, tracker: Tracker[ItemT]) -> Generator[Effect | Any, Any, Ended[ItemT]]:
    """Poll the resource of a tracker until its wait ends."""
    clock = executor.runtime.clock
    pauses = Pauses(tracker.patience, executor.runtime.uniform)
    while True:
        try:
            item = yield from read(executor, tracker)
        except CallError as error:
            polled = clock()
            ended = tracker.failed(error, polled)
        else:
            polled = clock()
            ended = yield from tracker.seen(item, polled)
        if ended is not None:
            return ended
        # A poll that was in time, but kept the caller busy until now, is followed by another one.
        tracker.check_deadline(polled)
        yield pauses.next(tracker.deadline - clock())


def concluded(tracker: Tracker[ItemT], ended: Ended[ItemT]) -> ItemT:
    """The resource in the state that was waited for.

    Raises:
        WaitError: it has come to another end.
    """
    kind, item_id = tracker.kind, tracker.item_id
    warning = getattr(ended.last.status, "warning_message", None)
    if warning:
        logger.warning("%s %s has a warning: %s", kind.noun, item_id, readable(warning))
    if ended.reached or (ended.gone and tracker.goal.deletion):
        return ended.last
    phase = kind.deleted if ended.gone else ended.last.status.phase
    error, said = kind.ends.get(phase, (WaitError, f"ended as {readable(str(phase))}"))
    raise kind.error(error, said, item_id, ended.last) from ended.gone


def report(tracker: Tracker[Any], error: PrebuildsError | None) -> None:
    """Tell the observer, if there is one, how a wait ended."""
    observer = observers.current()
    if observer is None:
        return
    state = tracker.last or tracker.known
    phase = "unknown" if state is None else str(state.status.phase.name)
    outcome = "reached" if error is None else type(error).__name__
    observer.waited(tracker.kind.noun, phase, outcome, tracker.clock() - tracker.begin)


def reached(kind: Waitable[ItemT], goal: Goal[ItemT]) -> Reached[ItemT]:
    """When the wait for `goal` is over.

    Raises:
        ValueError: a phase does not exist.
    """
    if callable(goal):
        return Reached(goal)
    names = [goal] if isinstance(goal, str) else list(goal)
    if not names:
        raise ValueError("until: expected at least one phase")
    wanted = {kind.phase(name) for name in names}
    enough = wanted.union(*(path[path.index(phase) :] for phase in wanted for path in kind.paths if phase in path))
    return Reached(lambda item: item.status.phase in enough, deletion=kind.deleted in enough)


def notifier(on_update: Callable[[ItemT], object] | None) -> Callable[[ItemT], Callback] | None:
    """Reports a resource to the user's callback."""
    return None if on_update is None else lambda item: Callback(cast("Any", on_update), (item,))


def is_transient(error: CallError) -> bool:
    """Return True if a poll that failed in this way should be repeated."""
    if error.retryable:
        return True
    if not isinstance(error, APIError) or error.code in _LASTING_CODES:
        return False
    return error.code in _TRANSIENT_CODES or error.status >= 500


def _until(
    executor: CallExecutor,
    kind: Waitable[ItemT],
    item: str | ItemT,
    wanted: Reached[ItemT],
    patience: Patience,
    on_update: Callable[[ItemT], object] | None,
) -> Steps[ItemT]:
    """Wait for a resource. Arguments are checked at once."""
    item_id, known = identified(f"{kind.noun.replace(' ', '_')}_id", item)

    def steps() -> Steps[ItemT]:
        tracker = Tracker(kind, item_id, known, wanted, patience, notifier(on_update), executor.runtime.clock)
        try:
            item = concluded(tracker, (yield from poll(executor, tracker)))
        except PrebuildsError as error:
            report(tracker, error)
            raise
        report(tracker, None)
        return item

    return steps()


def _never(_item: Item) -> bool:
    return False


def read(executor: CallExecutor, tracker: Tracker[ItemT], most: float = math.inf) -> Steps[ItemT]:
    """Poll the resource of a tracker once, within `most` seconds."""
    kind = tracker.kind
    limit = min(most, max(tracker.deadline - executor.runtime.clock(), _LAST_POLL))
    timeout = min(limit, executor.options.timeout or math.inf)
    options: Any = {"timeout": None if math.isinf(timeout) else timeout}
    response = yield from executor.call(kind.operation, kind.request(tracker.item_id), options)
    return kind.item(response)
