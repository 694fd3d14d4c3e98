"""Follow the active prebuilds of some projects at the same time, with asyncio.

    python examples/dashboard.py PROJECT...

Prints a line for each change, until nothing is active any more.
"""

from __future__ import annotations

import asyncio
import sys

from prebuilds import AsyncPrebuildClient, Prebuild, PrebuildPhase

ACTIVE = [phase for phase in PrebuildPhase if phase.is_active]


async def follow(client: AsyncPrebuildClient, prebuild: Prebuild) -> None:
    """Print each change of a prebuild."""
    async for seen in client.prebuilds.watch(prebuild, timeout=None):
        print(f"{seen.metadata.project_id} {seen.id} {seen.status.phase}", flush=True)


async def main(projects: list[str]) -> None:
    """Follow everything that is active now."""
    async with AsyncPrebuildClient() as client, asyncio.TaskGroup() as tasks:
        async for prebuild in client.prebuilds.list(project_ids=projects, phases=ACTIVE):
            tasks.create_task(follow(client, prebuild))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
