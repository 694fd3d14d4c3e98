"""The run of `prebuilds refresh`: creates a prebuild for each target, and follows them to their ends."""

from __future__ import annotations

import asyncio
from functools import partial

from prebuild_api.models import PrebuildPhase
from prebuilds.cli.fleet.creating import Creator
from prebuilds.cli.fleet.polling import Poller
from prebuilds.cli.fleet.run import Run
from prebuilds.cli.fleet.targets import Item
from prebuilds.errors import NotFoundError


async def refresh(run: Run) -> None:
    """Create and follow the prebuilds of all targets.

    Raises:
        BaseExceptionGroup: a call failed for good, or the person interrupted. The state file has everything.
    """
    async with asyncio.TaskGroup() as tasks:
        creating = tasks.create_task(Creator(run).create_all())
        await Poller(run).follow_all(creating.done)
    if run.options.keep_baseline:
        for item in run.state.items.values():
            await _prune(run, item)


async def _prune(run: Run, item: Item) -> None:
    """Delete the old prebuilds of a target whose new one completed."""
    if item.pruned or item.outcome is None or item.outcome.name != "completed":
        return
    finished = [phase for phase in PrebuildPhase if phase.is_terminal and phase != PrebuildPhase.DELETED]
    old = [
        each
        async for each in run.listed([item.target.project], phases=finished)
        if (each.metadata.environment_class_id or "") == (item.environment_class or "")
        and (each.id or "").lower() not in run.taken
        and item.created_at is not None
        and each.metadata.created_at <= item.created_at
    ]
    for each in old:
        prebuild_id = each.id or ""
        try:
            await run.calls(partial(run.prebuilds.delete, prebuild_id=prebuild_id))
        except NotFoundError:
            continue
    run.state.pruned(item)
    if old:
        run.progress.event(item, f"pruned {len(old)}")
