"""The run of `prebuilds refresh`: creates a prebuild for each target, never two, and follows them to their ends."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from prebuild_api.models import PrebuildPhase, PrebuildTrigger
from prebuilds.cli.fleet.pacing import Pace, PacedCalls
from prebuilds.cli.fleet.targets import Intent, Item, Outcome, OutcomeName, is_of_target
from prebuilds.cli.layouts import short_name
from prebuilds.errors import (
    CallError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
)

if TYPE_CHECKING:
    from prebuild_api.models import Prebuild
    from prebuilds import AsyncPrebuildClient, AsyncPrebuildsPage
    from prebuilds.cli.fleet.state_file import StateFile
    from prebuilds.flows.effects import Runtime

PAGE_SIZE: Final = 100
MAX_FILTER: Final = 25
"""The number of projects that the filter of a list can name."""

_MAX_FILTERED_LISTS: Final = 8
"""With more lists than this, one list of all projects is cheaper."""

_MAX_PAGES: Final = 200
"""The number of pages that a poll reads of one list."""

_MAX_SINGLE_POLLS: Final = 10
"""The number of prebuilds that a poll reads one by one because no list shows them."""

CREATE_TIMEOUT: Final = 20.0
"""Seconds for a create. The request carries this deadline, so that the service does not execute it later."""

SETTLE: Final = 30.0
"""Seconds after which a create whose response was lost either shows in the list, or did not take effect."""

_SEARCH_INTERVAL: Final = 3.0
_MAX_CREATES: Final = 3
"""The number of creates that are sent for one target, each only if the one before did not take effect."""

_MAX_FAILED_POLLS: Final = 20

_REJECTIONS: Final = (InvalidArgumentError, NotFoundError, PermissionDeniedError)
"""Errors that may be about one of several projects."""

_LONGEST_PREBUILD: Final = timedelta(hours=3)
"""Longer than the service lets a prebuild take."""

_OUTCOMES: Final[dict[str, OutcomeName]] = {
    PrebuildPhase.COMPLETED: "completed",
    PrebuildPhase.FAILED: "failed",
    PrebuildPhase.CANCELLED: "cancelled",
    PrebuildPhase.DELETED: "deleted",
    PrebuildPhase.DELETING: "deleted",
}
_CANCELLABLE: Final = [phase for phase in PrebuildPhase if phase.is_active and phase != PrebuildPhase.CANCELLING]


@dataclass(frozen=True, kw_only=True)
class RefreshOptions:
    """The options of a run."""

    concurrency: int = 8
    """The number of creates that are sent at the same time."""
    max_active: int | None = None
    """The number of prebuilds that run at the same time; None for no limit."""
    rate: float = 5.0
    """Creates per second."""
    max_failures: int | None = None
    """The number of failures after which no further prebuild is created."""
    stalled_after: timedelta = timedelta(seconds=7500)
    poll_interval: timedelta = timedelta(seconds=10)
    timeout: str | None = None
    """The time that each prebuild may take, as the API writes it."""
    cancel_active: bool = False
    keep_baseline: bool = False
    skip_fresher_than: timedelta | None = None


class _Baseline(NamedTuple):
    """The newest prebuilds of some projects before a create, by the clock of the service."""

    since: datetime | None
    """When they were created; None if there is none."""
    known: frozenset[str]
    """Their ids."""


class Progress(Protocol):
    """Shows a person how far a run is."""

    def event(self, item: Item, text: str) -> None:
        """Something happened to a target."""
        ...

    def update(self) -> None:
        """The numbers have changed."""
        ...


class Refresh:
    """A run.

    Args:
        client: the client; it is used without retries of its own.
        state: the targets, and their state on disk.
        options: the options.
        progress: shows the events.
        runtime: time and chance.
    """

    def __init__(
        self,
        client: AsyncPrebuildClient,
        state: StateFile,
        options: RefreshOptions,
        progress: Progress,
        runtime: Runtime,
    ) -> None:
        self._prebuilds = client.with_options(retries=0).prebuilds
        self._state = state
        self._options = options
        self._progress = progress
        self._runtime = runtime
        pace = Pace(runtime)
        self._calls = PacedCalls(runtime, pace)
        self._creates = PacedCalls(runtime, Pace(runtime, options.rate), pace)
        self._workers = asyncio.Semaphore(options.concurrency)
        items = state.items.values()
        self._lost = [item for item in items if item.is_lost]
        self._waiting = deque(item for item in items if item.outcome is None and item.intent is None)
        self._active = {
            item.prebuild_id.lower(): item for item in items if item.outcome is None and item.prebuild_id is not None
        }
        self._taken = {item.prebuild_id.lower() for item in items if item.prebuild_id is not None}
        self._starting = 0
        self._queued = 0
        """The targets whose creates have not been sent yet."""
        self._failures = sum(1 for item in items if item.outcome is not None and _is_failure(item.outcome))
        self._failed_polls = 0
        classes: dict[str, set[str]] = {}
        for item in items:
            if item.target.environment_class is not None:
                classes.setdefault(item.target.project.lower(), set()).add(item.target.environment_class.lower())
        self._classes = {project: frozenset(names) for project, names in classes.items()}

    async def run(self) -> None:
        """Create and follow the prebuilds of all targets.

        Raises:
            CallError: the service rejects the token, or cannot be reached any more.
        """
        now = self._runtime.clock()
        for item in self._active.values():
            item.changed_at = now
        async with asyncio.TaskGroup() as tasks:
            starting = tasks.create_task(self._start_all())
            await self._follow_all(starting.done)
        if self._options.keep_baseline:
            for item in self._state.items.values():
                await self._prune(item)

    @property
    def is_stopped(self) -> bool:
        """Whether so many prebuilds failed that no further one is created."""
        limit = self._options.max_failures
        return limit is not None and self._failures > limit

    # -- Creating

    async def _start_all(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for item in self._lost:
                self._starting += 1
                tasks.create_task(self._counted(self._recover(item)))
            while self._waiting and not self.is_stopped:
                free = self._free()
                # The lists that are read before a create must not be old when it is sent.
                if free <= 0 or self._queued >= MAX_FILTER:
                    await self._runtime.async_sleep(min(0.5, self._options.poll_interval.total_seconds()))
                    continue
                # A group shares the lists that are read before its creates.
                group = [self._waiting.popleft() for _ in range(min(free, MAX_FILTER, len(self._waiting)))]
                for item, baseline in await self._prepared(group):
                    self._starting += 1
                    self._queued += 1
                    tasks.create_task(self._counted(self._create_first(item, baseline)))

    def _free(self) -> int:
        """The number of prebuilds that may be created now."""
        limit = self._options.max_active
        return MAX_FILTER if limit is None else limit - len(self._active) - self._starting

    async def _counted(self, create: Coroutine[Any, Any, None]) -> None:
        try:
            await create
        finally:
            self._starting -= 1

    async def _prepared(self, group: list[Item]) -> list[tuple[Item, _Baseline]]:
        """The targets of a group that need a new prebuild."""
        try:
            return await self._prepared_together(group)
        except _REJECTIONS as error:
            if len(group) == 1:
                self._ended(group[0], Outcome.of("refused", str(error)))
                return []
        # One of them spoils the lists of all.
        return [ready for item in group for ready in await self._prepared([item])]

    async def _prepared_together(self, group: list[Item]) -> list[tuple[Item, _Baseline]]:
        stale = await self._without_fresh_ones(group)
        if not stale:
            return []
        if self._options.cancel_active:
            await self._cancel_active(stale)
        baseline = await self._newest(stale)
        return [(item, baseline) for item in stale]

    async def _recover(self, item: Item) -> None:
        """Find out whether an earlier run created a prebuild, and create one if not."""
        intent = item.intent
        if intent is None:
            return
        found = await self._find(item, intent)
        if found is None:
            await self._create(item, _Baseline(intent.since, intent.known))
        else:
            self._started(item, found, "found")

    async def _create_first(self, item: Item, baseline: _Baseline) -> None:
        try:
            await self._create(item, baseline)
        finally:
            if item.intent is None:  # it was never sent
                self._queued -= 1

    async def _create(self, item: Item, baseline: _Baseline) -> None:
        for attempt in range(1, _MAX_CREATES + 1):
            if self.is_stopped:
                return
            try:
                async with self._workers:
                    created = await self._creates(partial(self._send_create, item, baseline))
            except UnauthenticatedError:
                raise
            except CallError as error:
                intent = item.intent
                found = await self._find(item, intent) if error.maybe_executed and intent is not None else None
                if found is None and error.maybe_executed and attempt < _MAX_CREATES:
                    continue
                if found is None:
                    self._ended(item, Outcome.of("refused", str(error)))
                    return
                created = found
            self._started(item, created, "created")
            return

    async def _send_create(self, item: Item, baseline: _Baseline) -> Prebuild:
        if item.intent is None:
            self._queued -= 1
        # On disk before anything is sent, and as late as possible: the service ends a create after its timeout.
        self._state.intend(item, Intent(at=self._runtime.now(), since=baseline.since, known=baseline.known))
        timeout = self._options.timeout
        response = await self._prebuilds.create(
            project_id=item.target.project,
            environment_class_id=item.target.environment_class,
            spec={} if timeout is None else {"timeout": timeout},
            timeout=CREATE_TIMEOUT,
        )
        return response.prebuild

    async def _find(self, item: Item, intent: Intent) -> Prebuild | None:
        """The prebuild of a create whose response was lost; None if it certainly did not take effect."""
        slept = 0.0
        while True:
            # The clock of another machine may be ahead.
            settled = self._runtime.now() - intent.at >= SETTLE or slept >= SETTLE
            async for each in self._listed([item.target.project]):
                if intent.since is not None and each.metadata.created_at < intent.since:
                    break
                if self._is_from(each, item, intent):
                    return each
            if settled:
                return None
            await self._runtime.async_sleep(_SEARCH_INTERVAL)
            slept += _SEARCH_INTERVAL

    def _is_from(self, prebuild: Prebuild, item: Item, intent: Intent) -> bool:
        prebuild_id = (prebuild.id or "").lower()
        return (
            self._is_of(prebuild, item)
            and prebuild_id not in intent.known
            and prebuild_id not in self._taken
            and prebuild.metadata.triggered_by != PrebuildTrigger.SCHEDULED
        )

    def _is_of(self, prebuild: Prebuild, item: Item) -> bool:
        others = self._classes.get(item.target.project.lower(), frozenset())
        metadata = prebuild.metadata
        return is_of_target(item.target, metadata.project_id, metadata.environment_class_id, others)

    def _started(self, item: Item, prebuild: Prebuild, how: str) -> None:
        prebuild_id = prebuild.id or ""
        item.environment_class = prebuild.metadata.environment_class_id
        self._state.created(item, prebuild_id, prebuild.metadata.created_at)
        self._taken.add(prebuild_id.lower())
        self._active[prebuild_id.lower()] = item
        item.changed_at = self._runtime.clock()
        self._progress.event(item, how)

    # -- Before creates

    async def _newest(self, group: Sequence[Item]) -> _Baseline:
        """The newest prebuilds that the projects have."""
        since: datetime | None = None
        known: set[str] = set()
        async for each in self._listed([item.target.project for item in group]):
            if since is not None and each.metadata.created_at < since:
                break
            since = each.metadata.created_at
            known.add((each.id or "").lower())
        return _Baseline(since, frozenset(known))

    async def _without_fresh_ones(self, group: list[Item]) -> list[Item]:
        """The targets that have no prebuild that completed lately. The others are skipped."""
        limit = self._options.skip_fresher_than
        if limit is None or not group:
            return group
        now = datetime.fromtimestamp(self._runtime.now(), UTC)
        fresh: list[Prebuild] = []
        projects = [item.target.project for item in group]
        async for each in self._listed(projects, phases=[PrebuildPhase.COMPLETED]):
            if each.metadata.created_at < now - limit - _LONGEST_PREBUILD:
                break
            if (each.status.completion_time or each.metadata.updated_at) >= now - limit:
                fresh.append(each)
        stale: list[Item] = []
        for item in group:
            found = next((each for each in fresh if self._is_of(each, item)), None)
            if found is None:
                stale.append(item)
            else:
                self._ended(item, Outcome.of("skipped", f"{found.id} is fresh"))
        return stale

    async def _cancel_active(self, group: Sequence[Item]) -> None:
        active = [each async for each in self._listed([item.target.project for item in group], phases=_CANCELLABLE)]
        for each in active:
            prebuild_id = each.id or ""
            if prebuild_id.lower() in self._taken or not any(self._is_of(each, item) for item in group):
                continue
            try:
                await self._calls(partial(self._prebuilds.cancel, prebuild_id=prebuild_id))
            except (FailedPreconditionError, NotFoundError):
                continue  # it has ended in the meantime

    # -- Following

    async def _follow_all(self, is_all_started: Callable[[], bool]) -> None:
        while True:
            done = is_all_started()
            if self._active:
                await self._poll()
            self._progress.update()
            if done and not self._active:
                return
            await self._runtime.async_sleep(self._options.poll_interval.total_seconds())

    async def _poll(self) -> None:
        wanted = dict(self._active)
        projects = sorted({item.target.project.lower() for item in wanted.values()})
        many = len(projects) > MAX_FILTER * _MAX_FILTERED_LISTS
        chunks: list[list[str]] = [projects[at : at + MAX_FILTER] for at in range(0, len(projects), MAX_FILTER)]
        chunks = [[]] if many else chunks
        try:
            for chunk in chunks:
                mine = wanted if many else {k: v for k, v in wanted.items() if v.target.project.lower() in chunk}
                missing = await self._poll_list(chunk, mine)
                # Those that were not read for the longest time come first.
                for prebuild_id in sorted(missing, key=lambda each: wanted[each].polled_at)[:_MAX_SINGLE_POLLS]:
                    wanted[prebuild_id].polled_at = self._runtime.clock()
                    await self._poll_one(prebuild_id)
            self._failed_polls = 0
        except UnauthenticatedError:
            raise
        except CallError:
            # The prebuilds go on, whether they are watched or not.
            self._failed_polls += 1
            if self._failed_polls >= _MAX_FAILED_POLLS:
                raise

    async def _poll_list(self, projects: Sequence[str], wanted: dict[str, Item]) -> list[str]:
        """Read a list as far as it may show the prebuilds. Returns the ids of those that it does not show."""
        missing = set(wanted)
        oldest = min((item.created_at for item in wanted.values() if item.created_at is not None), default=None)
        read = 0
        async for each in self._listed(projects):
            read += 1
            prebuild_id = (each.id or "").lower()
            if prebuild_id in missing:
                missing.discard(prebuild_id)
                self._saw(each)
            passed = oldest is not None and each.metadata.created_at < oldest
            if not missing or passed or read >= _MAX_PAGES * PAGE_SIZE:
                break
        return sorted(missing)

    async def _poll_one(self, prebuild_id: str) -> None:
        try:
            response = await self._calls(partial(self._prebuilds.retrieve, prebuild_id=prebuild_id))
        except NotFoundError:
            item = self._active.pop(prebuild_id, None)
            if item is not None:
                self._ended(item, Outcome.of("deleted", "the service does not find it any more"))
        else:
            self._saw(response.prebuild)

    def _saw(self, prebuild: Prebuild) -> None:
        prebuild_id = (prebuild.id or "").lower()
        item = self._active.get(prebuild_id)
        if item is None:
            return
        now, status = self._runtime.clock(), prebuild.status
        version = (status.phase, status.status_version, prebuild.metadata.updated_at)
        if item.seen != version:
            item.seen, item.changed_at = version, now
        outcome = _OUTCOMES.get(status.phase)
        if outcome is None and now - item.changed_at >= self._options.stalled_after.total_seconds():
            outcome = "stalled"
        phase = short_name(status.phase)
        if outcome is not None:
            del self._active[prebuild_id]
            end = status.completion_time
            seconds = None if end is None else (end - prebuild.metadata.created_at).total_seconds()
            message = status.failure_message or status.warning_message
            self._ended(item, Outcome.of(outcome, message, status.log_url, seconds))
        elif item.phase != phase:
            self._progress.event(item, phase)
        item.phase = phase

    def _ended(self, item: Item, outcome: Outcome) -> None:
        self._state.ended(item, outcome)
        self._failures += _is_failure(outcome)
        item.seen = None
        self._progress.event(item, f"{outcome.name}: {outcome.message}" if outcome.message else outcome.name)

    # -- Afterwards

    async def _prune(self, item: Item) -> None:
        """Delete the old prebuilds of a target whose new one completed."""
        if item.pruned or item.outcome is None or item.outcome.name != "completed":
            return
        finished = [phase for phase in PrebuildPhase if phase.is_terminal and phase != PrebuildPhase.DELETED]
        old = [
            each
            async for each in self._listed([item.target.project], phases=finished)
            if (each.metadata.environment_class_id or "") == (item.environment_class or "")
            and (each.id or "").lower() not in self._taken
            and item.created_at is not None
            and each.metadata.created_at <= item.created_at
        ]
        for each in old:
            prebuild_id = each.id or ""
            try:
                await self._calls(partial(self._prebuilds.delete, prebuild_id=prebuild_id))
            except NotFoundError:
                continue
        self._state.pruned(item)
        if old:
            self._progress.event(item, f"pruned {len(old)}")

    async def _listed(self, projects: Iterable[str], **filters: Any) -> AsyncIterator[Prebuild]:
        """The prebuilds of the projects (of all projects, if none is named), newest first. Each page is a call."""
        named = list(dict.fromkeys(projects)) or None

        async def first() -> AsyncPrebuildsPage:
            return await self._prebuilds.list(project_ids=named, page_size=PAGE_SIZE, **filters)

        page = await self._calls(first)
        while True:
            for each in page.prebuilds:
                yield each
            if not page.has_next_page():
                return
            page = await self._calls(page.get_next_page)


def _is_failure(outcome: Outcome) -> bool:
    return outcome.name not in ("completed", "skipped")
