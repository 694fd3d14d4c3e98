"""The creates of a run: one prebuild for each target, and never two."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from prebuild_api.models import PrebuildPhase, PrebuildTrigger
from prebuilds.cli.fleet.run import MAX_FILTER, Run
from prebuilds.cli.fleet.targets import Intent, Item, Outcome
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

CREATE_TIMEOUT: Final = 20.0
"""Seconds for a create. The request carries this deadline, so that the service does not execute it later."""

SETTLE: Final = 30.0
"""Seconds after which a create whose response was lost either shows in the list, or did not take effect."""

_SEARCH_INTERVAL: Final = 3.0
_MAX_CREATES: Final = 3
"""The number of creates that are sent for one target, each only if the one before did not take effect."""

_REJECTIONS: Final = (InvalidArgumentError, NotFoundError, PermissionDeniedError)
"""Errors that may concern one of several projects."""

_LONGEST_PREBUILD: Final = timedelta(hours=3)
"""Longer than the service's limit for a prebuild."""

_CANCELLABLE: Final = [phase for phase in PrebuildPhase if phase.is_active and phase != PrebuildPhase.CANCELLING]


class _Baseline(NamedTuple):
    """The newest prebuilds of some projects before a create, by the clock of the service."""

    since: datetime | None
    """The time when they were created, or None."""
    known: frozenset[str]
    """Their ids."""


