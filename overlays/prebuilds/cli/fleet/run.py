"""The state of a run that its parts share: the targets, the prebuilds that are followed, and the paced calls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol

from prebuilds.cli.fleet.pacing import Pace, PacedCalls
from prebuilds.cli.fleet.targets import Item, Outcome, is_of_target

if TYPE_CHECKING:
    from prebuild_api.models import Prebuild
    from prebuilds import AsyncPrebuildClient, AsyncPrebuildsPage
    from prebuilds.cli.fleet.state_file import StateFile
    from prebuilds.flows.effects import Runtime

PAGE_SIZE: Final = 100
MAX_FILTER: Final = 25
"""The number of projects that the filter of a list can name."""


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


class Progress(Protocol):
    """Shows a person how far a run is."""

    def event(self, item: Item, text: str) -> None:
        """Something happened to a target."""
        ...

    def update(self) -> None:
        """The numbers have changed."""
        ...


class Run:
    """A run of `prebuilds refresh`.

    Args:
        client: the client; it is used without its retries.
        state: the targets, and their state on disk.
        options: the options.
        progress: shows the events.
        runtime: time and chance.

    Attributes:
        active: the targets whose prebuilds are followed, by the id of the prebuild in lower case.
        taken: the ids of all prebuilds of the run.
    """

    def __init__(
        self,
        client: AsyncPrebuildClient,
        state: StateFile,
        options: RefreshOptions,
        progress: Progress,
        runtime: Runtime,
    ) -> None:
        self.prebuilds = client.with_options(retries=0).prebuilds
        self.state = state
        self.options = options
        self.progress = progress
        self.runtime = runtime
        pace = Pace(runtime)
        self.calls = PacedCalls(runtime, pace)
        self.creates = PacedCalls(runtime, Pace(runtime, options.rate), pace)
        self.active: dict[str, Item] = {}
        self.taken: set[str] = set()
        self._failures = 0
        classes: dict[str, set[str]] = {}
        for item in state.items.values():
            if item.prebuild_id is not None:
                self.taken.add(item.prebuild_id.lower())
                if item.outcome is None:
                    self.active[item.prebuild_id.lower()] = item
            self._failures += item.outcome is not None and item.outcome.is_failure
            if item.target.environment_class is not None:
                classes.setdefault(item.target.project.lower(), set()).add(item.target.environment_class.lower())
        self._classes = {project: frozenset(names) for project, names in classes.items()}

    @property
    def is_stopped(self) -> bool:
        """Return True if so many prebuilds failed that no further prebuild is created."""
        limit = self.options.max_failures
        return limit is not None and self._failures > limit

    def started(self, item: Item, prebuild: Prebuild, how: str) -> None:
        """Follow the prebuild of a target."""
        prebuild_id = prebuild.id or ""
        item.environment_class = prebuild.metadata.environment_class_id
        self.state.created(item, prebuild_id, prebuild.metadata.created_at)
        self.taken.add(prebuild_id.lower())
        self.active[prebuild_id.lower()] = item
        self.progress.event(item, how)

    def ended(self, item: Item, outcome: Outcome) -> None:
        """Note the outcome of a target."""
        self.state.ended(item, outcome)
        self._failures += outcome.is_failure
        item.seen = None
        self.progress.event(item, f"{outcome.name}: {outcome.message}" if outcome.message else outcome.name)

    def is_of(self, prebuild: Prebuild, item: Item) -> bool:
        """Return True if a prebuild may belong to a target."""
        others = self._classes.get(item.target.project.lower(), frozenset())
        metadata = prebuild.metadata
        return is_of_target(item.target, metadata.project_id, metadata.environment_class_id, others)

    async def listed(self, projects: Iterable[str], **filters: Any) -> AsyncIterator[Prebuild]:
        """The prebuilds of the projects (of all projects, if none is named), newest first. Each page is a call."""
        named = list(dict.fromkeys(projects)) or None

        async def first() -> AsyncPrebuildsPage:
            return await self.prebuilds.list(project_ids=named, page_size=PAGE_SIZE, **filters)

        page = await self.calls(first)
        while True:
            for each in page.prebuilds:
                yield each
            if not page.has_next_page():
                return
            page = await self.calls(page.get_next_page)
