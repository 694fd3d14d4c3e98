"""Waiting for many prebuilds, by reading lists: a page shows a hundred of them at the price of one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from prebuild_api import models
from prebuild_api.models import PrebuildPhase
from prebuild_api.operations import LIST_PREBUILDS
from prebuilds.calls import CallExecutor
from prebuilds.errors import CallError, PrebuildsError, WaitManyError
from prebuilds.flows.concurrency import concurrently
from prebuilds.flows.effects import Fork, Steps
from prebuilds.options import DEFAULT_POLL_INTERVAL, DEFAULT_WAIT, Seconds
from prebuilds.pagination import Listing
from prebuilds.waitables import PREBUILD, Goal, identified
from prebuilds.waiting import (
    Ended,
    Patience,
    Pauses,
    Tracker,
    concluded,
    is_transient,
    notifier,
    poll,
    reached,
    read,
    report,
)

if TYPE_CHECKING:
    from prebuild_api.models import Prebuild

_PAGE_SIZE = 100
_MAX_PROJECTS = 25
"""The number of projects that the filter of a list can name."""

_MAX_FILTERED_LISTS = 8
"""With more lists than this, one list of all projects is cheaper."""

MAX_SEARCHES = 3
"""Prebuilds whose project was found, but not they themselves in its list. After so many, no more are searched for."""

_SEARCH_TIMEOUT = 2.0
"""Seconds to find the project of a prebuild. A slow response must not delay the others."""

_SPARE_PAGES = 2
"""The number of pages that a poll reads in addition to the pages that the prebuilds themselves would fill."""


def wait_all(
    executor: CallExecutor,
    prebuilds: Iterable[str | Prebuild],
    *,
    until: Goal[Prebuild] = PrebuildPhase.COMPLETED,
    timeout: Seconds | None = DEFAULT_WAIT,
    on_update: Callable[[Prebuild], object] | None = None,
    poll_interval: Seconds = DEFAULT_POLL_INTERVAL,
    stalled_after: Seconds | None = None,
) -> Steps[list[Prebuild]]:
    """The logic of `client.prebuilds.wait_all`."""
    patience = Patience.of(timeout, poll_interval, stalled_after)
    if isinstance(prebuilds, str):
        raise TypeError("prebuilds: expected several ids or prebuilds, got one string")
    wanted = reached(PREBUILD, until)
    given = [identified("prebuilds", each) for each in prebuilds]

    def steps() -> Steps[list[Prebuild]]:
        group = _Group(executor, patience)
        for item_id, known in given:
            clock = executor.runtime.clock
            group.add(Tracker(PREBUILD, item_id, known, wanted, patience, notifier(on_update), clock))
        yield from concurrently(group.start(), executor.runtime.clock)
        return _results([group.outcomes[item_id.lower()] for item_id, _ in given])

    return steps()


def _results(outcomes: Sequence[Prebuild | PrebuildsError]) -> list[Prebuild]:
    """The prebuilds, if all of them have reached the goal.

    Raises:
        WaitManyError: some have not.
    """
    errors = [outcome for outcome in outcomes if isinstance(outcome, PrebuildsError)]
    ready = [outcome for outcome in outcomes if not isinstance(outcome, PrebuildsError)]
    if errors:
        first = str(errors[0]) if len(errors) == 1 else f"{errors[0]}; ..."
        raise WaitManyError(
            f"{len(errors)} of {len(outcomes)} prebuilds did not complete: {first}", errors=errors, prebuilds=ready
        )
    return ready


class _Group:
    """The prebuilds of a wait.

    Prebuilds of the same projects are polled with one list. A prebuild that its list does not show is polled
    individually.

    Attributes:
        waiting: the waits that go on, by the id of the prebuild in lower case.
        outcomes: how the others ended.
    """

    def __init__(self, executor: CallExecutor, patience: Patience) -> None:
        self.executor = executor
        self.patience = patience
        self.waiting: dict[str, Tracker[Prebuild]] = {}
        self.outcomes: dict[str, Prebuild | PrebuildsError] = {}

    def add(self, tracker: Tracker[Prebuild]) -> None:
        """Wait for one more. The same prebuild is waited for once."""
        self.waiting.setdefault(tracker.item_id.lower(), tracker)

    def start(self) -> list[Steps[None]]:
        """The logic that waits for all of them."""
        projects: dict[str, None] = {}
        unknown: list[str] = []
        for item_id, tracker in self.waiting.items():
            project = _project(tracker.known)
            if project is None:
                unknown.append(item_id)
            else:
                projects[project] = None
        if len(self.waiting) == 1:
            return [self._poll_alone(item_id) for item_id in self.waiting]
        if len(projects) > _MAX_PROJECTS * _MAX_FILTERED_LISTS:
            unknown, projects = list(self.waiting), {}
        names = list(projects)
        chunks = [names[first : first + _MAX_PROJECTS] for first in range(0, len(names), _MAX_PROJECTS)]
        lists = [_ListPoller(self, chunk, self._in(chunk)) for chunk in chunks]
        if unknown:
            lists.append(_ListPoller(self, None, set(unknown)))
        return [each.steps() for each in lists]

    def _in(self, projects: Sequence[str]) -> set[str]:
        return {item_id for item_id, tracker in self.waiting.items() if _project(tracker.known) in projects}

    def saw(self, item: Prebuild, at: float) -> Steps[None]:
        """A list shows a prebuild."""
        item_id = (item.id or "").lower()
        tracker = self.waiting.get(item_id)
        if tracker is not None:
            yield from self._concluding(item_id, tracker.seen(item, at))

    def failed(self, item_id: str, error: CallError, at: float) -> None:
        """A list could not be read."""
        tracker = self.waiting[item_id]
        try:
            tracker.failed(error, at)
        except PrebuildsError as failure:
            self._ended(item_id, failure)

    def check_deadline(self, item_id: str, at: float) -> None:
        """End a wait whose time is over."""
        if item_id in self.waiting:
            try:
                self.waiting[item_id].check_deadline(at)
            except PrebuildsError as error:
                self._ended(item_id, error)

    def alone(self, item_id: str) -> Fork:
        """Poll a prebuild by itself, as the list of its project does not show it."""
        return Fork(self._poll_alone(item_id))

    def locate(self, item_ids: set[str]) -> Steps[None]:
        """Find the projects of prebuilds that a list of all projects does not show, and poll the lists of these."""
        missing = sorted(item_ids)
        misses = 0
        while misses < MAX_SEARCHES:
            missing = [item_id for item_id in missing if item_id in self.waiting]
            if not missing:
                return
            item_id = missing.pop(0)
            tracker = self.waiting[item_id]
            try:
                item = yield from read(self.executor, tracker, _SEARCH_TIMEOUT)
            except CallError:
                misses += 1
                yield self.alone(item_id)
                continue
            yield from self._concluding(item_id, tracker.seen(item, self.executor.runtime.clock()))
            project = _project(item)
            found = _ListPoller(self, [project] if project else [], {item_id, *missing})
            if project is not None:
                not_shown = yield from found.search()
                missing = sorted(not_shown)
                yield Fork(found.steps())
            if item_id in missing or project is None:
                misses += 1
                missing = [each for each in missing if each != item_id]
                yield self.alone(item_id)
        for item_id in missing:
            yield self.alone(item_id)

    def _poll_alone(self, item_id: str) -> Steps[None]:
        if item_id in self.waiting:
            tracker = self.waiting[item_id]
            yield from self._concluding(item_id, poll(self.executor, tracker))

    def _concluding(self, item_id: str, steps: Steps[Ended[Prebuild] | None]) -> Steps[None]:
        """Run `steps`, and note how the wait has ended, if it has."""
        tracker = self.waiting[item_id]
        try:
            ended = yield from steps
            if ended is not None:
                self._ended(item_id, concluded(tracker, ended))
        except PrebuildsError as error:
            self._ended(item_id, error)

    def _ended(self, item_id: str, outcome: Prebuild | PrebuildsError) -> None:
        tracker = self.waiting.pop(item_id, None)
        if tracker is not None:
            self.outcomes[item_id] = outcome
            report(tracker, outcome if isinstance(outcome, PrebuildsError) else None)


class _ListPoller:
    """Polls the prebuilds of some projects, or of all projects, with one list."""

    def __init__(self, group: _Group, projects: Sequence[str] | None, mine: set[str]) -> None:
        self._group = group
        self._projects = projects
        self._clock = group.executor.runtime.clock
        self._mine = mine

    def steps(self) -> Steps[None]:
        """Poll until no wait is left that the list shows."""
        pauses = Pauses(self._group.patience, self._group.executor.runtime.uniform)
        while self._waiting():
            polled = self._clock()
            try:
                shown = yield from self._read()
            except CallError as error:
                yield from self._could_not_read(error)
            else:
                yield from self._not_shown(self._waiting() - shown)
            for item_id in self._waiting():
                self._group.check_deadline(item_id, polled)
            if left := self._waiting():
                deadline = min(self._group.waiting[item_id].deadline for item_id in left)
                yield pauses.next(deadline - self._clock())

    def search(self) -> Steps[set[str]]:
        """Read the list once. Returns the ids that it does not show, which somebody else will poll."""
        try:
            shown = yield from self._read()
        except CallError:
            shown = set[str]()
        missing = self._mine - shown
        self._mine &= shown
        return missing

    def _not_shown(self, missing: set[str]) -> Steps[None]:
        self._mine -= missing
        if self._projects is None and missing:
            yield Fork(self._group.locate(missing))
        else:
            for item_id in missing:
                yield self._group.alone(item_id)

    def _waiting(self) -> set[str]:
        return self._mine & self._group.waiting.keys()

    def _read(self) -> Steps[set[str]]:
        """Read the list as far as it may show the prebuilds of the wait. Returns the ids on it."""
        wanted = self._waiting()
        pages = math.ceil(len(wanted) / _PAGE_SIZE) + _SPARE_PAGES
        oldest = _oldest(self._group.waiting[item_id] for item_id in wanted)
        shown: set[str] = set()
        listing = self._listing()
        for _ in range(pages):
            page = yield from listing.read()
            at = self._clock()
            for item in page.items:
                shown.add((item.id or "").lower())
                yield from self._group.saw(item, at)
            # Lists show the newest first.
            passed = oldest is not None and page.items and page.items[-1].metadata.created_at < oldest
            if page.next_token is None or wanted <= shown or passed:
                break
            listing = listing.after(page.next_token)
        return shown

    def _could_not_read(self, error: CallError) -> Steps[None]:
        at = self._clock()
        lasting = not is_transient(error)
        for item_id in self._waiting():
            if lasting:
                # Perhaps the token may read these prebuilds, though not the list.
                self._mine.discard(item_id)
                yield self._group.alone(item_id)
            else:
                self._group.failed(item_id, error, at)

    def _listing(self) -> Listing[Any, Any, Prebuild]:
        chosen = None if self._projects is None else models.ListPrebuildsRequestFilter(project_ids=list(self._projects))
        request = models.ListPrebuildsRequest(filter=chosen, pagination=models.PaginationRequest(page_size=_PAGE_SIZE))
        return Listing(executor=self._group.executor, operation=LIST_PREBUILDS, request=request, options={})


def _project(prebuild: Prebuild | None) -> str | None:
    return None if prebuild is None else prebuild.metadata.project_id


def _oldest(trackers: Iterable[Tracker[Prebuild]]) -> datetime | None:
    """When the oldest of the prebuilds was created; None if that is not known of all."""
    moments: list[datetime] = []
    for tracker in trackers:
        state = tracker.last or tracker.known
        if state is None:
            return None
        moments.append(state.metadata.created_at)
    return min(moments, default=None)