class Creator:
    """Creates the prebuilds of a run."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._workers = asyncio.Semaphore(run.options.concurrency)
        items = run.state.items.values()
        self._lost = [item for item in items if item.is_lost]
        self._waiting = deque(item for item in items if item.outcome is None and item.intent is None)
        self._starting = 0
        """The targets whose creates have not ended."""
        self._queued = 0
        """The targets whose creates have not been sent."""

    async def create_all(self) -> None:
        """Create a prebuild for each target that has none, and find those whose responses an earlier run has lost.

        Raises:
            CallError: the service rejects the token, or cannot be reached any more.
        """
        async with asyncio.TaskGroup() as tasks:
            for item in self._lost:
                self._starting += 1
                tasks.create_task(self._counted(partial(self._recover, item)))
            while self._waiting and not self._run.is_stopped:
                free = self._free()
                # The lists that are read before a create must not be old when it is sent.
                if free <= 0 or self._queued >= MAX_FILTER:
                    await self._run.runtime.async_sleep(min(0.5, self._run.options.poll_interval.total_seconds()))
                    continue
                # A group shares the lists that are read before its creates.
                group = [self._waiting.popleft() for _ in range(min(free, MAX_FILTER, len(self._waiting)))]
                for item, baseline in await self._prepared(group):
                    self._starting += 1
                    self._queued += 1
                    tasks.create_task(self._counted(partial(self._create_first, item, baseline)))

    def _free(self) -> int:
        """The number of prebuilds that may be created now."""
        limit = self._run.options.max_active
        return MAX_FILTER if limit is None else limit - len(self._run.active) - self._starting

    async def _counted(self, create: Callable[[], Awaitable[None]]) -> None:
        try:
            await create()
        finally:
            self._starting -= 1

    async def _prepared(self, group: list[Item]) -> list[tuple[Item, _Baseline]]:
        """The targets of a group that need a new prebuild."""
        try:
            return await self._prepared_together(group)
        except _REJECTIONS as error:
            if len(group) == 1:
                self._run.ended(group[0], Outcome.of("refused", str(error)))
                return []
        # One such project makes the lists of all projects fail.
        return [ready for item in group for ready in await self._prepared([item])]

    async def _prepared_together(self, group: list[Item]) -> list[tuple[Item, _Baseline]]:
        stale = await self._without_fresh_ones(group)
        if not stale:
            return []
        if self._run.options.cancel_active:
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
            self._run.started(item, found, "found")

    async def _create_first(self, item: Item, baseline: _Baseline) -> None:
        try:
            await self._create(item, baseline)
        finally:
            if item.intent is None:  # it was never sent
                self._queued -= 1

    async def _create(self, item: Item, baseline: _Baseline) -> None:
        for attempt in range(1, _MAX_CREATES + 1):
            if self._run.is_stopped:
                return
            try:
                async with self._workers:
                    created = await self._run.creates(partial(self._send_create, item, baseline))
            except UnauthenticatedError:
                raise
            except CallError as error:
                intent = item.intent
                found = await self._find(item, intent) if error.maybe_executed and intent is not None else None
                if found is None and error.maybe_executed and attempt < _MAX_CREATES:
                    continue
                if found is None:
                    self._run.ended(item, Outcome.of("refused", str(error)))
                    return
                created = found
            self._run.started(item, created, "created")
            return

    async def _send_create(self, item: Item, baseline: _Baseline) -> Prebuild:
        if item.intent is None:
            self._queued -= 1
        # On disk before anything is sent, and as late as possible: the service ends a create after its timeout.
        self._run.state.intend(item, Intent(at=self._run.runtime.now(), since=baseline.since, known=baseline.known))
        timeout = self._run.options.timeout
        response = await self._run.prebuilds.create(
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
            settled = self._run.runtime.now() - intent.at >= SETTLE or slept >= SETTLE
            async for each in self._run.listed([item.target.project]):
                if intent.since is not None and each.metadata.created_at < intent.since:
                    break
                if self._is_from(each, item, intent):
                    return each
            if settled:
                return None
            await self._run.runtime.async_sleep(_SEARCH_INTERVAL)
            slept += _SEARCH_INTERVAL

    def _is_from(self, prebuild: Prebuild, item: Item, intent: Intent) -> bool:
        prebuild_id = (prebuild.id or "").lower()
        return (
            self._run.is_of(prebuild, item)
            and prebuild_id not in intent.known
            and prebuild_id not in self._run.taken
            and prebuild.metadata.triggered_by != PrebuildTrigger.SCHEDULED
        )

    async def _newest(self, group: Sequence[Item]) -> _Baseline:
        """The newest prebuilds that the projects have."""
        since: datetime | None = None
        known: set[str] = set()
        async for each in self._run.listed([item.target.project for item in group]):
            if since is not None and each.metadata.created_at < since:
                break
            since = each.metadata.created_at
            known.add((each.id or "").lower())
        return _Baseline(since, frozenset(known))

    async def _without_fresh_ones(self, group: list[Item]) -> list[Item]:
        """The targets that have no prebuild that completed lately. The others are skipped."""
        limit = self._run.options.skip_fresher_than
        if limit is None or not group:
            return group
        now = datetime.fromtimestamp(self._run.runtime.now(), UTC)
        fresh: list[Prebuild] = []
        projects = [item.target.project for item in group]
        async for each in self._run.listed(projects, phases=[PrebuildPhase.COMPLETED]):
            if each.metadata.created_at < now - limit - _LONGEST_PREBUILD:
                break
            if (each.status.completion_time or each.metadata.updated_at) >= now - limit:
                fresh.append(each)
        stale: list[Item] = []
        for item in group:
            found = next((each for each in fresh if self._run.is_of(each, item)), None)
            if found is None:
                stale.append(item)
            else:
                self._run.ended(item, Outcome.of("skipped", f"{found.id} is fresh"))
        return stale

    async def _cancel_active(self, group: Sequence[Item]) -> None:
        active = [each async for each in self._run.listed([item.target.project for item in group], phases=_CANCELLABLE)]
        for each in active:
            prebuild_id = each.id or ""
            if prebuild_id.lower() in self._run.taken or not any(self._run.is_of(each, item) for item in group):
                continue
            try:
                await self._run.calls(partial(self._run.prebuilds.cancel, prebuild_id=prebuild_id))
            except (FailedPreconditionError, NotFoundError):
                continue  # it has ended in the meantime
