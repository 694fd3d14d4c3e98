"""The progress of a run: bars on a terminal, a line for each event elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from prebuilds.cli.durations import short_duration
from prebuilds.cli.fleet.targets import Item
from prebuilds.cli.session import Session
from prebuilds.cli.terminal import new_console

if TYPE_CHECKING:
    from prebuilds.cli.fleet.run import Progress

STAGES: Final[tuple[str, ...]] = ("waiting", "running", "completed", "failed")


def stage_of(item: Item) -> str:
    """The stage of a target, as it is counted."""
    if item.outcome is not None:
        return "failed" if item.outcome.is_failure else "completed"
    return "waiting" if item.prebuild_id is None else "running"


def counts_of(items: Iterable[Item]) -> dict[str, int]:
    """The number of targets in each stage."""
    counts: dict[str, int] = {stage: 0 for stage in STAGES}  # noqa: C420  pyright would take the keys for literals
    for item in items:
        counts[stage_of(item)] += 1
    return counts


class Lines:
    """A line for each event, on standard error."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def event(self, item: Item, text: str) -> None:
        """Print a line."""
        target = " ".join(filter(None, (item.target.project, item.target.environment_class)))
        self._session.info(f"{target} {item.prebuild_id or '-'} {text}")

    def update(self) -> None:
        """Do nothing: the events suffice."""


class _Bars:
    """A bar for each stage. `show` is called with the numbers whenever they have changed."""

    def __init__(self, session: Session, items: Iterable[Item]) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as RichProgress

        self._items = list(items)
        self._clock = session.runtime.clock
        self._begin = self._clock()
        self._ended_before = sum(counts_of(self._items)[stage] for stage in ("completed", "failed"))
        self._session = session
        self.display = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            console=new_console(sys.stderr, no_color=session.no_color),
        )
        total = len(self._items)
        self._bars = {stage: self.display.add_task(stage.ljust(9), total=total, note="") for stage in STAGES}

    def event(self, item: Item, text: str) -> None:
        """Print a line for an event that a person must see."""
        if item.outcome is not None and item.outcome.name != "skipped" and item.outcome.message:
            from prebuilds.cli.terminal import one_line

            self.display.console.print(one_line(f"{item.target.project} {text}"), soft_wrap=True)

    def update(self) -> None:
        """Show the numbers."""
        counts = counts_of(self._items)
        for stage, bar in self._bars.items():
            note = self._time_left(counts) if stage == "completed" else ""
            self.display.update(bar, completed=counts[stage], note=note)

    def _time_left(self, counts: dict[str, int]) -> str:
        ended = counts["completed"] + counts["failed"] - self._ended_before
        left = counts["waiting"] + counts["running"]
        if not ended or not left:
            return ""
        return f"about {short_duration((self._clock() - self._begin) / ended * left)} left"


@contextmanager
def shown_progress(session: Session, items: Iterable[Item]) -> Generator[Progress]:
    """The progress of a run, as the person wants to see it."""
    if not session.is_watched:
        yield Lines(session)
        return
    bars = _Bars(session, items)
    with bars.display:
        bars.update()
        yield bars
        bars.update()
