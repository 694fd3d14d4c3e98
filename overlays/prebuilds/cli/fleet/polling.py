"""Polling the prebuilds of a run, with lists: a page shows a hundred of them at the price of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from prebuild_api.models import PrebuildPhase
from prebuilds.cli.fleet.run import MAX_FILTER, PAGE_SIZE, Run
from prebuilds.cli.fleet.targets import Item, Outcome, OutcomeName
from prebuilds.cli.prebuild_layouts import short_name
from prebuilds.errors import CallError, NotFoundError, UnauthenticatedError

if TYPE_CHECKING:
    from prebuild_api.models import Prebuild

_MAX_FILTERED_LISTS: Final = 8
"""With more lists than this, one list of all projects is cheaper."""

_MAX_PAGES: Final = 200
"""The number of pages that a poll reads of one list."""

_MAX_SINGLE_POLLS: Final = 10
"""The number of prebuilds that a poll reads one by one because no list shows them."""

_MAX_FAILED_POLLS: Final = 20

_OUTCOMES: Final[dict[str, OutcomeName]] = {
    PrebuildPhase.COMPLETED: "completed",
    PrebuildPhase.FAILED: "failed",
    PrebuildPhase.CANCELLED: "cancelled",
    PrebuildPhase.DELETED: "deleted",
    PrebuildPhase.DELETING: "deleted",
}


class Poller:
    """Follows the prebuilds of a run to their ends."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._failed_polls = 0

    async def follow_all(self, is_all_started: Callable[[], bool]) -> None:
        """Poll until all prebuilds have ended, and `is_all_started` confirms that no others will follow.

        Raises:
            CallError: the service rejects the token, or cannot be reached any more.
        """
        while True:
            done = is_all_started()
            if self._run.active:
                await self._poll()
            self._run.progress.update()
            if done and not self._run.active:
                return
            await self._run.runtime.async_sleep(self._run.options.poll_interval.total_seconds())

    async def _poll(self) -> None:
        wanted = dict(self._run.active)
        projects = sorted({item.target.project for item in wanted.values()})
        many = len(projects) > MAX_FILTER * _MAX_FILTERED_LISTS
        chunks: list[list[str]] = [projects[at : at + MAX_FILTER] for at in range(0, len(projects), MAX_FILTER)]
        chunks = [[]] if many else chunks
        try:
            for chunk in chunks:
                mine = wanted if many else {k: v for k, v in wanted.items() if v.target.project in chunk}
                missing = await self._poll_list(chunk, mine)
                # Poll the prebuilds first whose last poll is oldest.
                for prebuild_id in sorted(missing, key=lambda each: wanted[each].polled_at)[:_MAX_SINGLE_POLLS]:
                    wanted[prebuild_id].polled_at = self._run.runtime.clock()
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
        """Read a list as far as it may show the prebuilds. Returns the ids of the prebuilds that it does not show."""
        missing = set(wanted)
        oldest = min((item.created_at for item in wanted.values() if item.created_at is not None), default=None)
        read = 0
        async for each in self._run.listed(projects):
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
            response = await self._run.calls(partial(self._run.prebuilds.retrieve, prebuild_id=prebuild_id))
        except NotFoundError:
            item = self._run.active.pop(prebuild_id, None)
            if item is not None:
                self._run.ended(item, Outcome.of("deleted", "the service does not find it any more"))
        else:
            self._saw(response.prebuild)

    def _saw(self, prebuild: Prebuild) -> None:
        prebuild_id = (prebuild.id or "").lower()
        item = self._run.active.get(prebuild_id)
        if item is None:
            return
        now, status = self._run.runtime.clock(), prebuild.status
        version = (status.phase, status.status_version, prebuild.metadata.updated_at)
        if item.seen != version:
            item.seen, item.changed_at = version, now
        outcome = _OUTCOMES.get(status.phase)
        if outcome is None and now - item.changed_at >= self._run.options.stalled_after.total_seconds():
            outcome = "stalled"
        phase = short_name(status.phase)
        if outcome is not None:
            del self._run.active[prebuild_id]
            end = status.completion_time
            seconds = None if end is None else (end - prebuild.metadata.created_at).total_seconds()
            message = status.failure_message or status.warning_message
            self._run.ended(item, Outcome.of(outcome, message, status.log_url, seconds))
        elif item.phase != phase:
            self._run.progress.event(item, phase)
        item.phase = phase
