"""Due transitions are applied when a record is read: pure functions of the record and the time.

There is no background task, and a transition need not be written: a record that was stored some time ago contains
its later transitions.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from .lifecycle import PrebuildRecord, WarmPoolRecord, serve_snapshot, take_pool_step, take_step


@dataclass(frozen=True, slots=True)
class Completion:
    """The completion of a prebuild, from which on its snapshot exists."""

    prebuild_id: str
    at: datetime


def settled(prebuild: PrebuildRecord, now: datetime) -> PrebuildRecord | None:
    """Return the prebuild as it is at `now`, or None if it is removed by then."""
    current: PrebuildRecord | None = prebuild
    while current is not None and current.next_due is not None and current.next_due <= now:
        current = take_step(current)
    return current


def settled_pool(pool: WarmPoolRecord, completions: Iterable[Completion], now: datetime) -> WarmPoolRecord | None:
    """Return the warm pool as it is at `now`, or None if it is removed by then.

    Args:
        pool: the stored pool.
        completions: the completions of its project and class that it does not know yet, up to `now`, in order.
        now: the time.
    """
    for completion in completions:
        pool = serve_snapshot(pool, snapshot_id(completion.prebuild_id), completion.at)
    current: WarmPoolRecord | None = pool
    while current is not None and current.next_due is not None and current.next_due <= now:
        current = take_pool_step(current)
    return current


def snapshot_id(prebuild_id: str) -> str:
    """Return the id of the snapshot of a prebuild.

    ASSUMPTION: a snapshot has the id of its prebuild.
    """
    return prebuild_id
