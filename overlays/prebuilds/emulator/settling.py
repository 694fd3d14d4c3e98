"""What is due is done when a record is looked at: pure functions of the record and the time.

Nothing runs in the background, and nothing has to be written down for a step to be taken: a record that was kept some
time ago says how it goes on from there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from .lifecycle import PrebuildRecord, WarmPoolRecord, serve_snapshot, take_pool_step, take_step


@dataclass(frozen=True, slots=True)
class Completion:
    """A prebuild became COMPLETED, and so its snapshot was there."""

    prebuild_id: str
    at: datetime


def settled(prebuild: PrebuildRecord, now: datetime) -> PrebuildRecord | None:
    """The prebuild as it is at `now`, None if it is gone by then."""
    current: PrebuildRecord | None = prebuild
    while current is not None and current.next_due is not None and current.next_due <= now:
        current = take_step(current)
    return current


def settled_pool(pool: WarmPoolRecord, completions: Iterable[Completion], now: datetime) -> WarmPoolRecord | None:
    """The warm pool as it is at `now`, None if it is gone by then.

    Args:
        pool: the pool as it was.
        completions: those of its project and class that it has not heard of, up to `now`, in their order.
        now: the time.
    """
    for completion in completions:
        pool = serve_snapshot(pool, snapshot_id(completion.prebuild_id), completion.at)
    current: WarmPoolRecord | None = pool
    while current is not None and current.next_due is not None and current.next_due <= now:
        current = take_pool_step(current)
    return current


def snapshot_id(prebuild_id: str) -> str:
    """The id of the snapshot of a prebuild.

    ASSUMPTION: a snapshot has the id of its prebuild.
    """
    return prebuild_id
